//! What one process hands over to the next: changed in any way it is refused and nothing is taken;
//! as it was it is taken once, and says what was used. Whoever has the key can write what he likes,
//! and still nothing breaks.
#![no_main]

use dtls_session::handover::{HandoverError, IDENTITY_LEN};
use dtls_session::schedule::{HashAlgorithm, HmacKey, hkdf};
use dtls_session_fuzz::common::Seen;
use dtls_session_fuzz::gateway::{LANES, Rules, World};
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    match script.one_of(4) {
        0 => written_with_the_key(&mut script, seed),
        _ => genuine(&mut script, seed),
    }
});

fn genuine(script: &mut Script<'_>, seed: u64) {
    let mut world = World::new(Rules::of(0), seed);
    let used = script.byte();
    for n in 0..8 {
        let ticket = world.issue(0, n, n).expect("it has serials");
        let flight = world.offer(ticket, 1200);
        if used >> n & 1 == 1 {
            world.judge(0, n, flight, 1);
        }
    }
    world.hand_over(0);
    world.start();
    let registers = world.registers()[0].clone();
    let mut changed = registers.clone();
    while !script.is_over() {
        match script.one_of(8) {
            0 => changed = script.rest().to_vec(),
            1 => {
                // Elsewhere, but for that the same.
                let taken = world.take_over_bytes(1, &registers, 1);
                assert_eq!(taken, Err(HandoverError::Copied));
            }
            2 => changed.extend(script.bytes()),
            _ => edit(script, &mut changed),
        }
        if changed != registers {
            let taken = world.take_over_bytes(1, &changed, 0);
            assert!(taken.is_err(), "changed, and taken over");
        }
    }
    // None of this has used up what is genuine.
    assert_eq!(world.take_over_bytes(1, &registers, 0), Ok(1));
    let again = world.take_over_bytes(1, &registers, 0);
    assert_eq!(again, Err(HandoverError::AlreadyTaken));
    for flight in 0..8 {
        let verdict = world.judge(1, flight % LANES, flight, 2);
        assert_eq!(verdict == Seen::Accept, used >> flight & 1 == 0);
    }
}

/// Authentic, and whatever the fuzzer says.
fn written_with_the_key(script: &mut Script<'_>, seed: u64) {
    let mut world = World::new(Rules::of(0), seed);
    let mut head = b"DSHO\0\0\0\x01".to_vec();
    head.extend(world.now().0.to_be_bytes());
    head.extend([0; IDENTITY_LEN]);
    let sections = 1 + script.one_of(2);
    head.extend((sections as u32).to_be_bytes());
    let mut registers = head.clone();
    for index in 0..sections {
        let mut section = derived::<8>(world.ticket_key(), b"key id").to_vec();
        section.extend(body(script));
        let key = HmacKey::new(
            HashAlgorithm::Sha256,
            &derived::<32>(world.ticket_key(), b"handed over registers"),
        );
        let mac = key.sign(&[&head, &(index as u32).to_be_bytes(), &section]);
        registers.extend((section.len() as u64).to_be_bytes());
        registers.extend(section);
        registers.extend(mac.as_bytes());
    }
    let taken = world.take_over_bytes(0, &registers, 0);
    assert_ne!(
        taken,
        Err(HandoverError::Forged),
        "this target signs wrongly"
    );
    let (used, limit) = world.engine(0).keys().register_bytes();
    assert!(used <= limit);
    // And on to the next.
    world.hand_over(0);
    world.start();
    let registers = world.registers()[0].clone();
    let taken = world.take_over_bytes(1, &registers, 0);
    assert!(
        taken == Ok(1) || taken == Err(HandoverError::TooLarge),
        "{taken:?}"
    );
}

/// What a section holds: any bytes, or the counts and words of issuers, lanes and chunks.
fn body(script: &mut Script<'_>) -> Vec<u8> {
    if script.byte() == 0 {
        return script.bytes().to_vec();
    }
    let count = |n: usize| (n as u32).to_be_bytes();
    let issuers = script.one_of(3);
    let mut body = count(issuers).to_vec();
    for _ in 0..issuers {
        body.extend(script.u64().to_be_bytes());
        let lanes = script.one_of(4);
        body.extend(count(lanes));
        for _ in 0..lanes {
            body.extend(script.u64().to_be_bytes());
            let chunks = script.one_of(4);
            body.extend(count(chunks));
            for _ in 0..chunks {
                body.extend(script.u32().to_be_bytes());
                let words = usize::from(script.u16()) % 2049;
                body.extend(count(words));
                body.extend([script.byte(); 8].repeat(words));
            }
        }
    }
    body
}

fn derived<const N: usize>(ticket_key: &[u8], purpose: &[u8]) -> [u8; N] {
    let info = [b"dtls-session v2 ", purpose].concat();
    let mut out = [0; N];
    hkdf::expand(HashAlgorithm::Sha256, ticket_key, &info, &mut out).expect("one block");
    out
}
