//! Any datagrams, in batches, from several peers and at any time, among those of genuine clients:
//! nothing is accepted that no client sent, nothing twice, and nothing grows.
#![no_main]

use dtls_session::BATCH_MAX;
use dtls_session_fuzz::common::peer;
use dtls_session_fuzz::gateway::{LANES, Rules, World};
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    let mut world = World::new(Rules::of(script.byte()), seed);
    let mut batch = Vec::new();
    // Each step is at least one byte, so that this ends.
    while !script.is_over() {
        let step = script.byte();
        let port = 1 + u16::from(step >> 6);
        let from = peer(1 + (step >> 5 & 1), port);
        match step % 16 {
            0..=2 => batch.push((from, script.bytes().to_vec())),
            3 | 4 => {
                world.admit(0, script.one_of(LANES), &batch);
                batch.clear();
            }
            5 => {
                world.issue(0, script.one_of(LANES), script.byte().into());
            }
            6 if world.tickets() > 0 => {
                let ticket = script.one_of(world.tickets());
                world.offer(ticket, script.u16().into());
            }
            7 | 8 => {
                // A genuine datagram, or what somebody made of it.
                let flights = world.flights();
                if let Some(flight) = flights.get(script.one_of(flights.len().max(1))) {
                    let mut datagram =
                        flight.datagrams[script.one_of(flight.datagrams.len())].clone();
                    if step % 16 == 8 {
                        edit(&mut script, &mut datagram);
                    }
                    batch.push((from, datagram));
                }
            }
            9 => {
                // The first datagram again, or two of a kind in one batch.
                if let Some((_, bytes)) = batch.last().cloned() {
                    batch.push((from, bytes));
                }
            }
            10 if !world.flights().is_empty() => {
                let flight = script.one_of(world.flights().len());
                world.retry(0, script.one_of(LANES), flight, from);
            }
            11 => world.pass(u64::from(script.u16())),
            12 => world.step_back(u64::from(script.u16())),
            13 => world.rotate(0),
            14 => world.maintain(0),
            _ => {
                // Early data may follow in the same datagram.
                let more = script.bytes();
                if let Some((_, bytes)) = batch.last_mut() {
                    bytes.extend(more);
                }
            }
        }
        if batch.len() == BATCH_MAX {
            world.admit(0, 0, &batch);
            batch.clear();
        }
    }
    world.admit(0, 0, &batch);
});
