//! Takes the hot path once, so that `.ci/instructions` can count what that needs.
//!
//!     hot-path            prints what there is to be counted
//!     hot-path NAME       does it, and prints how often
//!
//! Each of them ends at another stage: a few instructions more in one would be lost among the
//! thousands of the next.

// What it does is what the benches measure.
#[allow(dead_code)]
#[path = "../../benches/common/mod.rs"]
mod common;

use common::admission::{BATCH, Gateway, ROUND, reject};
use common::contest::{Contestant, Entrant, time};
use common::flights::Flight;
use common::replay::Opened;
use common::tickets;

/// A name, and what does it so many times: everything within [`common::contest::time`] counts.
type Counted = (&'static str, fn() -> u32);

const COUNTED: [Counted; 8] = [
    ("open", || once(tickets::open_native().swap_remove(1))),
    ("seal", || once(tickets::seal_opaque().swap_remove(0))),
    ("issue", || once(tickets::issue().swap_remove(0))),
    ("strike", || {
        Opened::of(&Gateway::new(1 << 13, 2 * ROUND), |opened| {
            once(opened.strikes())
        })
    }),
    ("unknown_key", || once(reject().swap_remove(1))),
    ("forged_ticket", || once(reject().swap_remove(2))),
    ("bad_binder", || once(reject().swap_remove(3))),
    ("admit", || once(admit())),
];

fn once(mut contestant: Entrant<'_>) -> u32 {
    contestant.round();
    contestant.ops
}

/// Fewer than elsewhere: under callgrind the clients take so long that the flights of a whole round
/// would be late.
fn admit() -> Contestant {
    const FLIGHTS: usize = 2 * BATCH;
    let mut gateway = Gateway::new(0, FLIGHTS);
    Contestant::new("admit", FLIGHTS, move || {
        let flights = gateway.flights(FLIGHTS);
        let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
        let mut accepted = 0;
        let took = time(|| accepted = gateway.admit(&datagrams));
        assert_eq!(accepted, FLIGHTS);
        took
    })
}

fn main() -> Result<(), String> {
    let Some(wanted) = std::env::args().nth(1) else {
        COUNTED.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    let found = COUNTED.iter().find(|(name, _)| *name == wanted);
    let (_, count) = found.ok_or(format!("nothing is called {wanted}"))?;
    println!("{}", count());
    Ok(())
}
