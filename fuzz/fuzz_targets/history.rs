//! A history of gateways that share a key, with clocks that step, keys that rotate, restarts warm
//! and cold, and everything offered again: no flight is accepted twice, and those that deserve
//! 0-RTT get it.
#![no_main]

use dtls_session::client::Framing;
use dtls_session_fuzz::common::peer;
use dtls_session_fuzz::gateway::{LANES, Rules, World};
use dtls_session_fuzz::hello::rewrite;
use dtls_session_fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

/// Enough for all that can meet.
const STEPS_MAX: usize = 200;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    let mut world = World::new(Rules::of(script.byte()), seed);
    // No two verdicts come from one port, or some were those on a retransmission.
    let mut port = 100;
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let step = script.byte();
        let process = usize::from(step >> 6) % world.processes();
        let lane = usize::from(step >> 5 & 1);
        let flights = world.flights().len();
        port += 1;
        match step % 16 {
            kind @ 0..=2 => {
                if let Some(ticket) = world.issue(process, lane, script.byte().into()) {
                    world.pass(script.byte().into());
                    let flight = world.offer(ticket, 1200);
                    // Or it is still on its way.
                    if kind > 0 {
                        world.judge(process, lane, flight, port);
                    }
                }
            }
            // A ticket that is used again.
            3 if world.tickets() > 0 => {
                let ticket = script.one_of(world.tickets());
                let flight = world.offer(ticket, 200);
                world.judge(process, lane, flight, port);
            }
            4..=6 if flights > 0 => {
                let flight = script.one_of(flights);
                world.judge(process, lane, flight, port);
            }
            7 if flights > 0 => {
                // Everything at once, in one batch, from everywhere.
                let all = world.flights().iter().rev().take(20);
                let hellos = all.flat_map(|f| f.datagrams.iter().take(1));
                let batch: Vec<_> = (hellos.clone().chain(hellos))
                    .zip(1_000..)
                    .map(|(datagram, port)| (peer(1, port), datagram.clone()))
                    .collect();
                world.admit(process, lane, &batch);
            }
            8 if flights > 0 => {
                let mut body = world.flights()[script.one_of(flights)].body.clone();
                rewrite(&mut script, &mut body);
                let datagrams = Framing::default().datagrams(&body).unwrap_or_default();
                let batch: Vec<_> = datagrams.into_iter().map(|d| (peer(1, port), d)).collect();
                world.admit(process, lane, &batch);
            }
            9 => world.pass(u64::from(script.u16())),
            10 => world.step_back(u64::from(script.u16())),
            11 => world.rotate(process),
            12 => world.maintain(process),
            13 => world.start(),
            14 => world.hand_over(process),
            15 => {
                let registers = script.one_of(world.registers().len().max(1));
                world.take_over(process, registers);
            }
            _ => {}
        }
    }
    // In the end everything is offered once more, everywhere.
    for process in 0..world.processes() {
        for flight in 0..world.flights().len() {
            world.judge(process, flight % LANES, flight, 99);
        }
    }
});
