//! What an attacker can do who records a client's first flight and sends it again: nothing.
//!
//! Each story ends with the early data delivered exactly once, in all.

use std::time::Duration;

use dtls_session_peers::client::{Connection, EarlyData, WolfSsl};
use dtls_session_peers::folder::Folder;
use dtls_session_peers::proxy::{Faults, Proxy, Treatment};
use dtls_session_peers::scene::{EARLY, Scene, send_from_ports, x25519};

/// Datagrams of a first flight.
const FLIGHT: usize = 1 + EARLY.len();

/// A wolfSSL client has resumed with early data, which was accepted, and its first flight is known.
struct Attacked {
    scene: Scene,
    connection: Connection<WolfSsl>,
    flight: Vec<Vec<u8>>,
}

impl Attacked {
    fn new(treatment: Treatment) -> Self {
        Self::in_scene(Scene::with(&[], treatment).unwrap())
    }

    fn in_scene(scene: Scene) -> Self {
        let session = scene.session::<WolfSsl>(&x25519()).unwrap();
        let (connection, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
        let flight = scene.proxy.first_flight_of(scene.newest(), FLIGHT).unwrap();
        assert!(agreed.resumed);
        Self {
            scene,
            connection,
            flight,
        }
    }

    /// Sends the flight again from the client's port, from another one, and from many at once.
    fn replay(&self) {
        let Scene { gateway, proxy } = &self.scene;
        proxy.send_as(self.scene.newest(), &self.flight).unwrap();
        for ports in [1, 8] {
            send_from_ports(gateway.address, ports, &self.flight).unwrap();
        }
    }

    fn assert_delivered_once(&self) {
        assert_eq!(self.scene.deliveries().unwrap(), [1, 1]);
    }
}

#[test]
fn trap_04_a_flight_that_comes_twice_at_once_is_delivered_once() {
    let mut attacked = Attacked::new(Treatment {
        repeats: 2,
        ..Treatment::default()
    });
    attacked.connection.echo(b"still here").unwrap();
    attacked.assert_delivered_once();
}

#[test]
fn trap_05_a_flight_that_comes_from_several_ports_at_once_is_delivered_once() {
    for mirrors in [1, 2, 7] {
        let mut attacked = Attacked::new(Treatment {
            mirrors,
            ..Treatment::default()
        });
        // Whoever came first: the client is served.
        attacked.connection.echo(b"still here").unwrap();
        attacked.assert_delivered_once();
    }
}

#[test]
fn a_flight_that_comes_again_after_the_handshake_delivers_nothing_and_disturbs_nobody() {
    let mut attacked = Attacked::new(Treatment::default());
    attacked.replay();
    attacked.connection.echo(b"still here").unwrap();
    attacked.assert_delivered_once();
    attacked.connection.session().unwrap();
    attacked.replay();
    attacked.connection.echo(b"and still").unwrap();
    attacked.assert_delivered_once();
}

#[test]
fn a_flight_that_comes_again_after_the_close_delivers_nothing() {
    let Attacked {
        scene,
        connection,
        flight,
    } = Attacked::new(Treatment::default());
    let client = scene.newest();
    connection.close();
    for pause in [0, 200, 2000] {
        std::thread::sleep(Duration::from_millis(pause));
        scene.proxy.send_as(client, &flight).unwrap();
        send_from_ports(scene.gateway.address, 4, &flight).unwrap();
        assert_eq!(scene.deliveries().unwrap(), [1, 1]);
    }
}

#[test]
fn a_flight_that_an_attacker_holds_back_is_delivered_once_when_he_sends_it_from_everywhere() {
    let scene = Scene::new(&[]).unwrap();
    let session = scene.session::<WolfSsl>(&x25519()).unwrap();
    // Given a flight that never reached the gateway,
    let loss = Faults {
        loss: 100,
        ..Faults::default()
    };
    let treatment = Treatment {
        faults: loss,
        ..Treatment::default()
    };
    let hole = Proxy::start(scene.gateway.address, treatment).unwrap();
    let started = Connection::<WolfSsl>::start(hole.address(), &x25519(), Some(&session), &EARLY);
    started.unwrap();
    let flight = hole.first_flight_of(0, FLIGHT).unwrap();
    // when it comes from many ports at the same time, and again,
    for _ in 0..3 {
        send_from_ports(scene.gateway.address, 8, &flight).unwrap();
    }
    // then one of them has it. (Who that is cannot know what is answered.)
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
}

#[test]
fn trap_09_after_a_restart_nothing_of_before_is_delivered_and_sessions_resume() {
    let folder = Folder::new().unwrap();
    let key = folder.write("ticket-key", &[0x5a; 32]).unwrap();
    let mut attacked = Attacked::in_scene(Scene::new(&["--ticket-key", &key]).unwrap());
    attacked.assert_delivered_once();
    let unused = attacked.connection.session().unwrap();
    let Attacked { scene, flight, .. } = &mut attacked;
    let client = scene.newest();
    // Given a gateway with the same ticket key that knows of nothing,
    scene.gateway.restart().unwrap();
    // when the flight comes again, then the new process delivers nothing.
    scene.proxy.send_as(client, flight).unwrap();
    send_from_ports(scene.gateway.address, 8, flight).unwrap();
    assert_eq!(scene.deliveries().unwrap(), [0, 0]);
    // And a ticket that was not used resumes, without early data: nobody can know.
    let (mut connection, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &unused).unwrap();
    assert!(agreed.resumed);
    assert_eq!(agreed.early_data, EarlyData::Rejected);
    assert_eq!(scene.deliveries().unwrap(), [0, 0]);
    // Fresh tickets lose nothing.
    let fresh = connection.session().unwrap();
    let (_, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &fresh).unwrap();
    assert_eq!(agreed.early_data, EarlyData::Accepted);
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
}

#[test]
fn after_rotations_used_tickets_stay_used_and_unused_ones_are_good() {
    let mut attacked = Attacked::new(Treatment::default());
    let mut session = attacked.connection.session().unwrap();
    for rotations in 1..=3 {
        attacked.scene.gateway.rotate().unwrap();
        attacked.replay();
        let scene = &attacked.scene;
        assert_eq!(scene.deliveries().unwrap(), [rotations, rotations]);
        // A ticket of before the rotation.
        let (mut connection, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
        assert_eq!(agreed.early_data, EarlyData::Accepted);
        session = connection.session().unwrap();
        attacked.flight = scene.proxy.first_flight_of(scene.newest(), FLIGHT).unwrap();
    }
}
