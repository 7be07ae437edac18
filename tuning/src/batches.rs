//! What the size of a batch does.

use crate::common::admission::{Gateway, ROUND};
use crate::common::contest::{Contestant, race};

/// What a batch of this size is nearly as good as: within so much of the best.
const NEARLY: f64 = 1.03;

/// Nanoseconds for a flight in batches of 1 to 64.
pub(crate) fn run(rounds: usize) -> Vec<(usize, f64)> {
    let sizes: Vec<usize> = (0..=6).map(|power| 1 << power).collect();
    let mut contestants: Vec<_> = sizes.iter().map(|size| contestant(*size)).collect();
    let laps = race(&mut contestants, rounds);
    sizes
        .into_iter()
        .zip(laps.iter().map(|lap| lap.ns))
        .collect()
}

/// The smallest batch that costs no more than the best by much: larger ones let the first of their
/// flights wait for longer.
pub(crate) fn sufficient(batches: &[(usize, f64)]) -> usize {
    let best = batches
        .iter()
        .map(|(_, ns)| *ns)
        .fold(f64::INFINITY, f64::min);
    let enough = batches.iter().find(|(_, ns)| *ns <= best * NEARLY);
    enough.map_or(32, |(size, _)| *size)
}

fn contestant(size: usize) -> Contestant {
    let mut gateway = Gateway::new(0, ROUND);
    Contestant::new("a batch", ROUND, move || gateway.round(size))
}

#[cfg(test)]
mod tests {
    use super::sufficient;

    #[test]
    fn the_smallest_batch_that_is_nearly_the_best_is_sufficient() {
        let batches = [
            (1, 900.0),
            (8, 700.0),
            (16, 515.0),
            (32, 500.0),
            (64, 501.0),
        ];
        assert_eq!(sufficient(&batches), 16);
    }
}
