//! The reference gateway's server: random peers, and clients that know how to shake hands, over a
//! network that loses, doubles, reorders, moves and changes datagrams. It never panics, loops or
//! grows, early data comes at most once, and nothing comes that no client sent.
#![no_main]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{ContentType, HandshakeType, PskModes};
use dtls_session_fuzz::kept_by;
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

#[path = "../../examples/gateway/server/mod.rs"]
// The stories of its tests are not run here.
#[allow(dead_code, unused_imports)]
mod server;

use server::messages::{KEY_UPDATE, NEW_CONNECTION_ID, REQUEST_CONNECTION_ID};
use server::tests::client::{Client, Profile};
use server::tests::{Seen, World, settings};

/// What a client says after the handshake.
const LATER: [HandshakeType; 3] = [REQUEST_CONNECTION_ID, NEW_CONNECTION_ID, KEY_UPDATE];

const CLIENTS_MAX: usize = 6;
const STEPS_MAX: usize = 150;
const ASSOCIATIONS_MAX: usize = 4;

/// What one datagram may leave on the heap: an association, and room in the tables and buffers.
const KEPT_MAX: isize = 64 << 10;

/// What a client offers, by number.
fn profile(number: u8) -> Profile {
    let suites: &[&[CipherSuite]] = &[
        &[CipherSuite::Aes128GcmSha256],
        &[CipherSuite::Aes256GcmSha384],
        &[CipherSuite::Chacha20Poly1305Sha256],
    ];
    Profile {
        suites: suites[usize::from(number) % 3],
        psk_modes: PskModes {
            psk_ke: number & 4 > 0,
            psk_dhe_ke: true,
        },
        server_name: (number & 8 == 0).then_some("gateway.example"),
        connection_id: (number & 16 > 0).then_some(b"client's"),
        max_datagram_len: if number & 32 > 0 { 150 } else { 1200 },
        // X25519 is what it has a share of: a HelloRetryRequest asks for the other.
        groups: if number & 64 > 0 {
            &[0x0017, 0x001d]
        } else {
            &[0x001d]
        },
        ..Profile::default()
    }
}

/// A client, and what it has sent.
struct Peer {
    client: Client,
    hello: Vec<Vec<u8>>,
    early: Vec<u8>,
    is_second: bool,
    /// How many handshake messages it has sent after its Finished.
    said: u16,
    /// Somebody else has spoken plaintext in its name, or its association is over: what the server
    /// says to its address may be for others.
    is_disturbed: bool,
}

impl Peer {
    fn port(&self) -> u16 {
        self.client.address.port()
    }

    /// Its (first or second) ClientHello, with early data if it may, or the same once more.
    fn hello(&mut self, is_early: bool) -> Vec<Vec<u8>> {
        let wants_second = self.client.retry_request.is_some() && !self.is_second;
        if self.hello.is_empty() || wants_second {
            self.is_second = wants_second;
            let is_early = is_early && !wants_second;
            let early: &[&[u8]] = if is_early { &[&self.early] } else { &[] };
            self.hello = self.client.hello(early);
        }
        self.hello.clone()
    }
}

struct Scene {
    world: World,
    peers: Vec<Peer>,
    to_server: Vec<(SocketAddr, Vec<u8>)>,
    to_clients: Vec<(SocketAddr, Vec<u8>)>,
    /// What clients have sent, early or not.
    sent: HashSet<Vec<u8>>,
    received_from_strangers: usize,
    sent_to_strangers: usize,
}

