//! Which channel is lent, and to whom.

use std::time::Instant;

use super::{
    ChannelLoan, CheckoutWants, Duty, LentChannel, Lineup, LineupSettings, LineupSlot, Phase,
    SlotId,
};
use crate::client::balance::{self, Candidate};

/// A channel that may be lent.
#[derive(Clone, Debug)]
pub struct Free<C> {
    /// Its slot.
    pub slot: SlotId,
    /// The channel.
    pub channel: C,
    /// To how many it is lent.
    pub lent: usize,
    /// How often it was lent.
    pub served: u64,
    /// Since when it is connected.
    pub since: Instant,
}

impl<C: Clone, W> Lineup<C, W> {
    /// Lends a channel if one is free and nobody waits for it.
    pub fn spare(
        &mut self,
        wants: CheckoutWants,
        chance: u64,
        now: Instant,
    ) -> Option<LentChannel<C>> {
        let is_free = !self.closed && self.waiters.is_empty();
        is_free.then(|| self.lend(wants, chance, now)).flatten()
    }

    /// The channels that may be lent to somebody who wants this, those to an address to avoid
    /// only if there are no others.
    pub fn free(&self, wants: CheckoutWants) -> Vec<Free<C>> {
        let may = |slot: &&LineupSlot<C>| self.is_free(slot, wants);
        let is_other = |slot: &&LineupSlot<C>| Some(slot.address) != wants.avoid;
        let all = || self.slots.iter().filter(may);
        let free = |slot: &LineupSlot<C>| {
            let Phase::Ready { since } = slot.phase else { return None };
            let LineupSlot { id, lent, served, .. } = *slot;
            Some(Free { slot: id, channel: slot.channel.clone()?, lent, served, since })
        };
        let others: Vec<Free<C>> = all().filter(is_other).filter_map(free).collect();
        match others.is_empty() {
            true => all().filter_map(free).collect(),
            false => others,
        }
    }

    fn is_free(&self, slot: &LineupSlot<C>, wants: CheckoutWants) -> bool {
        let most = if wants.exclusive { 1 } else { self.settings.calls_per_channel };
        slot.may_be_lent() && !slot.alone && slot.lent < most
    }

    /// Lends a free channel, if there is one.
    pub(super) fn lend(
        &mut self,
        wants: CheckoutWants,
        chance: u64,
        now: Instant,
    ) -> Option<LentChannel<C>> {
        let free = |index: usize| {
            let LineupSlot { lent, address, .. } = self.slots[index];
            self.is_free(&self.slots[index], wants).then_some(Candidate { lent, address })
        };
        let LineupSettings { balance, .. } = self.settings;
        let count = self.slots.len();
        let preferred = wants.prefer.and_then(|slot| self.index(slot));
        let preferred = preferred.filter(|index| free(*index).is_some());
        let pick = || balance::pick(balance, count, free, self.turn, wants.avoid, chance);
        let index = preferred.or_else(pick)?;
        self.turn = index + 1;
        let slot = &mut self.slots[index];
        let channel = slot.channel.clone()?;
        if slot.lent == 0 {
            slot.loan = Some(ChannelLoan { since: now, by: wants.by });
        }
        slot.alone = wants.exclusive;
        slot.lent += 1;
        slot.served += 1;
        Some(LentChannel { slot: slot.id, address: slot.address, channel })
    }

    /// Lends what is free to those who wait, the oldest first.
    pub(super) fn serve(&mut self, duty: &mut Duty<C, W>, chance: u64, now: Instant) {
        while let Some(entry) = self.waiters.first_entry() {
            let wants = entry.get().wants;
            let Some(lent) = self.lend(wants, chance, now) else {
                return;
            };
            if let Some((_, waiter)) = self.waiters.pop_first() {
                duty.grants.push((waiter.who, lent));
            }
        }
    }
}
