//! Numbers by chance, for choices that need no secrecy.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

thread_local! {
    /// Each thread has its own, because a counter that all of them advance would hold up those
    /// who check out. The standard library seeds its hashers by chance.
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Draws numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice;

impl Dice {
    pub(super) fn new() -> Dice {
        Dice
    }

    /// Any number: SplitMix64.
    pub(super) fn roll(self) -> u64 {
        let mut z = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        STATE.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_another_thread_draws_others() {
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[(Dice::new().roll() % 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let (sender, other) = std::sync::mpsc::channel();
        let drawing = crate::threads::spawn("test", move || {
            sender.send(Dice::new().roll()).unwrap();
        });
        drawing.unwrap().join().unwrap();
        assert_ne!(Dice::new().roll(), other.recv().unwrap());
    }
}
