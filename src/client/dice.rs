//! Numbers by chance, for choices that need no secrecy.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws numbers: SplitMix64 from a seed of its own.
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new() -> Dice {
        // The standard library seeds its hashers by chance.
        Dice(AtomicU64::new(RandomState::new().build_hasher().finish()))
    }

    pub(super) fn roll(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_two_draw_others() {
        let (one, other) = (Dice::new(), Dice::new());
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[(one.roll() % 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_ne!(one.roll(), other.roll());
    }
}
