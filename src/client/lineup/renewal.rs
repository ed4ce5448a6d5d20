//! Channels that are replaced: another one stands before the old one goes.

use std::time::Instant;

use super::{Duty, Lineup, LineupSlot, Phase, Reason};

impl<C: Clone, W> Lineup<C, W> {
    /// Replaces all channels, each as soon as another one stands.
    pub fn renew(&mut self, reason: Reason) -> Duty<C, W> {
        let mut duty = Duty::default();
        for index in (0..self.slots.len()).rev() {
            match self.slots[index].phase {
                Phase::Ready { .. } => self.slots[index].stale = Some(reason),
                Phase::Connecting { .. } => {
                    self.slots[index].phase = Phase::Draining(reason);
                    self.settle(index, &mut duty);
                }
                Phase::Draining(_) => {}
            }
        }
        duty
    }

    /// Replaces channels that are too old, one after the other. `chance` is any number: it
    /// makes an age up to a tenth shorter, so that channels made together do not go together.
    pub(super) fn outlive(&mut self, chance: u64, now: Instant) {
        let is_busy = self.closed || self.live() < self.wanted();
        if is_busy || self.slots.iter().any(|slot| slot.stale.is_some()) {
            return;
        }
        let Some(due) = self.age_due() else {
            return;
        };
        let oldest = self.slots.iter_mut().filter_map(|slot| Some((slot.stands()?, slot)));
        if let Some((_, slot)) = oldest.min_by_key(|(since, _)| *since).filter(|_| due <= now) {
            slot.stale = Some(Reason::Age);
            self.jitter = chance % 1024;
        }
    }

    /// When the oldest channel is too old.
    pub(super) fn age_due(&self) -> Option<Instant> {
        let age = self.settings.max_age.filter(|_| !self.closed)?;
        // The same until the next one goes, or the time would come and go.
        let earlier = age.mul_f64(0.1 * self.jitter as f64 / 1024.0);
        let fresh = self.slots.iter().filter(|slot| slot.stale.is_none());
        fresh.filter_map(LineupSlot::stands).min().map(|since| since + age.saturating_sub(earlier))
    }

    /// Lets stale channels go for which others stand, those that nobody has first.
    pub(super) fn retire(&mut self, duty: &mut Duty<C, W>) {
        let standing = self.slots.iter().filter(|slot| slot.stands().is_some()).count();
        let mut surplus = standing.saturating_sub(self.wanted());
        for lent in [false, true] {
            for index in (0..self.slots.len()).rev() {
                let slot = &mut self.slots[index];
                let (Some(reason), Some(_)) = (slot.stale, slot.stands()) else {
                    continue;
                };
                if surplus > 0 && (slot.lent > 0) == lent {
                    surplus -= 1;
                    slot.phase = Phase::Draining(reason);
                    self.settle(index, duty);
                }
            }
        }
    }
}

impl<C> LineupSlot<C> {
    /// Since when it stands.
    fn stands(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ready { since } => Some(since),
            Phase::Connecting { .. } | Phase::Draining(_) => None,
        }
    }
}
