//! Stories of the whole gateway: real sockets on loopback, real time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::server::tests::client::{Client, Profile};

/// How long what has to happen may take: a machine may have a lot to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that a story ends by what it sends as a signal.
struct Running {
    address: SocketAddr,
    metrics: SocketAddr,
    signals: std::sync::mpsc::Sender<i32>,
    thread: JoinHandle<Result<(), Failure>>,
    clock: Clock,
}

fn gateway(config: Config) -> Gateway {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen: loopback,
        workers: 4,
        metrics: Some(loopback),
        ..config
    };
    Gateway::start(&config).unwrap()
}

fn start(config: Config) -> Running {
    let gateway = gateway(config);
    let (signals, receive) = channel();
    Running {
        address: gateway.scraped.address,
        metrics: gateway.metrics.unwrap(),
        clock: gateway.clock,
        signals,
        thread: thread::spawn(move || gateway.run(&receive)),
    }
}

impl Running {
    fn request(&self, request: &str) -> String {
        let mut visitor = TcpStream::connect(self.metrics).unwrap();
        visitor.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The figure with this name and these labels.
    fn figure(&self, name: &str) -> f64 {
        let page = self.request("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"));
        let lines = body.lines().filter_map(|line| line.rsplit_once(' '));
        let mut values = lines.filter(|(key, _)| *key == name);
        let (_, value) = values.next().unwrap_or_else(|| panic!("no {name}"));
        value.parse().unwrap()
    }

    /// A figure that will be so, if a worker takes a moment to count.
    fn comes_to(&self, name: &str, value: f64) {
        self.becomes(name, |figure| figure == value);
    }

