//! The checks of one connection.

use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::schedule::{
    CipherSuite, ClientHelloHash, EARLY_DATA_EPOCH, EarlyDataOpener, EarlyRecord, EarlySecret,
    HashAlgorithm, HmacKey, LabelPrefix, MAX_MIDSTATES_LEN, RecordOpener, RecordRejected, Secret,
    TrafficKeys, Transcript, finished_key, resumption_psk,
};
use dtls_session::wire::{
    ClientHello, ContentType, HandshakeType, Outcome, Reassembly, Record, ServerHello, fragments,
    records, tls_header,
};

use super::fields::{Fields, unhex};
use super::{KeyLog, Report};

const DTLS13: LabelPrefix = LabelPrefix::Dtls13;
/// Nothing here depends on the time.
const NOW: UnixMillis = UnixMillis(0);
/// Bytes of a handshake message's header in the transcript.
const TLS_HEADER_LEN: usize = 4;

type Checked<T = ()> = Result<T, String>;

/// Checks all that is given about `connection`.
pub(super) fn check(connection: Fields<'_>, key_log: &KeyLog, report: &mut Report<'_>) {
    if let Err(why) = check_all(connection, key_log, report) {
        report.check("vectors", Err(why));
    }
}

/// An error is a field that cannot be read, and without which nothing more can be checked.
fn check_all(connection: Fields<'_>, key_log: &KeyLog, report: &mut Report<'_>) -> Checked {
    let hellos = connection.list("client_hellos")?;
    let hellos: Vec<Fields<'_>> = hellos.iter().map(Fields).collect();
    let retry = connection.bytes("hello_retry_request")?;
    let server = connection.bytes("server_hello")?;

    let mut flight_records = None;
    if connection.get("first_flight").is_some() {
        let flight = read_flight(connection);
        let outcome = flight
            .as_ref()
            .map_err(String::clone)
            .and_then(|flight| flight.check(hellos.first().copied()));
        report.check("first_flight", outcome);
        flight_records = flight.ok().map(|flight| flight.early_records);
    }
    if let Some(retry) = &retry {
        report.check("hello_retry_request", check_server_hello(retry, true, None));
    }
    if let Some(server) = &server {
        let resumed = connection.flag("server_selected_psk")?;
        report.check("server_hello", check_server_hello(server, false, resumed));
    }

    let mut early = None;
    for (index, &fields) in hellos.iter().enumerate() {
        let what = |what: &str| format!("ClientHello {} {what}", index + 1);
        let Some(message) = fields.bytes("handshake_tls_form")? else {
            continue;
        };
        let body = body_of(&message, HandshakeType::CLIENT_HELLO)?;
        let hello = match ClientHello::parse(body) {
            Ok(hello) => hello,
            Err(why) => {
                report.check(&what("parses"), Err(why.to_string()));
                continue;
            }
        };
        report.check(&what("parses"), check_fields(&hello, fields));
        if let Some(retry) = retry.as_deref().filter(|_| index > 0) {
            report.check(&what("cookie"), check_cookie(&hello, retry));
        }

        let first = match index {
            0 => None,
            _ => hellos[index - 1].bytes("handshake_tls_form")?,
        };
        let schedule = Schedule {
            fields,
            hello: &hello,
            body,
            suite: suite_of(&hello, fields, server.as_deref().or(retry.as_deref()))?,
            before: first.as_deref().zip(retry.as_deref()),
            is_second: index > 0,
            key_log,
        };
        let secret = schedule.check(report, &what)?;
        if index == 0 {
            early = secret.map(|secret| (schedule.suite, secret));
        }
    }
    if early.is_none() {
        let given = connection.bytes("client_early_traffic_secret")?;
        let suite = connection
            .bytes("suite")?
            .and_then(|code| suite_from(&code));
        early = suite.or(selected_suite(server.as_deref())).zip(given);
    }
    if let Some((suite, secret)) = early {
        check_early_data(connection, suite, &secret, flight_records, report)?;
    }
    Ok(())
}

/// What a client sent before the server's first answer.
struct Flight {
    client_hello: Option<Vec<u8>>,
    fragments: u64,
    early_records: Vec<Vec<u8>>,
}

