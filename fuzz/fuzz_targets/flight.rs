//! A genuine flight, changed by one who knows what is in it: it is not accepted unless it still is
//! the same ClientHello, it uses nothing up, and the genuine one still gets its 0-RTT (trap 1).
#![no_main]

use dtls_session::client::Framing;
use dtls_session_fuzz::common::{Seen, peer};
use dtls_session_fuzz::gateway::{Rules, World};
use dtls_session_fuzz::hello::rewrite;
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    // Single use: whether the genuine flight deserves its 0-RTT is then known for sure.
    let mut world = World::new(Rules::of(script.byte() & 8), seed);
    let ticket = world.issue(0, 0, script.byte().into());
    let ticket = ticket.expect("it has serials");
    world.pass(100);
    let genuine = world.offer(ticket, 1200);
    let flight = &world.flights()[genuine];
    let mut body = flight.body.clone();
    let mut datagrams = flight.datagrams.clone();
    let early = datagrams.last().cloned().unwrap_or_default();
    let mut framing = Framing::default();
    while !script.is_over() {
        match script.one_of(10) {
            0 => edit(&mut script, &mut body),
            1..=3 => rewrite(&mut script, &mut body),
            4 => {
                framing = Framing {
                    message_seq: script.byte().into(),
                    sequence_number: script.byte().into(),
                    max_datagram_len: 26 + usize::from(script.u16() % 1400),
                }
            }
            5 => {
                // What was done to the body goes into datagrams.
                datagrams = framing.datagrams(&body).unwrap_or_default();
                datagrams.truncate(40);
                datagrams.push(early.clone());
            }
            6 => {
                let at = script.one_of(datagrams.len().max(1));
                if let Some(datagram) = datagrams.get_mut(at) {
                    edit(&mut script, datagram);
                }
            }
            7 => {
                let [a, b] = [script.byte(), script.byte()].map(usize::from);
                if !datagrams.is_empty() {
                    let len = datagrams.len();
                    datagrams.swap(a % len, b % len);
                }
            }
            8 => {
                // Two records in one datagram.
                if let Some(last) = datagrams.pop()
                    && let Some(before) = datagrams.last_mut()
                {
                    before.extend(last);
                }
            }
            _ => {
                let batch: Vec<_> = datagrams.iter().map(|d| (peer(1, 1), d.clone())).collect();
                world.admit(0, 0, &batch);
                world.pass(1);
            }
        }
    }
    let batch: Vec<_> = datagrams.iter().map(|d| (peer(1, 1), d.clone())).collect();
    world.admit(0, 0, &batch);
    let verdict = world.judge(0, 1, genuine, 2);
    assert!(
        verdict == Seen::Accept || World::is_spent(verdict),
        "{verdict:?}"
    );
    assert!(World::is_spent(world.judge(0, 0, genuine, 3)));
});