impl Scene {
    fn new(rules: u8) -> Self {
        let mut settings = settings();
        settings.associations_max = ASSOCIATIONS_MAX;
        settings.psk_ke = rules & 1 > 0;
        settings.tickets = rules >> 1 & 3;
        settings.mtu = if rules & 8 > 0 { 256 } else { 1200 };
        settings.handshakes_without_cookie_max = if rules & 16 > 0 { 1 } else { 1_000 };
        settings.answer_early_data_at_once = rules & 32 > 0;
        Self {
            world: World::with(settings),
            peers: Vec::new(),
            to_server: Vec::new(),
            to_clients: Vec::new(),
            sent: HashSet::new(),
            received_from_strangers: 0,
            sent_to_strangers: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte();
        let flags = step >> 4;
        match step % 16 {
            0 | 1 => self.newcomer(script),
            kind @ 2..=6 => {
                let peer = script.one_of(CLIENTS_MAX);
                if peer < self.peers.len() {
                    self.client_acts(peer, kind, flags, script);
                }
            }
            7..=9 => self.deliver_to_server(flags, script),
            10 => self.disturb(flags, script),
            11..=13 => self.deliver_to_client(flags, script),
            14 => {
                // What is sent again meanwhile is lost.
                let ms = u64::from(script.u16()) * 4;
                self.world.pass(Duration::from_millis(ms));
            }
            _ => self.stranger(flags, script),
        }
        for seen in &self.world.seen {
            if let Seen::Closed(port, _) = seen
                && let Some(peer) = self.peers.iter_mut().find(|peer| peer.port() == *port)
            {
                peer.is_disturbed = true;
            }
        }
    }

    /// One who resumes the session of an earlier one, if that has a ticket and the suites allow it.
    fn newcomer(&mut self, script: &mut Script<'_>) {
        if self.peers.len() == CLIENTS_MAX {
            return;
        }
        let port = 1 + self.peers.len() as u16;
        let profile = profile(script.byte());
        let mut client = Client::new(port, profile);
        let mut early = Vec::new();
        if let Some(earlier) = self.peers.get(script.one_of(CLIENTS_MAX)) {
            let mut later = earlier.client.later.iter();
            if later.any(|(kind, _)| *kind == HandshakeType::NEW_SESSION_TICKET) {
                let session = earlier.client.session(0, self.world.now);
                let suite = session.info().suite;
                if profile.suites.iter().any(|s| s.hash() == suite.hash()) {
                    client = client.resuming(&earlier.client, self.world.now);
                }
                if profile.suites.contains(&suite) {
                    // All that resume one session have its first ticket: one of them gets 0-RTT.
                    early = format!("{} {port}", earlier.port()).into_bytes();
                }
            }
        }
        self.peers.push(Peer {
            client,
            hello: Vec::new(),
            early,
            is_second: false,
            said: 0,
            is_disturbed: false,
        });
    }

    fn client_acts(&mut self, peer: usize, kind: u8, flags: u8, script: &mut Script<'_>) {
        let peer = &mut self.peers[peer];
        let is_complete = peer.client.is_complete;
        let datagrams = match kind {
            2 => {
                self.sent.insert(peer.early.clone());
                peer.hello(flags & 1 == 0 && !peer.early.is_empty())
            }
            3 if is_complete => vec![peer.client.finished(1)],
            4 if is_complete => {
                let data = format!("data {}", self.sent.len()).into_bytes();
                self.sent.insert(data.clone());
                vec![peer.client.data(&data)]
            }
            // Any content, in any of its epochs: an ACK, a KeyUpdate, an alert.
            5 if !peer.client.sealers.is_empty() => {
                let sealer = script.one_of(peer.client.sealers.len());
                let content_type = ContentType([21, 22, 23, 26][script.one_of(4)]);
                let content = script.bytes();
                let content = &content[..content.len().min(1_000)];
                self.sent.insert(content.to_vec());
                let record = peer.client.seal(sealer, content_type, content);
                if flags & 1 > 0 && is_complete {
                    peer.client.update_sealer();
                }
                vec![record]
            }
            // A handshake message, its next one or the last one once more; and the new keys, if
            // it goes on with them.
            6 if is_complete => {
                peer.said += u16::from(flags & 2 == 0);
                let kind = LATER[script.one_of(LATER.len())];
                let body = script.bytes();
                let body = &body[..body.len().min(300)];
                let record = peer.client.message_after_finished(kind, peer.said, body);
                if flags & 1 > 0 {
                    peer.client.update_sealer();
                }
                if flags & 4 > 0 {
                    peer.client.update_opener();
                }
                vec![record]
            }
            _ => return,
        };
        let from = peer.client.address;
        self.to_server
            .extend(datagrams.into_iter().map(|d| (from, d)));
    }

    /// In order, or not; once, or twice.
    fn deliver_to_server(&mut self, flags: u8, script: &mut Script<'_>) {
        let Some(at) = next(&self.to_server, flags, script) else {
            return;
        };
        let (from, datagram) = self.to_server.remove(at);
        if flags & 2 > 0 {
            self.to_server.push((from, datagram.clone()));
        }
        self.to_clients
            .extend(self.world.send_any(from, &[datagram]));
    }

    fn deliver_to_client(&mut self, flags: u8, script: &mut Script<'_>) {
        let Some(at) = next(&self.to_clients, flags, script) else {
            return;
        };
        let (to, datagram) = self.to_clients.remove(at);
        let peer = self.peers.iter_mut().find(|peer| peer.client.address == to);
        let Some(peer) = peer.filter(|peer| !peer.is_disturbed) else {
            return;
        };
        if peer.client.is_complete && is_plaintext(&datagram) {
            // It has keys. What a server without state answers to old ClientHellos is nothing to it.
            return;
        }
        if flags & 2 > 0 {
            self.to_clients.push((to, datagram.clone()));
        }
        peer.client.receive(&datagram, self.world.now);
    }

    /// A datagram of a client's comes from elsewhere, or is changed. What the server says to that
    /// reaches nobody.
    fn disturb(&mut self, flags: u8, script: &mut Script<'_>) {
        let at = script.one_of(self.to_server.len().max(1));
        let Some((mut from, mut datagram)) = self.to_server.get(at).cloned() else {
            return;
        };
        if flags & 1 > 0 {
            from.set_port(500 + u16::from(flags));
        } else {
            edit(script, &mut datagram);
            let port = from.port();
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.port() == port) {
                peer.is_disturbed |= is_plaintext(&datagram);
            }
        }
        if flags & 2 > 0 {
            self.to_server.remove(at);
        }
        self.world.send_any(from, &[datagram]);
    }