fn read_flight(connection: Fields<'_>) -> Checked<Flight> {
    let mut flight = Flight {
        client_hello: None,
        fragments: 0,
        early_records: Vec::new(),
    };
    let mut pool = Reassembly::new(4, 1 << 16, Duration::MAX).map_err(|why| why.to_string())?;
    for datagram in connection.list("first_flight")? {
        let datagram = datagram
            .as_str()
            .and_then(unhex)
            .ok_or("a datagram is not hex")?;
        for record in records(&datagram, 0) {
            match record.map_err(|why| why.to_string())? {
                Record::Plaintext(record) if record.content_type == ContentType::HANDSHAKE => {
                    for fragment in fragments(record.fragment) {
                        let fragment = fragment.map_err(|why| why.to_string())?;
                        if fragment.msg_type != HandshakeType::CLIENT_HELLO {
                            return Err(format!("unexpected {:?}", fragment.msg_type));
                        }
                        flight.fragments += 1;
                        let whole = if fragment.is_whole() {
                            Some(fragment.body)
                        } else {
                            match pool.insert(0, &fragment, NOW) {
                                Outcome::Complete(id) => Some(pool.body(id)),
                                Outcome::Incomplete | Outcome::AlreadyComplete(_) => None,
                                other => return Err(format!("reassembly: {other:?}")),
                            }
                        };
                        if let Some(body) = whole {
                            flight.client_hello = Some(body.to_vec());
                        }
                    }
                }
                Record::Plaintext(record) => {
                    return Err(format!("unexpected {:?}", record.content_type));
                }
                Record::Ciphertext(record) => {
                    // Networks double datagrams.
                    let record = record.bytes.to_vec();
                    if !flight.early_records.contains(&record) {
                        flight.early_records.push(record);
                    }
                }
            }
        }
    }
    Ok(flight)
}

impl Flight {
    fn check(&self, hello: Option<Fields<'_>>) -> Checked {
        let body = self.client_hello.as_deref().ok_or("no whole ClientHello")?;
        ClientHello::parse(body).map_err(|why| why.to_string())?;
        let Some(hello) = hello else { return Ok(()) };
        let header = tls_header(HandshakeType::CLIENT_HELLO, body.len() as u32);
        if let Some(given) = hello.bytes("handshake_tls_form")? {
            expect("its ClientHello", &[&header, body].concat(), &given)?;
        }
        match hello.number("fragments")? {
            Some(given) => expect("its number of fragments", &self.fragments, &given),
            None => Ok(()),
        }
    }
}

/// The body of a message in the TLS form, if it is one whole message of `msg_type`.
fn body_of(message: &[u8], msg_type: HandshakeType) -> Checked<&[u8]> {
    let (header, body) = message
        .split_at_checked(TLS_HEADER_LEN)
        .ok_or("a message is too short for its header")?;
    expect(
        "a message's header",
        header,
        &tls_header(msg_type, body.len() as u32),
    )?;
    Ok(body)
}

fn check_server_hello(message: &[u8], is_retry: bool, resumed: Option<bool>) -> Checked {
    let body = body_of(message, HandshakeType::SERVER_HELLO)?;
    let hello = ServerHello::parse(body).map_err(|why| why.to_string())?;
    expect(
        "HelloRetryRequest",
        &hello.is_hello_retry_request(),
        &is_retry,
    )?;
    match resumed {
        Some(given) => expect(
            "the selected PSK",
            &hello.selected_identity.is_some(),
            &given,
        ),
        None => Ok(()),
    }
}

/// The second ClientHello echoes the cookie (RFC 8446, 4.2.2).
fn check_cookie(hello: &ClientHello<'_>, retry: &[u8]) -> Checked {
    let body = body_of(retry, HandshakeType::SERVER_HELLO)?;
    let retry = ServerHello::parse(body).map_err(|why| why.to_string())?;
    expect("its echo", &hello.cookie(), &retry.cookie)
}

