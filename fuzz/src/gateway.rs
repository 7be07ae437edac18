//! Gateways, their genuine clients, and what must hold of every verdict whatever the fuzzer sends.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use dtls_session::admission::{AddressPolicy, NoEarlyData};
use dtls_session::client::{ClientSession, Framing, Offer};
use dtls_session::handover::{HandoverError, IDENTITY_LEN, hand_over, take_over};
use dtls_session::keys::KeyConfig;
use dtls_session::schedule::{
    CipherSuite, EarlyRecord, EarlySecret, LabelPrefix, RECORD_OVERHEAD_LEN,
};
use dtls_session::wire::{ClientHello, HANDSHAKE_HEADER_LEN};
use dtls_session::{
    Arrival, Datagram, Engine, KeySecret, NewSession, ReplayProtection, ResumptionSecret,
    SecureRandom, UnixMillis, Verdict, Worker,
};

use crate::allocator::measure;
use crate::common::{EARLY, MASTER, NOW, Seeded, Seen, client_address, seen};
use crate::hello::{Hello, hellos};

/// Workers of each process.
pub const LANES: usize = 2;

const LIFETIME: Duration = Duration::from_secs(40);
const FRESH_MS: u64 = 10_000;

/// What a batch may leave on the heap: subkeys of other issuers, of which a key keeps a few, and
/// what is waiting to be collected.
const KEPT_MAX: isize = 16 << 10;

/// What a batch may take while it is judged: the least that 64 datagrams need, and some.
const PEAK_MAX: usize = 256 << 10;

/// What does not change in a world.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How replays are kept out.
    pub protection: ReplayProtection,
    /// What clients at other addresses get.
    pub address_policy: AddressPolicy,
    /// Tickets of a lane under one key.
    pub serials_per_lane: u64,
}

impl Rules {
    /// One set of rules for each byte.
    pub fn of(byte: u8) -> Self {
        Self {
            protection: match byte & 7 {
                0..=3 => ReplayProtection::SingleUseTickets,
                4 | 5 => ReplayProtection::ClientHelloRecording,
                6 => ReplayProtection::TimeWindowed,
                _ => ReplayProtection::Disabled,
            },
            address_policy: match byte & 8 {
                0 => AddressPolicy::CookieFirst,
                _ => AddressPolicy::LimitAmplification,
            },
            serials_per_lane: if byte & 16 == 0 { 1 << 32 } else { 3 },
        }
    }
}

/// Processes that share a ticket key, at the same time or one after the other, and their clients.
pub struct World {
    rules: Rules,
    now: UnixMillis,
    stepped_back: bool,
    processes: Vec<Process>,
    tickets: Vec<Ticket>,
    flights: Vec<Flight>,
    by_body: HashMap<Vec<u8>, usize>,
    /// Flights, or tickets where these are used once.
    accepted: HashSet<usize>,
    /// Cookies, and to whom they were given.
    cookies: HashSet<(Vec<u8>, SocketAddr)>,
    /// Bytes that may still be sent to who is not verified, if all that was allowed was sent.
    allowed: HashMap<SocketAddr, usize>,
    registers: Vec<Vec<u8>>,
    random: Seeded,
    ticket_key: [u8; 32],
}

struct Process {
    engine: Engine,
    workers: Vec<Worker>,
    number: u64,
    offered: u64,
    handed_over: bool,
}

struct Ticket {
    body: Vec<u8>,
    hello: &'static Hello,
    suite: CipherSuite,
    issued: UnixMillis,
    process: u64,
}

/// What a genuine client has sent.
pub struct Flight {
    /// The datagrams of its ClientHello, and one of early data.
    pub datagrams: Vec<Vec<u8>>,
    /// The body of its ClientHello.
    pub body: Vec<u8>,
    offer: Offer,
    random: [u8; 32],
    ticket: usize,
    sent: UnixMillis,
    early: Option<Vec<u8>>,
}

impl Flight {
    /// The ticket that it offers.
    pub fn ticket_bytes(&self) -> &[u8] {
        self.offer.session().ticket()
    }
}

