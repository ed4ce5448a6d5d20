//! A loan beside the one that there is.

use super::{Lineup, SlotId};

impl<C: Clone, W> Lineup<C, W> {
    /// Lends a channel once more to whoever has it, whatever its limit is: for a call that may
    /// outlive the first loan. Comes back with [`give_back`](Lineup::give_back), too.
    pub fn share(&mut self, slot: SlotId) {
        if let Some(index) = self.index(slot) {
            self.slots[index].lent += 1;
        }
    }
}
