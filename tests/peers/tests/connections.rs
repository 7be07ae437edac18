//! What real clients do with a connection once they have it.

use dtls_session_peers::client::{BoringSsl, EarlyData, Settings, Stack, WolfSsl};
use dtls_session_peers::scene::{Scene, x25519};

/// More often than the two bits of an epoch in a record can tell apart.
const UPDATES: usize = 6;

fn update_keys<S: Stack>(scene: &Scene) {
    let (mut connection, _) = scene.connect::<S>(&x25519(), None).unwrap();
    connection.echo(b"with the first keys").unwrap();
    for _ in 0..UPDATES {
        connection.stack().update_keys().unwrap();
        connection.echo(b"with the next ones").unwrap();
        // And whatever of it comes late does no harm.
        connection.echo(b"and still").unwrap();
    }
    connection.close();
}

#[test]
fn clients_take_up_new_keys_and_have_the_gateway_do_so() {
    let scene = Scene::new(&[]).unwrap();
    update_keys::<WolfSsl>(&scene);
    update_keys::<BoringSsl>(&scene);
}

#[test]
fn a_client_with_a_connection_id_is_found_behind_a_nat_that_has_forgotten_it() {
    let scene = Scene::new(&[]).unwrap();
    let settings = Settings {
        connection_id: true,
        ..x25519()
    };
    let (mut connection, _) = scene.connect::<WolfSsl>(&settings, None).unwrap();
    assert!(connection.stack().uses_connection_ids());
    connection.echo(b"from here").unwrap();
    // Some of these ports are another worker's.
    for _ in 0..8 {
        scene.proxy.rebind(scene.newest()).unwrap();
        connection.echo(b"from there").unwrap();
    }
    assert_eq!(
        scene.gateway.metrics().unwrap()["gateway_associations"],
        1.0
    );

    // Early data, which goes without an ID, is delivered as ever.
    let session = connection.session().unwrap();
    connection.close();
    let resumed = scene.connect_early::<WolfSsl>(&settings, &session);
    let (mut connection, agreed) = resumed.unwrap();
    assert!(connection.stack().uses_connection_ids());
    assert_eq!(agreed.early_data, EarlyData::Accepted);
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
    scene.proxy.rebind(scene.newest()).unwrap();
    connection.echo(b"from elsewhere").unwrap();
}
