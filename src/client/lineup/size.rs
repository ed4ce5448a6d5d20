//! How many channels there are.

use std::time::Instant;

use super::{Duty, Lineup, Phase, Reason};

impl<C: Clone, W> Lineup<C, W> {
    /// Changes how many channels there should be. Those that nobody has go first.
    pub fn resize(&mut self, size: usize, now: Instant) -> Duty<C, W> {
        let mut duty = Duty::default();
        self.settings.size = size;
        let mut surplus = self.live().saturating_sub(size);
        for lent in [false, true] {
            for index in (0..self.slots.len()).rev() {
                let slot = &mut self.slots[index];
                let stays = slot.stale.is_none() && !matches!(slot.phase, Phase::Draining(_));
                let counts = stays && (slot.lent > 0) == lent;
                if surplus > 0 && counts {
                    surplus -= 1;
                    slot.phase = Phase::Draining(Reason::Resize);
                    self.settle(index, &mut duty);
                }
            }
        }
        self.despair(&mut duty, now);
        duty
    }
}