/// Compares what the library finds in a ClientHello with what is given.
fn check_fields(hello: &ClientHello<'_>, fields: Fields<'_>) -> Checked {
    let bytes = |name, ours: &[u8]| match fields.bytes(name)? {
        Some(given) => expect(name, ours, &given),
        None => Ok(()),
    };
    let number = |name, ours: u64| match fields.number(name)? {
        Some(given) => expect(name, &ours, &given),
        None => Ok(()),
    };
    let suites: Vec<u8> = hello.cipher_suites().flat_map(u16::to_be_bytes).collect();
    bytes("legacy_version", &hello.legacy_version().to_be_bytes())?;
    bytes("random", hello.random())?;
    bytes("session_id", hello.legacy_session_id())?;
    bytes("legacy_cookie", hello.legacy_cookie())?;
    bytes("suites", &suites)?;
    if fields.get("ext_order").is_some() {
        let given = fields.list("ext_order")?.iter().map(|code| code.as_u64());
        let ours = hello.extensions().map(|(code, _)| Some(u64::from(code)));
        expect("ext_order", &ours.collect::<Vec<_>>(), &given.collect())?;
    }
    if let Some(given) = fields.flag("early_data_ext")? {
        expect("early_data_ext", &hello.early_data(), &given)?;
    }
    let Some(offered) = hello.pre_shared_keys() else {
        return match fields.get("ticket") {
            Some(_) => Err("no pre_shared_key found".into()),
            None => Ok(()),
        };
    };
    let index = offered_index(hello, fields)?;
    let identity = offered.identities().nth(index).ok_or("no such identity")?;
    number("n_identities", offered.identities().count() as u64)?;
    bytes("ticket", identity.identity)?;
    bytes(
        "binder",
        offered.binders().nth(index).ok_or("no such binder")?,
    )?;
    number(
        "obfuscated_ticket_age",
        u64::from(identity.obfuscated_ticket_age),
    )?;
    number(
        "truncated_len",
        (TLS_HEADER_LEN + offered.truncated_len) as u64,
    )?;
    match fields.number("ticket_age_add")? {
        Some(add) => number(
            "client_age_ms",
            u64::from(identity.obfuscated_ticket_age.wrapping_sub(add as u32)),
        ),
        None => Ok(()),
    }
}

/// Which of the offered identities the fields are about: the one with their ticket.
fn offered_index(hello: &ClientHello<'_>, fields: Fields<'_>) -> Checked<usize> {
    let ticket = fields.bytes("ticket")?;
    let index = hello.pre_shared_keys().and_then(|offered| {
        let mut identities = offered.identities();
        identities.position(|offer| Some(offer.identity) == ticket.as_deref())
    });
    Ok(index.unwrap_or(0))
}

fn suite_from(code: &[u8]) -> Option<CipherSuite> {
    CipherSuite::from_code(u16::from_be_bytes(code.try_into().ok()?))
}

/// The suite that a ServerHello or HelloRetryRequest in the TLS form selects.
fn selected_suite(server: Option<&[u8]>) -> Option<CipherSuite> {
    let body = body_of(server?, HandshakeType::SERVER_HELLO).ok()?;
    CipherSuite::from_code(ServerHello::parse(body).ok()?.cipher_suite)
}

/// The suite of the PSK: as given, else as the server selects it, else the first offered one.
fn suite_of(
    hello: &ClientHello<'_>,
    fields: Fields<'_>,
    server: Option<&[u8]>,
) -> Checked<CipherSuite> {
    if let Some(code) = fields.bytes("suite")? {
        return suite_from(&code).ok_or_else(|| "suite is not one of the library's".into());
    }
    selected_suite(server)
        .or_else(|| hello.cipher_suites().find_map(CipherSuite::from_code))
        .ok_or_else(|| "no suite of the library's is offered".into())
}

/// The key schedule of one ClientHello.
struct Schedule<'a> {
    fields: Fields<'a>,
    hello: &'a ClientHello<'a>,
    body: &'a [u8],
    suite: CipherSuite,
    /// The first ClientHello and the HelloRetryRequest, in the TLS form.
    before: Option<(&'a [u8], &'a [u8])>,
    is_second: bool,
    key_log: &'a KeyLog,
}