impl World {
    /// A world with one process. Its keys and the randoms of its clients follow from `seed`.
    pub fn new(rules: Rules, seed: u64) -> Self {
        let random = Seeded::new(seed);
        let mut ticket_key = [0; 32];
        random.fill(&mut ticket_key).expect("it never fails");
        let mut world = Self {
            rules,
            now: NOW,
            stepped_back: false,
            processes: Vec::new(),
            tickets: Vec::new(),
            flights: Vec::new(),
            by_body: HashMap::new(),
            accepted: HashSet::new(),
            cookies: HashSet::new(),
            allowed: HashMap::new(),
            registers: Vec::new(),
            random,
            ticket_key,
        };
        world.start();
        world
    }

    /// Starts a process. Of more than three the oldest is gone.
    pub fn start(&mut self) {
        let rules = self.rules;
        let keys = KeyConfig {
            lanes: LANES,
            rotation_interval: Some(Duration::from_secs(20)),
            ticket_lifetime: LIFETIME,
            serials_per_lane: rules.serials_per_lane,
            register_bytes: 1 << 20,
            max_keys: 16,
        };
        let groups: Vec<u16> = hellos()
            .iter()
            .flat_map(|hello| hello.groups.clone())
            .collect();
        let number = self.random.next();
        let engine = Engine::builder()
            .keys(keys)
            .ticket_key(KeySecret::new(self.ticket_key))
            .replay_protection(rules.protection)
            .recorder_bytes(1 << 17)
            .address_policy(rules.address_policy)
            .groups(&groups)
            .reassembly(8, 4096)
            .build(&Seeded::new(number), self.now)
            .expect("the configuration is right");
        let worker = |lane| engine.worker(lane).expect("the lane is there");
        if self.processes.len() == 3 {
            self.processes.remove(0);
        }
        self.processes.push(Process {
            workers: (0..LANES).map(worker).collect(),
            engine,
            number,
            offered: 0,
            handed_over: false,
        });
    }

    /// How many processes there are: at least one.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// The engine of a process.
    pub fn engine(&self, process: usize) -> &Engine {
        &self.processes[process].engine
    }

    /// What genuine clients have sent so far.
    pub fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// How many tickets they have got.
    pub fn tickets(&self) -> usize {
        self.tickets.len()
    }

    /// The time.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// Time passes, in ms.
    pub fn pass(&mut self, ms: u64) {
        self.now.0 += ms;
    }

    /// The clock steps back, in ms.
    pub fn step_back(&mut self, ms: u64) {
        self.now.0 -= ms;
        self.stepped_back |= ms > 0;
    }

    /// The key that all processes share.
    pub fn ticket_key(&self) -> &[u8; 32] {
        &self.ticket_key
    }

    /// Another key seals now, unless there are too many.
    pub fn rotate(&mut self, process: usize) {
        let _ = self.processes[process]
            .engine
            .keys()
            .rotate(self.now, &self.random);
    }

    /// What is done every second.
    pub fn maintain(&mut self, process: usize) {
        let _ = self.processes[process]
            .engine
            .maintain(self.now, &self.random);
    }

    /// A process issues a ticket to a client that says `hello`. Returns its number; there is none
    /// when the serials are used up.
    pub fn issue(&mut self, process: usize, lane: usize, hello: usize) -> Option<usize> {
        let hello = &hellos()[hello % hellos().len()];
        let suite = hello.suites().into_iter().next()?;
        let session = NewSession {
            suite,
            secret: ResumptionSecret::Master {
                secret: &MASTER[..suite.hash().output_len()],
                ticket_nonce: &[0],
            },
            server_name: hello.server_name.as_deref(),
            alpn: hello.alpn.as_deref(),
            authenticated: self.now,
            host_data: b"",
            message_seq: 5,
        };
        let process = &mut self.processes[process];
        let mut out = [0; 1024];
        let len = process.workers[lane % LANES]
            .issue(&session, client_address().ip(), self.now, &mut out)
            .ok()?;
        self.tickets.push(Ticket {
            body: out[HANDSHAKE_HEADER_LEN..len].to_vec(),
            hello,
            suite,
            issued: self.now,
            process: process.number,
        });
        Some(self.tickets.len() - 1)
    }

