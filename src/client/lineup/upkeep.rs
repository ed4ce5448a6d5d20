//! What becomes of channels: dialled, connected, lost, failed.

use std::collections::BTreeMap;
use std::time::Instant;

use super::check::Check;
use super::{
    CheckoutRefusal, Duty, Lineup, LineupSettings, LineupSlot, Phase, Place, Reason, SlotId,
};
use crate::client::spread;

/// What a channel was seen to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelSeen {
    /// Connected.
    Ready,
    /// Not connected any more.
    Lost,
    /// It could not be connected, for this reason.
    Failed(String),
}

impl<C: Clone, W> Lineup<C, W> {
    /// The channels to dial now: their slots, and the address of each. What is dialled goes to
    /// [`dialled`](Self::dialled).
    ///
    /// An address that answers is dialled for all that is missing, one that is down by one
    /// connection at a time, the scout, when its pause is over.
    pub fn dials(&mut self, now: Instant) -> Vec<(SlotId, usize)> {
        let missing = match self.closed {
            true => 0,
            false => self.wanted().saturating_sub(self.live()),
        };
        let mut dials = Vec::new();
        for left in (1..=missing).rev() {
            let (numbers, stands) = self.stands(now);
            let Some(address) = spread::place(&stands, left).map(|index| numbers[index]) else {
                break;
            };
            self.next_slot += 1;
            let id = SlotId(self.next_slot);
            let phase = Phase::Connecting { until: now + self.settings.connect_timeout };
            self.slots.push(LineupSlot {
                id,
                address,
                channel: None,
                phase,
                lent: 0,
                alone: false,
                served: 0,
                loan: None,
                check: Check::new(now),
                stale: None,
            });
            dials.push((id, address));
        }
        dials
    }

    /// The channel that was made for a slot. Returns it if the slot is gone meanwhile.
    #[must_use]
    pub fn dialled(&mut self, slot: SlotId, channel: C) -> Option<C> {
        match self.index(slot) {
            Some(index) => self.slots[index].channel.replace(channel),
            None => Some(channel),
        }
    }

    /// Takes in what a channel was seen to be. True if that was news.
    pub fn seen(
        &mut self,
        slot: SlotId,
        seen: ChannelSeen,
        chance: u64,
        now: Instant,
    ) -> (bool, Duty<C, W>) {
        let mut duty = Duty::default();
        let Some(index) = self.index(slot) else {
            return (false, duty);
        };
        let LineupSlot { phase, address, .. } = &self.slots[index];
        let (phase, address) = (*phase, *address);
        match (phase, seen) {
            (Phase::Connecting { .. }, ChannelSeen::Ready) => {
                duty.back = !self.is_connected(address);
                self.slots[index].phase = Phase::Ready { since: now };
                self.slots[index].check = Check::new(now);
                if let Some(place) = self.place_mut(address) {
                    duty.back |= place.connected(now);
                    if place.refuses() {
                        self.slots[index].check.refuse(now);
                    }
                }
                self.retire(&mut duty);
                self.serve(&mut duty, chance, now);
            }
            (Phase::Ready { since }, ChannelSeen::Lost) => {
                let stood = now.saturating_duration_since(since);
                let LineupSettings { pauses, connect_timeout, .. } = self.settings;
                if let Some(place) = self.place_mut(address) {
                    place.lost();
                }
                if self.slots[index].stale.is_some() {
                    self.slots[index].phase = Phase::Draining(Reason::Lost);
                    self.settle(index, &mut duty);
                } else if stood < pauses.min {
                    // A server that accepts and closes would be dialled without a pause.
                    let error = format!("closed by the server after {} ms", stood.as_millis());
                    self.fail(index, error, chance, now, &mut duty);
                } else {
                    self.slots[index].phase = Phase::Connecting { until: now + connect_timeout };
                }
            }
            (Phase::Connecting { .. } | Phase::Ready { .. }, ChannelSeen::Failed(error)) => {
                self.fail(index, error, chance, now, &mut duty);
            }
            (Phase::Ready { .. }, ChannelSeen::Ready)
            | (Phase::Connecting { .. }, ChannelSeen::Lost)
            | (Phase::Draining(_), _) => return (false, duty),
        }
        self.despair(&mut duty, now);
        (true, duty)
    }

