//! A network that loses, doubles and delays a fifth of all datagrams each, and clients that send
//! again what is not answered: every handshake is completed, and early data comes once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::client::{Client, Profile};
use super::{Seen, World, settings};

/// What fate has for the datagrams to come, and those that are on their way, by the time at which
/// they arrive.
struct Network {
    fate: u64,
    to_server: BTreeMap<(u64, u64), Vec<u8>>,
    to_client: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
}

impl Network {
    fn new(seed: u64) -> Self {
        Self {
            fate: seed,
            to_server: BTreeMap::new(),
            to_client: BTreeMap::new(),
            sent: 0,
        }
    }

    /// One in five.
    fn strikes(&mut self) -> bool {
        // SplitMix64.
        self.fate = self.fate.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.fate ^ (self.fate >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).is_multiple_of(5)
    }

    fn send(&mut self, is_up: bool, now: u64, datagram: &[u8]) {
        if self.strikes() {
            return;
        }
        for _ in 0..=u8::from(self.strikes()) {
            let delay = if self.strikes() { 300 } else { 10 };
            self.sent += 1;
            let way = if is_up {
                &mut self.to_server
            } else {
                &mut self.to_client
            };
            way.insert((now + delay, self.sent), datagram.to_vec());
        }
    }
}

/// Lets a client connect, as clients do: what is not answered is sent again, each time after twice
/// as long, up to 4 s. Returns when both know of the other's Finished.
fn connect(world: &mut World, client: &mut Client, early: &[&[u8]], network: &mut Network) {
    let begun = world.now.0;
    let mut hello = client.hello(early);
    let mut is_second = false;
    let mut is_finished = false;
    let (mut due, mut wait) = (begun, 500);
    while client.acknowledged.is_empty() {
        let now = world.now.0;
        assert!(now - begun < 120_000, "not connected: {:?}", client.alerts);
        if client.retry_request.is_some() && !is_second {
            is_second = true;
            hello = client.hello(&[]);
            (due, wait) = (now, 500);
        }
        if client.is_complete && !is_finished {
            is_finished = true;
            (due, wait) = (now, 500);
        }
        if due <= now {
            let flight = if is_finished {
                vec![client.finished(1)]
            } else {
                hello.clone()
            };
            flight
                .iter()
                .for_each(|datagram| network.send(true, now, datagram));
            (due, wait) = (now + wait, (wait * 2).min(4_000));
        }
        for (_, datagram) in world.pass(Duration::from_millis(10)) {
            network.send(false, world.now.0, &datagram);
        }
        let now = world.now.0;
        while let Some(entry) = network.to_server.first_entry().filter(|e| e.key().0 <= now) {
            for answer in world.send(client.address, &[entry.remove()]) {
                network.send(false, now, &answer);
            }
        }
        while let Some(entry) = network.to_client.first_entry().filter(|e| e.key().0 <= now) {
            client.receive(&entry.remove(), world.now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_handshake_is_completed_and_early_data_comes_at_most_once(
        seed in any::<u64>(), mtu in prop_oneof![Just(1200_usize), Just(300)],
    ) {
        let mut settings = settings();
        settings.mtu = mtu;
        settings.handshake_timeout = Duration::from_secs(120);
        let mut world = World::with(settings);
        let mut network = Network::new(seed);
        let mut first = Client::new(1, Profile { max_datagram_len: mtu, ..Profile::default() });
        connect(&mut world, &mut first, &[], &mut network);
        prop_assert!(world.seen.contains(&Seen::Established(1, false)));
        // Its tickets come in the end, since they are sent until they are acknowledged, as long as
        // it shows that it is there.
        while first.later.is_empty() {
            let passed = world.pass(Duration::from_secs(60)).into_iter();
            let data = first.data(b"here");
            let answers = world.send(first.address, &[data]);
            for datagram in passed.map(|(_, datagram)| datagram).chain(answers) {
                if !network.strikes() {
                    first.receive(&datagram, world.now);
                }
            }
        }
        let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
        network = Network::new(seed ^ 1);
        connect(&mut world, &mut second, &[b"one", b"two"], &mut network);
        prop_assert!(second.resumed);
        let early = world.early_data();
        for data in [&b"one"[..], b"two"] {
            prop_assert!(early.iter().filter(|early| **early == data).count() <= 1);
        }
        prop_assert!(world.seen.contains(&Seen::Established(2, true)));
    }
}