    /// A client offers a ticket now, in datagrams of at most `datagram_max` bytes. Returns the
    /// number of its flight.
    pub fn offer(&mut self, ticket: usize, datagram_max: usize) -> usize {
        let kept = &self.tickets[ticket];
        let secret = &MASTER[..kept.suite.hash().output_len()];
        let alpn = kept.hello.alpn.as_deref();
        let session = ClientSession::from_new_session_ticket(
            &kept.body,
            kept.suite,
            secret,
            alpn,
            kept.issued,
        )
        .expect("the ticket is genuine");
        let mut random = [0; 32];
        self.random.fill(&mut random).expect("it never fails");
        let sent = self.sent(&session);
        let offer = session.offer(sent).expect("it has not expired");
        self.send(ticket, offer, random, None, sent, datagram_max)
    }

    /// The time of a client that offers a session now: if that has expired, its clock is behind.
    fn sent(&self, session: &ClientSession) -> UnixMillis {
        let info = session.info();
        self.now
            .clamp(info.received, UnixMillis(info.expires.0 - 1))
    }

    /// The client of a flight answers a HelloRetryRequest.
    fn offer_again(&mut self, flight: usize, hello_retry_request: &[u8], cookie: &[u8]) -> usize {
        let first = &self.flights[flight];
        let (ticket, random) = (first.ticket, first.random);
        let hello1 = first.body.clone();
        let kept = &self.tickets[ticket];
        let secret = &MASTER[..kept.suite.hash().output_len()];
        let session = ClientSession::from_new_session_ticket(
            &kept.body,
            kept.suite,
            secret,
            None,
            kept.issued,
        )
        .expect("the ticket is genuine");
        let sent = self.sent(&session);
        let offer = session
            .offer(sent)
            .expect("it has not expired")
            .retry(&hello1, hello_retry_request, sent)
            .expect("a HelloRetryRequest")
            .expect("the same hash");
        self.send(ticket, offer, random, Some(cookie), sent, 1200)
    }

    fn send(
        &mut self,
        ticket: usize,
        mut offer: Offer,
        random: [u8; 32],
        cookie: Option<&[u8]>,
        sent: UnixMillis,
        datagram_max: usize,
    ) -> usize {
        let mut extension = [0; 1024];
        let len = offer.write_extension(&mut extension).expect("it fits");
        let hello = self.tickets[ticket].hello;
        let mut body = hello.body(random, cookie, &extension[..len]);
        let transcript = offer.bind(&mut body).expect("it offers this session");
        let framing = Framing {
            message_seq: cookie.is_some().into(),
            sequence_number: 0,
            max_datagram_len: datagram_max.max(64),
        };
        let mut datagrams = framing.datagrams(&body).expect("a ClientHello");
        let early = offer.early_data(&transcript).ok().map(|mut sealer| {
            let mut record = vec![0; EARLY.len() + RECORD_OVERHEAD_LEN];
            sealer.seal(EARLY, &mut record).expect("it fits");
            record
        });
        datagrams.extend(early.clone());
        let flight = self.flights.len();
        self.by_body.insert(body.clone(), flight);
        self.flights.push(Flight {
            datagrams,
            body,
            offer,
            random,
            ticket,
            sent,
            early,
        });
        flight
    }

    /// The gateway asks the client of a flight, which says to be at `peer`, for a cookie, and the
    /// client sends its ClientHello again. Returns the number of that flight.
    pub fn retry(
        &mut self,
        process: usize,
        lane: usize,
        flight: usize,
        peer: SocketAddr,
    ) -> Option<usize> {
        let first = &self.flights[flight];
        let suite = self.tickets[first.ticket].suite;
        let whole = Framing {
            max_datagram_len: 9000,
            ..Framing::default()
        };
        let bytes = whole.datagrams(&first.body).ok()?.remove(0);
        let batch = [(peer, bytes)];
        let mut request = [0; 192];
        let mut len = 0;
        self.admit_and(process, lane, &batch, |admitted| {
            let (arrival, verdict) = admitted.iter().next().expect("one verdict");
            let is_first = arrival.hello.is_some() && arrival.retried.is_none();
            if is_first && !matches!(verdict, Verdict::AcceptEarlyData(_)) {
                len = admitted
                    .hello_retry_request(arrival, suite, None, &mut request)
                    .expect("it fits");
            }
        });
        let request = &request[..len];
        let answer = dtls_session::wire::ServerHello::parse(request).ok()?;
        let cookie = answer.cookie.expect("a cookie").to_vec();
        if !self.cookies.insert((cookie.clone(), peer)) {
            // It has answered that already.
            return None;
        }
        Some(self.offer_again(flight, request, &cookie))
    }