    /// Anything from somebody who has no keys.
    fn stranger(&mut self, flags: u8, script: &mut Script<'_>) {
        let from = SocketAddr::from(([192, 0, 2, 1], 1_000 + u16::from(flags)));
        let datagram = script.bytes().to_vec();
        self.received_from_strangers += datagram.len();
        let world = &mut self.world;
        let (answers, kept) = kept_by(|| world.send_any(from, &[datagram]));
        assert!(kept < KEPT_MAX, "{kept} bytes for a stranger");
        for (to, answer) in answers {
            assert_eq!(to, from);
            self.sent_to_strangers += answer.len();
        }
        assert!(self.sent_to_strangers <= 3 * self.received_from_strangers);
    }

    fn check(&self) {
        let server = &self.world.server;
        assert!(server.associations() <= ASSOCIATIONS_MAX);
        assert!(server.handshakes() <= server.associations());
    }

    fn end(mut self) {
        let mut early_data = HashSet::new();
        for seen in &self.world.seen {
            match seen {
                Seen::EarlyData(_, data) => {
                    assert!(self.sent.contains(data), "early data that nobody sent");
                    let ticket = data.split(|byte| *byte == b' ').next();
                    assert!(early_data.insert(ticket), "early data twice");
                }
                Seen::Data(_, data) => {
                    assert!(self.sent.contains(data), "data that nobody sent");
                }
                _ => {}
            }
        }
        // Time ends everything.
        self.world.pass(Duration::from_secs(3_000));
        let server = &self.world.server;
        assert_eq!((server.associations(), server.handshakes()), (0, 0));
        assert_eq!(server.timeout(), None);
    }
}

fn is_plaintext(datagram: &[u8]) -> bool {
    !matches!(datagram.first(), Some(0x20..0x40) | None)
}

/// The datagram that arrives next: the first that was sent, or another.
fn next(sent: &[(SocketAddr, Vec<u8>)], flags: u8, script: &mut Script<'_>) -> Option<usize> {
    let len = sent.len();
    (len > 0).then(|| if flags & 1 > 0 { script.one_of(len) } else { 0 })
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let mut scene = Scene::new(script.byte());
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        scene.step(&mut script);
        scene.check();
    }
    scene.end();
});
