//! How many channels there should be, by how many were needed of late.

use std::time::{Duration, Instant};

/// The channels of an elastic pool. Which of them is the third does not matter: it is needed
/// while three are lent, and was last needed when three last were.
///
/// Invariant: from `least` to as many as there may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// When each was last needed, the first one first.
    needed: Vec<Instant>,
}

impl Demand {
    /// So many there should be.
    pub(super) fn wanted(&self) -> usize {
        self.needed.len()
    }

    /// There should be `more`, but no more than `most`.
    pub(super) fn grow(&mut self, more: usize, most: usize, now: Instant) {
        let wanted = (self.wanted() + more).min(most);
        if wanted > self.wanted() {
            self.needed.resize(wanted, now);
        }
    }

    /// There are from `least` to `most` from now on.
    pub(super) fn bound(&mut self, least: usize, most: usize, now: Instant) {
        self.needed.truncate(most);
        self.grow(least.saturating_sub(self.wanted()), most, now);
    }

    /// So many were needed until now.
    pub(super) fn was(&mut self, needed: usize, now: Instant) {
        let index = needed.min(self.wanted()).checked_sub(1);
        if let Some(last) = index.and_then(|index| self.needed.get_mut(index)) {
            *last = now;
        }
    }

    /// Gives up those that were not needed for so long, while `needed` are. True if there are
    /// any.
    pub(super) fn shrink(
        &mut self,
        needed: usize,
        least: usize,
        idle: Duration,
        now: Instant,
    ) -> bool {
        let before = self.wanted();
        let in_use = needed.min(before);
        self.needed[..in_use].fill(now);
        while self.due(needed.max(least), idle).is_some_and(|due| due <= now) {
            self.needed.pop();
        }
        self.wanted() < before
    }

    /// When to look whether the last one is given up. Not before it can be, and again if it is
    /// needed until then.
    pub(super) fn due(&self, least: usize, idle: Duration) -> Option<Instant> {
        self.needed.last().filter(|_| self.wanted() > least).map(|last| *last + idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn channels_are_given_up_one_after_the_other_in_the_order_in_which_they_were_needed() {
        let t0 = start();
        let mut demand = Demand::default();
        demand.bound(1, 4, t0);
        demand.grow(9, 4, t0);
        assert_eq!(demand.wanted(), 4);
        // Four are needed until 10, three until 20, two until 30, and one ever since.
        for (needed, at) in [(4, 10), (3, 20), (2, 30)] {
            demand.was(needed, t0 + ms(at));
        }
        assert!(!demand.shrink(1, 1, ms(100), t0 + ms(109)));
        assert_eq!(demand.due(1, ms(100)), Some(t0 + ms(110)));
        assert!(demand.shrink(1, 1, ms(100), t0 + ms(110)));
        assert_eq!(demand.wanted(), 3);
        assert!(demand.shrink(1, 1, ms(100), t0 + ms(130)));
        assert_eq!((demand.wanted(), demand.due(1, ms(100))), (1, None));
    }

    #[test]
    fn what_is_needed_and_the_least_stay() {
        let t0 = start();
        let mut demand = Demand::default();
        demand.bound(2, 5, t0);
        demand.grow(3, 5, t0);
        let later = t0 + ms(1_000_000);
        assert!(demand.shrink(4, 2, ms(1), later) && demand.wanted() == 4);
        assert!(!demand.shrink(0, 2, ms(1), later), "they were needed just now");
        let later = later + ms(1);
        assert!(demand.shrink(0, 2, ms(1), later) && demand.wanted() == 2);
        assert!(!demand.shrink(0, 2, ms(1), later + ms(1)));
    }

    #[test]
    fn other_bounds_hold_at_once() {
        let t0 = start();
        let mut demand = Demand::default();
        demand.bound(3, 5, t0);
        assert_eq!(demand.wanted(), 3);
        demand.bound(1, 2, t0);
        assert_eq!(demand.wanted(), 2);
        demand.bound(4, 9, t0);
        assert_eq!(demand.wanted(), 4);
        demand.was(99, t0 + ms(7));
        assert_eq!(demand.due(1, ms(0)), Some(t0 + ms(7)), "more than there are");
        demand.was(0, t0);
    }
}
