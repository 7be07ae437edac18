//! Ticket bytes: what opens is a ticket that was sealed here, bit for bit, and holds what was
//! sealed.
#![no_main]

use dtls_session::EncryptedTicket;
use dtls_session::ticket::{OPAQUE_MAX, OpenError, Payload, Scratch, TICKET_MAX};
use dtls_session_fuzz::gateway::{LANES, Rules, World};
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    let mut world = World::new(Rules::of(0), seed);
    // A session's ticket, and a host's own.
    let hello = script.byte();
    let session = world.issue(0, hello.into(), hello.into()).map(|ticket| {
        let flight = world.offer(ticket, 9000);
        world.flights()[flight].ticket_bytes().to_vec()
    });
    let session = session.expect("it has serials");
    let payload = script.bytes();
    let payload = &payload[..payload.len().min(OPAQUE_MAX)];
    let lifetime = 1 + script.u32() % 40;
    let (now, mut opaque) = (world.now(), [0; TICKET_MAX]);
    let reader = world.engine(0).keys().reader();
    let keys = reader.snapshot();
    let lane = (hello as usize % LANES) as u8;
    let (len, remembered) = keys
        .seal_opaque(lane, payload, lifetime, now, &mut opaque)
        .expect("it fits");
    let opaque = &opaque[..len];
    assert!(remembered);

    let mut scratch = Scratch::new();
    let mut open = |bytes: &[u8]| -> Result<bool, OpenError> {
        let ticket = EncryptedTicket::parse(bytes)?;
        let _ = (ticket.key_id(), ticket.issuer());
        let opened = ticket.open(&keys, &mut scratch)?;
        assert!(opened.is_home());
        let is_session = match opened.payload().expect("of this version") {
            Payload::Session(_) => true,
            Payload::Opaque {
                bytes,
                issued,
                lifetime: seconds,
            } => {
                assert_eq!((bytes, issued, seconds), (payload, now, lifetime));
                false
            }
        };
        assert_eq!(bytes, if is_session { &session[..] } else { opaque });
        Ok(is_session)
    };
    assert_eq!(open(&session), Ok(true));
    assert_eq!(open(opaque), Ok(false));

    let mut changed = [session.clone(), opaque.to_vec()][script.one_of(2)].clone();
    while !script.is_over() {
        match script.one_of(4) {
            0 => changed = script.rest().to_vec(),
            1 => {
                // The head of one and the body of the other.
                let at = script.place(40).min(changed.len());
                let other = if changed.len() == len {
                    &session[..]
                } else {
                    opaque
                };
                changed.truncate(at);
                changed.extend(other.iter().skip(at));
            }
            _ => edit(&mut script, &mut changed),
        }
        let _ = open(&changed);
    }
    // What did not open has disturbed nothing.
    assert_eq!(open(&session), Ok(true));
});
