//! The messages of the server, and the client's Finished (RFC 8446, 4).

use dtls_session::schedule::{CipherSuite, EarlySecret, Secret, Transcript};
use dtls_session::wire::{HandshakeType, ServerHello, dtls_header};
use ring::agreement::{UnparsedPublicKey, X25519, agree_ephemeral};

use super::keys::{self, Epoch};
use super::{Agreed, EarlyData, InTranscript, Own, Session, now, records, why};
use crate::Result;

/// What there is between the ServerHello and the client's Finished.
pub(super) struct Keys {
    suite: CipherSuite,
    resumed: bool,
    master: Secret,
    traffic: Epoch,
    transcript: Transcript,
}

impl Own {
    pub(super) fn message(&mut self, kind: HandshakeType, body: &[u8]) -> Result<()> {
        match (kind, &mut self.handshake) {
            (HandshakeType::SERVER_HELLO, None) => self.server_hello(body),
            (HandshakeType::NEW_SESSION_TICKET, _) => self.new_session_ticket(body),
            (HandshakeType::FINISHED, Some(_)) => self.server_finished(body),
            // Certificate and CertificateVerify enter the transcript, and are not looked at.
            (kind, Some(keys)) => {
                keys.transcript.add(kind, body);
                let accepts = [0, 42, 0, 0];
                if kind == HandshakeType::ENCRYPTED_EXTENSIONS
                    && body
                        .windows(accepts.len())
                        .any(|extension| extension == accepts)
                {
                    self.early_data = EarlyData::Accepted;
                }
                Ok(())
            }
            (kind, None) => Err(format!("a message of type {} before its time", kind.0)),
        }
    }

    fn server_hello(&mut self, body: &[u8]) -> Result<()> {
        let server = ServerHello::parse(body).map_err(why("ServerHello"))?;
        let suite = CipherSuite::from_code(server.cipher_suite).ok_or("an unknown suite")?;
        let hash = suite.hash();
        let hello = self.hello.as_mut().ok_or("an answer to nothing")?;
        if server.is_hello_retry_request() {
            let mut first = Transcript::new(hash);
            first.add(HandshakeType::CLIENT_HELLO, &hello.body);
            let before = Transcript::after_hello_retry_request(&first.digest(), hash, body);
            if let Some(offer) = self.offer.take() {
                self.offer = offer
                    .retry(&hello.body, body, now())
                    .map_err(why("a retry"))?;
            }
            return self.send_hello(Some(before), server.cookie);
        }

        let mut transcript = hello.before.take().unwrap_or_else(|| Transcript::new(hash));
        transcript.add(HandshakeType::CLIENT_HELLO, &hello.body);
        transcript.add(HandshakeType::SERVER_HELLO, body);
        let resumed = server.selected_identity.is_some();
        let early = match self.offer.as_ref().filter(|_| resumed) {
            Some(offer) => offer.session().early_secret().clone(),
            None => EarlySecret::without_psk(hash),
        };
        let share = server.key_share.ok_or("no key share")?;
        let private = self.private.take().ok_or("no key share left")?;
        let public = UnparsedPublicKey::new(&X25519, share.key_exchange);
        let secret = agree_ephemeral(private, &public, |shared| {
            keys::handshake_secret(&early, shared)
        });
        let secret = secret.map_err(why("the server's key share"))?;

        let keys = || {
            let traffic = Epoch::handshake(&secret, &transcript.digest())?;
            let opener = keys::opener(suite, &traffic.server, 2)?;
            let sealer = keys::sealer(suite, &traffic.client, 2)?;
            Ok((keys::master_secret(&secret)?, traffic, opener, sealer))
        };
        let (master, traffic, opener, sealer) = keys().map_err(key_schedule)?;
        self.records.openers.push(opener);
        self.records.sealers.push(sealer);
        self.handshake = Some(Keys {
            suite,
            resumed,
            master,
            traffic,
            transcript,
        });
        Ok(())
    }

    fn server_finished(&mut self, body: &[u8]) -> Result<()> {
        let mut keys = self.handshake.take().ok_or("a Finished before its time")?;
        let verifier = keys::finished(&keys.traffic.server);
        if !verifier.verify(keys.transcript.digest().as_bytes(), body) {
            return Err("the server's Finished is wrong".into());
        }
        keys.transcript.add(HandshakeType::FINISHED, body);
        let application = || {
            let secrets = Epoch::application(&keys.master, &keys.transcript.digest())?;
            let opener = keys::opener(keys.suite, &secrets.server, 3)?;
            Ok((opener, keys::sealer(keys.suite, &secrets.client, 3)?))
        };
        let (opener, sealer) = application().map_err(key_schedule)?;

        if self.end_of_early_data == Some(InTranscript::Yes) {
            keys.transcript.add(HandshakeType::END_OF_EARLY_DATA, &[]);
        }
        let finished = keys::finished(&keys.traffic.client);
        let finished = finished.sign(&[keys.transcript.digest().as_bytes()]);
        keys.transcript
            .add(HandshakeType::FINISHED, finished.as_bytes());
        self.send_finished(finished.as_bytes())?;
        self.finished = Some(finished.as_bytes().to_vec());

        let all = keys.transcript.digest();
        let secret = keys::resumption_master_secret(&keys.master, &all);
        self.resumption_master_secret = Some(secret.map_err(key_schedule)?);
        self.records.openers.push(opener);
        self.records.sealers.push(sealer);
        self.timeouts = 0;
        self.agreed = Some(Agreed {
            suite: keys.suite,
            resumed: keys.resumed,
            early_data: self.early_data,
        });
        Ok(())
    }

    /// Sends the Finished, in epoch 2 and under a new record number.
    pub(super) fn send_finished(&mut self, body: &[u8]) -> Result<()> {
        let hello_seq = self.hello.as_ref().map_or(0, |hello| hello.message_seq);
        let message_seq = hello_seq + 1 + u16::from(self.end_of_early_data.is_some());
        let len = u32::try_from(body.len()).map_err(why("a Finished"))?;
        let header = dtls_header(HandshakeType::FINISHED, len, message_seq, 0, len);
        let sealer = self.records.sealers.first_mut().ok_or("no keys yet")?;
        let content_type = dtls_session::wire::ContentType::HANDSHAKE;
        let record = records::seal(sealer, content_type, &[&header[..], body].concat())?;
        self.socket.send(&record);
        Ok(())
    }

    fn new_session_ticket(&mut self, body: &[u8]) -> Result<()> {
        // It comes behind the ACK of the Finished, or instead of it.
        self.finished = None;
        let secret = self.resumption_master_secret.as_ref();
        let secret = secret.ok_or("a ticket before its time")?;
        let suite = self.agreed.ok_or("a ticket before its time")?.suite;
        self.ticket = Some(Session {
            new_session_ticket: body.to_vec(),
            suite,
            resumption_master_secret: secret.clone(),
            received: now(),
        });
        Ok(())
    }
}

fn key_schedule(error: dtls_session::Error) -> String {
    format!("the key schedule: {error}")
}
