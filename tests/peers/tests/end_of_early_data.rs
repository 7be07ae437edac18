//! Trap 36: DTLS 1.3 omits EndOfEarlyData, and some clients send it all the same, in epoch 1.

use dtls_session_peers::client::{Connection, EarlyData, InTranscript, Own, WolfSsl};
use dtls_session_peers::scene::{EARLY, Scene, x25519};

#[test]
fn trap_36_who_sends_end_of_early_data_is_served_and_disturbs_nobody() {
    let scene = Scene::new(&[]).unwrap();
    let (mut neighbour, _) = scene.connect::<WolfSsl>(&x25519(), None).unwrap();
    // Some count it in the transcript, as TLS does, and some do not.
    for in_transcript in [InTranscript::Yes, InTranscript::No] {
        let session = scene.session::<Own>(&x25519()).unwrap();
        let before = scene.deliveries().unwrap();
        let address = scene.proxy.address();
        let started = Connection::<Own>::start(address, &x25519(), Some(&session), &EARLY);
        let mut client = started.unwrap();
        client
            .stack()
            .send_end_of_early_data(in_transcript)
            .unwrap();

        let agreed = client.complete().unwrap();
        assert_eq!(agreed.early_data, EarlyData::Accepted);
        client.echo(b"afterwards").unwrap();
        assert_eq!(scene.deliveries().unwrap(), before.map(|count| count + 1));
        neighbour.echo(b"beside it").unwrap();

        // And its tickets are good.
        let session = client.session().unwrap();
        let (_, agreed) = scene.connect_early::<Own>(&x25519(), &session).unwrap();
        assert_eq!(agreed.early_data, EarlyData::Accepted);
        assert_eq!(scene.deliveries().unwrap(), before.map(|count| count + 2));
    }
}

#[test]
fn trap_36_end_of_early_data_without_a_finished_holds_nobody_up() {
    let scene = Scene::new(&[]).unwrap();
    let session = scene.session::<Own>(&x25519()).unwrap();
    let address = scene.proxy.address();
    let started = Connection::<Own>::start(address, &x25519(), Some(&session), &EARLY);
    let mut silent = started.unwrap();
    silent
        .stack()
        .send_end_of_early_data(InTranscript::No)
        .unwrap();
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
    // Its flight again does not help it, and others come and go meanwhile.
    let flight = scene.proxy.first_flight(scene.newest());
    scene.proxy.send_as(scene.newest(), &flight).unwrap();
    let session = scene.session::<WolfSsl>(&x25519()).unwrap();
    let (_, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
    assert_eq!(agreed.early_data, EarlyData::Accepted);
    assert_eq!(scene.deliveries().unwrap(), [2, 2]);
    silent.complete().unwrap();
}