    /// Lets a process judge a batch, and checks what must hold of every verdict.
    pub fn admit(
        &mut self,
        process: usize,
        lane: usize,
        batch: &[(SocketAddr, Vec<u8>)],
    ) -> Vec<Seen> {
        self.admit_and(process, lane, batch, |_| ())
    }

    fn admit_and(
        &mut self,
        process: usize,
        lane: usize,
        batch: &[(SocketAddr, Vec<u8>)],
        and: impl FnOnce(&dtls_session::Admitted<'_>),
    ) -> Vec<Seen> {
        let now = self.now;
        let at = &mut self.processes[process];
        at.offered += batch.len() as u64;
        let datagrams: Vec<_> = batch
            .iter()
            .map(|(peer, bytes)| Datagram { bytes, peer: *peer })
            .collect();
        let worker = &mut at.workers[lane % LANES];
        let (admitted, usage) = measure(|| worker.admit(&datagrams, now).expect("a batch"));
        assert!(usage.kept <= KEPT_MAX, "a batch leaves {usage:?}");
        assert!(usage.peak <= PEAK_MAX, "a batch takes {usage:?}");
        let mut verdicts = Vec::with_capacity(batch.len());
        for (arrival, verdict) in admitted.iter() {
            let known = self.by_body.get(arrival.hello_body);
            let flight = known.map(|flight| &self.flights[*flight]);
            Self::check_arrival(arrival, flight, &self.cookies);
            let Datagram { bytes, peer } = arrival.datagram;
            let allowed = self.allowed.entry(peer).or_default();
            *allowed += 3 * bytes.len();
            let is_answered = !matches!(verdict, Verdict::Discard(_) | Verdict::Incomplete);
            if let (true, Some(limit)) = (is_answered, arrival.send_limit()) {
                let left = allowed.checked_sub(limit);
                *allowed = left.expect("more may be sent than three times what came");
            }
            if let (Verdict::AcceptEarlyData(_) | Verdict::Resume(..), Some(flight)) =
                (verdict, flight)
            {
                let issued = self.tickets[flight.ticket].issued;
                assert!(now < issued.saturating_add(LIFETIME), "an expired ticket");
            }
            match verdict {
                Verdict::AcceptEarlyData(resumed) => {
                    let flight = flight.expect("accepted, and no client sent it");
                    assert_ne!(self.rules.protection, ReplayProtection::Disabled);
                    assert_eq!(arrival.message_seq, 0);
                    assert!(arrival.retried.is_none());
                    let used = match self.rules.protection {
                        ReplayProtection::SingleUseTickets => flight.ticket,
                        _ => *known.expect("it is known"),
                    };
                    assert!(self.accepted.insert(used), "accepted a second time");
                    let mut opener = resumed.early_data().expect("early data is accepted");
                    let mut early = flight.early.clone().expect("early data was offered");
                    let opened = opener.open(&mut early, 0, now);
                    assert_eq!(opened, Ok(EarlyRecord::ApplicationData(EARLY)));
                }
                Verdict::Resume(resumed, _) => {
                    let flight = flight.expect("resumed, and no client sent it");
                    assert!(resumed.early_data().is_none());
                    let derived = |early: &EarlySecret| early.derived(LabelPrefix::Dtls13);
                    assert_eq!(
                        derived(&resumed.early_secret().expect("there is one")).as_bytes(),
                        derived(flight.offer.session().early_secret()).as_bytes()
                    );
                }
                Verdict::Retransmission => {
                    assert!(flight.is_some(), "repeated, and no client sent it");
                }
                _ => {}
            }
            verdicts.push(seen(verdict));
        }
        assert_eq!(verdicts.len(), batch.len());
        and(&admitted);
        drop(admitted);
        let counted = at.engine.metrics().verdicts().map(|(_, _, n)| n).sum();
        assert_eq!(at.offered, counted, "each datagram is counted once");
        let (used, limit) = at.engine.keys().register_bytes();
        assert!(used <= limit);
        verdicts
    }

    fn check_arrival(
        arrival: &Arrival<'_>,
        flight: Option<&Flight>,
        cookies: &HashSet<(Vec<u8>, SocketAddr)>,
    ) {
        let Datagram { bytes, peer } = arrival.datagram;
        assert!(bytes.ends_with(arrival.rest));
        assert!(arrival.message_seq <= 1);
        // Whatever came before.
        assert_eq!(arrival.hello, ClientHello::parse(arrival.hello_body).ok());
        if arrival.retried.is_some() {
            let cookie = arrival
                .hello
                .and_then(|hello: ClientHello<'_>| hello.cookie());
            let given = (cookie.expect("a cookie was echoed").to_vec(), peer);
            assert!(cookies.contains(&given), "a cookie that nobody was given");
        } else if arrival.address_verified {
            assert!(flight.is_some(), "no genuine client is there");
            assert_eq!(peer.ip(), client_address().ip());
        }
        let received = (bytes.len() - arrival.rest.len()).max(arrival.hello_body.len());
        match arrival.send_limit() {
            None => assert!(arrival.address_verified),
            Some(limit) => assert_eq!(limit, 3 * received),
        }
    }

    /// Whether nothing is against 0-RTT for this flight, here and now, from its own address.
    pub fn deserves_early_data(&self, process: usize, flight: usize) -> bool {
        let at = &self.processes[process];
        let flight = &self.flights[flight];
        let ticket = &self.tickets[flight.ticket];
        let age = self.now.0.abs_diff(flight.sent.0);
        // Under the others the table of recorded flights may be full.
        self.rules.protection == ReplayProtection::SingleUseTickets
            && flight.early.is_some()
            && ticket.process == at.number
            && !at.handed_over
            && !self.stepped_back
            && self.now < ticket.issued.saturating_add(LIFETIME)
            && age <= FRESH_MS
            && !self.accepted.contains(&flight.ticket)
    }

    /// The verdict on a genuine flight from a port that nobody else uses: 0-RTT if it deserves it,
    /// and never without a reason.
    pub fn judge(&mut self, process: usize, lane: usize, flight: usize, port: u16) -> Seen {
        let deserves = self.deserves_early_data(process, flight);
        let peer = SocketAddr::new(client_address().ip(), port);
        let datagrams = &self.flights[flight].datagrams;
        let batch: Vec<_> = datagrams.iter().map(|d| (peer, d.clone())).collect();
        let hellos = batch.len() - usize::from(self.flights[flight].early.is_some());
        let verdict = self.admit(process, lane, &batch)[hellos - 1];
        if deserves {
            assert_eq!(verdict, Seen::Accept, "a genuine flight");
        }
        verdict
    }

    /// Takes what a process remembers out of it.
    pub fn hand_over(&mut self, process: usize) {
        let at = &mut self.processes[process];
        match hand_over(&at.engine, &identity(self.registers.len()), self.now) {
            Ok(registers) => self.registers.push(registers),
            Err(why) => assert_eq!(why, HandoverError::NotSingleUse),
        }
        at.handed_over |= self.rules.protection == ReplayProtection::SingleUseTickets;
    }

    /// What was handed over so far.
    pub fn registers(&self) -> &[Vec<u8>] {
        &self.registers
    }

    /// Lets a process take over registers: once for all, since whoever does so removes them.
    pub fn take_over(&mut self, process: usize, registers: usize) {
        if let Some(bytes) = self.registers.get_mut(registers) {
            let bytes = std::mem::take(bytes);
            let _ = self.take_over_bytes(process, &bytes, registers);
        }
    }

    /// Lets a process take over any bytes, which lie where those with this number were.
    pub fn take_over_bytes(
        &mut self,
        process: usize,
        bytes: &[u8],
        number: usize,
    ) -> Result<usize, HandoverError> {
        let engine = &self.processes[process].engine;
        let minute = Duration::from_secs(60);
        take_over(engine, bytes, &identity(number), minute, self.now)
    }

    /// A flight that was accepted, or for which the 0-RTT of its ticket was used up, gets none.
    pub fn is_spent(seen: Seen) -> bool {
        matches!(
            seen,
            Seen::Resume(NoEarlyData::Replayed) | Seen::Retransmission
        )
    }
}

fn identity(number: usize) -> [u8; IDENTITY_LEN] {
    [number as u8; IDENTITY_LEN]
}