    /// Ends attempts that take too long, and lets one channel move to an address that has fewer.
    pub fn tend(&mut self, chance: u64, now: Instant) -> Duty<C, W> {
        let mut duty = Duty::default();
        for index in (0..self.slots.len()).rev() {
            let Phase::Connecting { until } = self.slots[index].phase else {
                continue;
            };
            if until <= now {
                let limit = self.settings.connect_timeout.as_secs_f64();
                let error = format!("no connection within {limit} s");
                self.fail(index, error, chance, now, &mut duty);
            }
        }
        self.shrink(&mut duty, now);
        self.outlive(chance, now);
        self.retire(&mut duty);
        self.level(now, &mut duty);
        self.forget();
        self.despair(&mut duty, now);
        duty
    }

    /// When [`tend`](Self::tend) or [`dials`](Self::dials) has something to do next.
    pub fn due(&self) -> Option<Instant> {
        let attempts = self.slots.iter().filter_map(|slot| match slot.phase {
            Phase::Connecting { until } => Some(until),
            Phase::Ready { .. } | Phase::Draining(_) => None,
        });
        let is_missing = !self.closed && self.live() < self.wanted();
        // A scout that is out is waited for.
        let scouts = self.playing().into_iter().filter(|place| {
            is_missing && place.down().is_some() && !self.is_scouted(place.number())
        });
        let own = [self.probe_due(), self.age_due(), self.shrink_due(), self.restore_due()];
        attempts.chain(scouts.map(Place::due)).chain(own.into_iter().flatten()).min()
    }

    /// Whether a channel is being connected.
    pub fn is_connecting(&self, slot: SlotId) -> bool {
        let phase = self.index(slot).map(|index| self.slots[index].phase);
        matches!(phase, Some(Phase::Connecting { .. }))
    }

    /// A connection to this address stands.
    fn is_connected(&self, address: usize) -> bool {
        let here = |slot: &&LineupSlot<C>| slot.address == address;
        let mut here = self.slots.iter().filter(here);
        here.any(|slot| matches!(slot.phase, Phase::Ready { .. }))
    }

    fn is_scouted(&self, address: usize) -> bool {
        let here = |slot: &&LineupSlot<C>| slot.address == address;
        let mut here = self.slots.iter().filter(here);
        here.any(|slot| matches!(slot.phase, Phase::Connecting { .. }))
    }

    fn fail(
        &mut self,
        index: usize,
        error: String,
        chance: u64,
        now: Instant,
        duty: &mut Duty<C, W>,
    ) {
        let (address, pauses) = (self.slots[index].address, self.settings.pauses);
        if let Some(place) = self.place_mut(address) {
            place.failed(error, pauses, chance, now);
        }
        self.slots[index].phase = Phase::Draining(Reason::Lost);
        self.settle(index, duty);
    }

    /// Refuses waiters that no connection can serve.
    pub(super) fn despair(&mut self, duty: &mut Duty<C, W>, now: Instant) {
        if self.waiters.is_empty() {
            return;
        }
        let Some(down) = self.hopeless(now) else {
            return;
        };
        for (ticket, waiter) in std::mem::take(&mut self.waiters) {
            if waiter.wants.wait_for_ready {
                self.waiters.insert(ticket, waiter);
            } else {
                duty.refused.push((waiter.who, CheckoutRefusal::NotConnected(down.clone())));
            }
        }
    }

    /// Lets an idle channel go whose address has two more than another that answers.
    fn level(&mut self, now: Instant, duty: &mut Duty<C, W>) {
        if self.closed || self.live() < self.wanted() {
            return;
        }
        let (numbers, stands) = self.stands(now);
        let Some(from) = spread::surplus(&stands).map(|index| numbers[index]) else {
            return;
        };
        let is_idle = |slot: &LineupSlot<C>| {
            slot.address == from && slot.lent == 0 && matches!(slot.phase, Phase::Ready { .. })
        };
        if let Some(index) = self.slots.iter().position(is_idle) {
            self.slots[index].phase = Phase::Draining(Reason::Moved);
            self.settle(index, duty);
        }
    }

    /// The addresses that are used, by their numbers, and how they stand.
    fn stands(&self, now: Instant) -> (Vec<usize>, Vec<spread::Stand>) {
        let mut found = BTreeMap::new();
        for slot in self.slots.iter().filter(|slot| slot.stale.is_none()) {
            let (ready, connecting): &mut (usize, usize) = found.entry(slot.address).or_default();
            match slot.phase {
                Phase::Ready { .. } => *ready += 1,
                Phase::Connecting { .. } => *connecting += 1,
                Phase::Draining(_) => {}
            }
        }
        let stand = |place: &Place| {
            let (ready, connecting) = found.get(&place.number()).copied().unwrap_or_default();
            let (is_down, is_due) = (place.down().is_some(), place.due() <= now);
            spread::Stand { ready, connecting, is_down, is_due }
        };
        self.playing().into_iter().map(|place| (place.number(), stand(place))).unzip()
    }
}