impl Schedule<'_> {
    fn hash(&self) -> HashAlgorithm {
        self.suite.hash()
    }

    /// Checks what is given, and returns the client early traffic secret: the recomputed one, or
    /// the given one if the PSK is unknown.
    fn check(
        &self,
        report: &mut Report<'_>,
        what: &impl Fn(&str) -> String,
    ) -> Checked<Option<Vec<u8>>> {
        let fields = self.fields;
        if let Some(given) = fields.text("hash")? {
            let ours = match self.hash() {
                HashAlgorithm::Sha256 => "sha256",
                HashAlgorithm::Sha384 => "sha384",
            };
            report.check(&what("hash"), expect("the suite's", ours, given));
        }
        let given = fields.bytes("client_early_traffic_secret")?;
        let logged = match self.is_second {
            false => self.key_log.early_traffic_secret(self.hello.random()),
            true => None,
        };
        let psk = fields.bytes("psk")?;
        let master = fields.bytes("rms")?;
        if let Some((master, nonce)) = master.zip(fields.bytes("ticket_nonce")?) {
            let ours = Secret::from_bytes(self.hash(), &master)
                .ok_or("rms is not as long as the hash")
                .and_then(|master| resumption_psk(DTLS13, &master, &nonce).map_err(|_| "nonce"))?;
            report.same(&what("psk"), Ok(psk.clone()), ours.as_bytes());
        }
        let early = match (psk, fields.bytes("early_secret")?) {
            (Some(psk), given) => {
                let early = EarlySecret::from_psk(self.hash(), &psk);
                // Each is no more than the key of what follows from it.
                let derived = |early: &EarlySecret| early.derived(DTLS13).as_bytes().to_vec();
                let given = given.map(|given| {
                    let given = EarlySecret::from_bytes(self.hash(), &given);
                    given.as_ref().map(derived).unwrap_or_default()
                });
                report.same(&what("early_secret"), Ok(given), &derived(&early));
                early
            }
            (None, Some(given)) => EarlySecret::from_bytes(self.hash(), &given)
                .ok_or("early_secret is not as long as the hash")?,
            (None, None) => return Ok(given.or(logged)),
        };
        let Some(offered) = self.hello.pre_shared_keys() else {
            return Err("a PSK is given, but the ClientHello offers none".into());
        };
        let hashed = ClientHelloHash::new(self.transcript()?, self.body, offered.truncated_len)
            .ok_or("the binders begin behind the end")?;
        self.check_binder(&early, &hashed, report, what)?;

        let ours = early.client_early_traffic_secret(DTLS13, &hashed.full());
        let name = "client_early_traffic_secret";
        report.same(&what(name), Ok(given), ours.as_bytes());
        if self.hello.early_data() {
            report.same(&what("secret in keylog.txt"), Ok(logged), ours.as_bytes());
        }
        Ok(Some(ours.as_bytes().to_vec()))
    }

    fn check_binder(
        &self,
        early: &EarlySecret,
        hashed: &ClientHelloHash<'_>,
        report: &mut Report<'_>,
        what: &impl Fn(&str) -> String,
    ) -> Checked {
        let fields = self.fields;
        let binder_key = early.resumption_binder_secret(DTLS13);
        let given = fields.bytes("binder_key");
        report.same(&what("binder_key"), given, binder_key.as_bytes());
        let finished = finished_key(DTLS13, &binder_key);
        let given = fields.bytes("binder_finished_key");
        report.same(&what("binder_finished_key"), given, finished.as_bytes());
        let truncated = hashed.truncated();
        let given = fields.bytes("binder_transcript_hash");
        report.same(&what("binder_transcript_hash"), given, truncated.as_bytes());

        // As an engine does it: from the midstates that a ticket carries.
        let index = offered_index(self.hello, fields)?;
        let binders = self
            .hello
            .pre_shared_keys()
            .map(|offered| offered.binders());
        let binder = binders.and_then(|mut binders| binders.nth(index));
        let mut midstates = [0; MAX_MIDSTATES_LEN];
        let valid = early
            .binder_key(DTLS13)
            .to_midstates(&mut midstates)
            .and_then(|len| HmacKey::from_midstates(self.hash(), &midstates[..len]))
            .zip(binder)
            .is_some_and(|(key, binder)| key.verify(truncated.as_bytes(), binder));
        let expected = fields.flag("binder_ok")?.unwrap_or(true);
        report.check(&what("binder"), expect("its validity", &valid, &expected));
        Ok(())
    }

    /// What is hashed before this ClientHello.
    fn transcript(&self) -> Checked<Transcript> {
        if !self.is_second {
            return Ok(Transcript::new(self.hash()));
        }
        let (first, retry) = self
            .before
            .ok_or("what comes before the second ClientHello is not given")?;
        let mut transcript = Transcript::new(self.hash());
        let first = body_of(first, HandshakeType::CLIENT_HELLO)?;
        transcript.add(HandshakeType::CLIENT_HELLO, first);
        let retry = body_of(retry, HandshakeType::SERVER_HELLO)?;
        let digest = transcript.digest();
        Ok(Transcript::after_hello_retry_request(
            &digest,
            self.hash(),
            retry,
        ))
    }
}