    fn becomes(&self, name: &str, as_it_should: impl Fn(f64) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !as_it_should(self.figure(name)) {
            assert!(Instant::now() < end, "{name}: {}", self.figure(name));
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(self, signal: i32) {
        self.signals.send(signal).unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

/// A client with a socket.
struct Socket {
    client: Client,
    socket: UdpSocket,
    clock: Clock,
}

impl Socket {
    fn new(gateway: &Running, client: Client) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(gateway.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            client,
            socket,
            clock: gateway.clock,
        }
    }

    fn send(&self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            self.socket.send(datagram).unwrap();
        }
    }

    /// Receives until `done`.
    fn receive(&mut self, done: impl Fn(&Client) -> bool) {
        let mut buffer = [0; 2048];
        while !done(&self.client) {
            let len = self.socket.recv(&mut buffer).unwrap();
            self.client.receive(&buffer[..len], self.clock.now());
        }
    }

    /// It has the server's flight, and has not answered that.
    fn wait_in_handshake(&mut self) {
        for _ in 0..2 {
            let before = self.client.records.len();
            let hello = self.client.hello(&[]);
            self.send(&hello);
            self.receive(|client| client.records.len() > before);
        }
    }

    fn connect(&mut self, early_data: &[&[u8]]) {
        let hello = self.client.hello(early_data);
        self.send(&hello);
        self.receive(|client| client.is_complete || client.retry_request.is_some());
        if !self.client.is_complete {
            let hello = self.client.hello(&[]);
            self.send(&hello);
            self.receive(|client| client.is_complete);
        }
        let finished = self.client.finished(1);
        self.send(&[finished]);
        self.receive(|client| !client.later.is_empty());
        let ack = self.client.ack();
        self.send(&[ack]);
    }
}

#[test]
fn clients_are_served_over_sockets_and_the_figures_say_so() {
    let gateway = start(Config {
        rotate: 1,
        tickets: 2,
        max_early_data: 1000,
        ..Config::default()
    });
    let mut first = Socket::new(&gateway, Client::new(0, Profile::default()));
    first.connect(&[]);
    let data = first.client.data(b"hello");
    first.send(&[data]);
    first.receive(|client| client.data == [b"hello"]);
    assert_eq!(first.client.later.len(), 2);
    let session = first.client.session(1, gateway.clock.now());
    assert_eq!(session.info().max_early_data, 1000);

    let now = gateway.clock.now();
    let second = Client::new(0, Profile::default()).resuming(&first.client, now);
    let mut second = Socket::new(&gateway, second);
    second.connect(&[b"early"]);
    second.receive(|client| client.data == [b"early"]);

    for (name, value) in [
        ("gateway_handshakes_total{kind=\"full\"}", 1.0),
        ("gateway_handshakes_total{kind=\"resumed\"}", 1.0),
        ("gateway_early_data_bytes_total", 5.0),
        ("gateway_early_data_records_total", 1.0),
        ("gateway_data_bytes_total", 5.0),
        ("gateway_tickets_issued_total", 4.0),
        ("gateway_associations", 2.0),
        (
            "gateway_verdicts_total{verdict=\"accept_early_data\",reason=\"\"}",
            1.0,
        ),
        (
            "gateway_verdicts_total{verdict=\"full_handshake\",reason=\"no_pre_shared_key\"}",
            2.0,
        ),
        ("gateway_flight_nanoseconds_count", 3.0),
        ("gateway_flight_nanoseconds_bucket{le=\"+Inf\"}", 3.0),
    ] {
        gateway.comes_to(name, value);
    }
    assert!(gateway.figure("gateway_flight_nanoseconds_sum") > 0.0);
    assert!(gateway.figure("gateway_ticket_key_seals_left") > 4e9);
    // Keys rotate each second: that of the tickets is still there, and another seals.
    gateway.becomes("gateway_ticket_keys{role=\"decrypt_only\"}", |keys| {
        keys >= 1.0
    });
    assert_eq!(gateway.figure("gateway_tickets_outstanding"), 4.0);
    gateway.becomes("gateway_ticket_key_age_seconds", |age| age < 2.0);

    assert!(
        gateway
            .request("GET / HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        gateway
            .request("nonsense\r\n\r\n")
            .starts_with("HTTP/1.1 400")
    );

    // And when the gateway ends, it says good-bye.
    gateway.end(SIGTERM);
    second.receive(|client| client.alerts == [0]);
}

#[test]
fn a_visitor_that_takes_his_time_does_not_keep_the_others_from_the_metrics() {
    let gateway = start(Config::default());
    let mut slow = TcpStream::connect(gateway.metrics).unwrap();
    let address = gateway.metrics;
    let dawdler = thread::spawn(move || {
        let mut said = 0;
        // As long as somebody listens.
        while slow.write_all(b"x").is_ok() {
            said += 1;
            thread::sleep(Duration::from_millis(50));
        }
        said
    });
    thread::sleep(Duration::from_millis(100));
    let mut visitor = TcpStream::connect(address).unwrap();
    visitor.set_read_timeout(Some(PATIENCE)).unwrap();
    visitor.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(dawdler.join().unwrap() < 1000);
    gateway.end(SIGTERM);
}

#[test]
fn the_readme_names_the_metrics_that_there_are() {
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("## Metrics\n").unwrap();
    let (table, _) = table.split_once("## ").unwrap();
    let rows = table.lines().filter_map(|line| line.split('|').nth(1));
    // What stands in every other place between backticks, without its labels.
    let names = rows.flat_map(|names| names.split('`').skip(1).step_by(2));
    let names = names.map(|name| name.split('{').next().unwrap());
    let mut documented: Vec<_> = names.filter(|name| *name != "gateway_").collect();
    documented.sort_unstable();

    let gateway = start(Config::default());
    let page = gateway.request("GET /metrics HTTP/1.1\r\n\r\n");
    let types = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE gateway_"));
    let mut scraped: Vec<_> = types.filter_map(|line| line.split(' ').next()).collect();
    scraped.sort_unstable();
    assert_eq!(documented, scraped);
    gateway.end(SIGTERM);
}

#[test]
fn sighup_rotates_the_keys_and_tickets_of_before_are_good() {
    let gateway = start(Config::default());
    let mut first = Socket::new(&gateway, Client::new(0, Profile::default()));
    first.connect(&[]);
    gateway.signals.send(SIGHUP).unwrap();
    gateway.comes_to("gateway_ticket_keys{role=\"decrypt_only\"}", 1.0);
    let now = gateway.clock.now();
    let second = Client::new(0, Profile::default()).resuming(&first.client, now);
    let mut second = Socket::new(&gateway, second);
    second.connect(&[b"early"]);
    second.receive(|client| client.data == [b"early"]);
    gateway.end(SIGINT);
}

#[test]
fn ticket_keys_of_a_file_are_taken_up_and_sighup_has_it_read_again() {
    let path = std::env::temp_dir().join(format!("ticket-keys-{}", std::process::id()));
    std::fs::write(&path, [[1; 32], [2; 32]].concat()).unwrap();
    let gateway = start(Config {
        ticket_key: Some(path.clone()),
        ..Config::default()
    });
    let keys = |role| format!("gateway_ticket_keys{{role=\"{role}\"}}");
    gateway.comes_to(&keys("active"), 1.0);
    gateway.comes_to(&keys("decrypt_only"), 1.0);
    gateway.comes_to(&keys("pending"), 0.0);
    for _ in 0..2 {
        // The second time it says nothing new.
        std::fs::write(&path, [[3; 32], [1; 32]].concat()).unwrap();
        gateway.signals.send(SIGHUP).unwrap();
        gateway.comes_to(&keys("pending"), 1.0);
    }
    gateway.end(SIGINT);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn sigterm_waits_for_a_handshake_under_way_and_a_second_one_does_not() {
    for patient in [true, false] {
        let gateway = start(Config::default());
        let mut client = Socket::new(&gateway, Client::new(0, Profile::default()));
        client.wait_in_handshake();
        gateway.signals.send(SIGTERM).unwrap();
        thread::sleep(Duration::from_millis(100));
        if patient {
            let finished = client.client.finished(1);
            client.send(&[finished]);
            client.receive(|client| !client.acknowledged.is_empty());
            gateway.thread.join().unwrap().unwrap();
        } else {
            gateway.end(SIGTERM);
        }
        client.receive(|client| client.alerts == [0]);
    }
}

#[test]
fn a_client_that_moves_to_another_workers_socket_is_served_by_its_own() {
    let gateway = start(Config::default());
    let profile = Profile {
        connection_id: Some(b"c"),
        ..Profile::default()
    };
    let mut client = Socket::new(&gateway, Client::new(0, profile));
    client.connect(&[]);
    // Most of these addresses are other workers'.
    for n in 0..16_u8 {
        client.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.socket.connect(gateway.address).unwrap();
        client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let data = client.client.data(&[n]);
        client.send(&[data]);
        client.receive(|client| client.data.last() == Some(&vec![n]));
    }
    // Whoever hands a datagram over has received it, and whoever serves it has not.
    gateway.comes_to("gateway_datagrams_received_total", 20.0);
    gateway.end(SIGTERM);
}

#[test]
fn all_handshakes_under_way_can_end_whichever_worker_is_done_first() {
    let gateway = start(Config::default());
    let mut clients: Vec<_> = (0..12)
        .map(|_| {
            let mut client = Socket::new(&gateway, Client::new(0, Profile::default()));
            client.wait_in_handshake();
            client
        })
        .collect();
    gateway.signals.send(SIGTERM).unwrap();
    for client in &mut clients {
        thread::sleep(Duration::from_millis(50));
        let finished = client.client.finished(1);
        client.send(&[finished]);
        client.receive(|client| !client.acknowledged.is_empty());
    }
    gateway.thread.join().unwrap().unwrap();
}

#[test]
fn when_one_worker_fails_the_others_end_in_order() {
    let mut gateway = gateway(Config::default());
    let failed = thread::spawn(|| Err("lost".into()));
    gateway.threads.insert(0, failed);
    let scraped = Arc::clone(&gateway.scraped);
    let (_signals, receive) = channel();
    let why = gateway.run(&receive).unwrap_err();
    assert_eq!(why.to_string(), "lost");
    // Nobody counts any more.
    let ended = |stats: &Arc<Stats>| Arc::strong_count(stats) == 1;
    assert!(scraped.workers.iter().all(ended));
}

/// A worker alone, and the way for what others hand over to it.
fn worker() -> (
    worker::Context,
    mio::Poll,
    Handover,
    Receiver<worker::Moved>,
) {
    let settings = settings(&Config::default()).unwrap();
    let clock = Clock::new();
    let engine = settings.engine().build(&SystemRandom::new(), clock.now());
    let (poll, control) = Control::new().unwrap();
    let (send, receive) = sync_channel(HANDOVER_MAX);
    let handover = Handover::new(send, &control);
    let context = worker::Context {
        lane: 0,
        clock,
        engine: engine.unwrap(),
        settings: Arc::new(settings),
        stats: Arc::default(),
        control,
        others: Vec::new(),
        batch: 32,
    };
    (context, poll, handover, receive)
}

#[test]
fn what_others_hand_over_is_taken_in_batches_until_nothing_is_left() {
    let [socket, again, client] = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.set_nonblocking(true).unwrap();
    again.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let peer = client.local_addr().unwrap();

    // A worker that is to end takes a batch and ends, however much there is.
    let (context, poll, others, moved) = worker();
    (0..HANDOVER_MAX).for_each(|_| others.send(b"junk", peer));
    context.control.stop();
    worker::run(context, socket, poll, &moved).unwrap();
    assert_eq!(moved.try_iter().count(), HANDOVER_MAX - 32);

    // Who goes on comes to the last of them, though it is told but once that something waits.
    let (context, poll, others, moved) = worker();
    let control = context.control.clone();
    (1..HANDOVER_MAX).for_each(|_| others.send(b"junk", peer));
    others.send(&Client::new(0, Profile::default()).hello(&[])[0], peer);
    let thread = thread::spawn(move || worker::run(context, again, poll, &moved).map(drop));
    client.recv(&mut [0; 2048]).unwrap();
    control.stop();
    thread.join().unwrap().unwrap();
}
