//! Networks that lose, double, reorder and delay up to 20% of the datagrams, in each direction:
//! every handshake completes, and early data is never delivered twice.

use std::panic::resume_unwind;
use std::thread;

use dtls_session_peers::client::{BoringSsl, EarlyData, Own, Settings, Stack, WolfSsl};
use dtls_session_peers::proxy::{Faults, Treatment};
use dtls_session_peers::scene::{Scene, x25519};

/// Of 100 datagrams.
const PERCENT: [u8; 3] = [5, 10, 20];

/// Networks that are tried at the same time; more of them with `SEEDS=100`, to look for what is
/// rare.
fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("SEEDS");
    0..seeds.map_or(4, |seeds| seeds.parse().unwrap())
}

/// A full handshake and three resumptions in a network with `faults`. Returns in how many of them
/// early data was accepted.
fn connect_and_resume<S: Stack>(settings: &Settings, faults: Faults, early: bool) -> usize {
    let treatment = Treatment {
        faults,
        ..Treatment::default()
    };
    let scene = Scene::with(&[], treatment).unwrap();
    let full = scene.connect::<S>(settings, None);
    let (mut connection, _) = full.unwrap_or_else(|why| panic!("{faults:?}: {why}"));
    let mut accepted = 0;
    for _ in 0..3 {
        connection.echo(b"here").unwrap();
        let session = connection.session().unwrap();
        let before = scene.deliveries().unwrap();
        connection.close();
        let resumption = match early {
            true => scene.connect_early::<S>(settings, &session),
            false => scene.connect::<S>(settings, Some(&session)),
        };
        let (resumed, agreed) = resumption.unwrap_or_else(|why| panic!("{faults:?}: {why}"));
        assert!(agreed.resumed, "{faults:?}");
        connection = resumed;
        // What was delivered late comes before what follows.
        connection.echo(b"there").unwrap();
        let after = scene.deliveries().unwrap();
        for (before, after) in before.into_iter().zip(after) {
            assert!(
                after - before <= 1,
                "{faults:?}: delivered {before}, then {after} times"
            );
        }
        let is_accepted = agreed.early_data == EarlyData::Accepted;
        assert!(
            is_accepted || before == after,
            "{faults:?}: refused, and delivered"
        );
        accepted += usize::from(is_accepted);
    }
    accepted
}

/// In all networks, so many at a time as there are seeds. Returns in how many resumptions early
/// data was accepted, and how many there were.
fn everywhere<S: Stack>(settings: &Settings, early: bool) -> (usize, usize) {
    let mut accepted = 0;
    for percent in PERCENT {
        accepted += thread::scope(|scope| {
            let run = |seed| connect_and_resume::<S>(settings, Faults::all(percent, seed), early);
            let runs: Vec<_> = seeds().map(|seed| scope.spawn(move || run(seed))).collect();
            let accepted = runs
                .into_iter()
                .map(|run| run.join().unwrap_or_else(|panic| resume_unwind(panic)));
            accepted.sum::<usize>()
        });
    }
    (accepted, 3 * PERCENT.len() * seeds().count())
}

#[test]
fn wolfssl_completes_every_handshake_and_delivers_early_data_at_most_once() {
    let (accepted, of) = everywhere::<WolfSsl>(&x25519(), true);
    assert!(2 * accepted > of, "0-RTT in {accepted} of {of} resumptions");
}

#[test]
fn boringssl_with_hybrid_shares_in_two_datagrams_completes_every_handshake() {
    everywhere::<BoringSsl>(&Settings::default(), false);
}

#[test]
fn our_own_client_completes_every_handshake_and_delivers_early_data_at_most_once() {
    let (accepted, of) = everywhere::<Own>(&x25519(), true);
    assert!(2 * accepted > of, "0-RTT in {accepted} of {of} resumptions");
}