fn check_early_data(
    connection: Fields<'_>,
    suite: CipherSuite,
    secret: &[u8],
    flight_records: Option<Vec<Vec<u8>>>,
    report: &mut Report<'_>,
) -> Checked {
    let secret = Secret::from_bytes(suite.hash(), secret)
        .ok_or("the early traffic secret is not as long as the suite's hash")?;
    let keys = TrafficKeys::derive(DTLS13, suite, &secret).map_err(|why| why.to_string())?;
    if let Some(given) = connection.get("early_keys").map(Fields) {
        report.same("early_keys key", given.bytes("key"), keys.key());
        report.same("early_keys iv", given.bytes("iv"), keys.iv());
        report.same("early_keys sn_key", given.bytes("sn_key"), keys.sn_key());
    }
    let mut opener = RecordOpener::new(&keys, EARLY_DATA_EPOCH).map_err(|why| why.to_string())?;
    for (index, record) in connection.list("early_records")?.iter().enumerate() {
        let outcome = check_record(Fields(record), &mut opener, flight_records.as_deref());
        report.check(&format!("early record {}", index + 1), outcome);
    }
    let flight_records = flight_records.unwrap_or_default();
    if !flight_records.is_empty() {
        let outcome = check_flight_records(&flight_records, &keys);
        report.check("early data of first_flight", outcome);
    }
    Ok(())
}

fn check_record(
    record: Fields<'_>,
    opener: &mut RecordOpener,
    flight_records: Option<&[Vec<u8>]>,
) -> Checked {
    let raw = record.bytes("raw")?.ok_or("no bytes are given")?;
    if flight_records.is_some_and(|flight| !flight.contains(&raw)) {
        return Err("it is not in first_flight".into());
    }
    let mut opened = raw.clone();
    let opened = opener
        .open(&mut opened, 0)
        .map_err(|why| format!("{why:?}"))?;
    if let Some(given) = record.number("epoch")? {
        expect("epoch", &EARLY_DATA_EPOCH, &given)?;
    }
    if let Some(given) = record.number("seq")? {
        expect("seq", &opened.sequence_number, &given)?;
    }
    if let Some(given) = record.number("inner_type")? {
        expect("inner_type", &u64::from(opened.content_type.0), &given)?;
    }
    if let Some(given) = record.bytes("plaintext")? {
        expect("plaintext", opened.plaintext, &given)?;
    }
    if let Some(given) = record.text("text")? {
        expect("text", opened.plaintext, given.as_bytes())?;
    }
    match opener.open(&mut raw.clone(), 0) {
        Err(RecordRejected::Replayed) => Ok(()),
        other => Err(format!("the same record again: {other:?}")),
    }
}

/// Opens the early data of a flight as a server would.
fn check_flight_records(flight: &[Vec<u8>], keys: &TrafficKeys) -> Checked {
    let mut opener = EarlyDataOpener::new(keys, u32::MAX).map_err(|why| why.to_string())?;
    for record in flight {
        let mut record = record.clone();
        match opener.open(&mut record, 0, NOW) {
            Ok(
                EarlyRecord::ApplicationData(_)
                | EarlyRecord::EndOfEarlyData
                | EarlyRecord::Alert(_),
            ) => {}
            Err(why) => return Err(format!("{why:?}")),
        }
    }
    Ok(())
}

fn expect<T: PartialEq + ?Sized>(what: &str, ours: &T, given: &T) -> Checked {
    if ours == given {
        Ok(())
    } else {
        Err(format!("{what} differs"))
    }
}
