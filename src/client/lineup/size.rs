//! How many channels there are.

use std::cmp::Reverse;
use std::time::Instant;

use super::{Duty, Lineup, LineupSettings, LineupSlot, Phase, Reason};

impl<C: Clone, W> Lineup<C, W> {
    /// Goes on by other numbers.
    pub fn adjust(&mut self, settings: LineupSettings, chance: u64, now: Instant) -> Duty<C, W> {
        self.settings = settings;
        let mut duty = self.resize(settings.size, now);
        // More may be lent than before.
        self.serve(&mut duty, chance, now);
        duty
    }

    /// Changes how many channels there may be. Those that nobody has go first.
    pub fn resize(&mut self, size: usize, now: Instant) -> Duty<C, W> {
        let mut duty = Duty::default();
        self.settings.size = size;
        self.demand.bound(self.least(), size, now);
        self.shed(Reason::Resize, &mut duty);
        self.despair(&mut duty, now);
        duty
    }

    /// How many channels there are at least.
    pub(super) fn least(&self) -> usize {
        let LineupSettings { size, least, .. } = self.settings;
        least.map_or(size, |least| least.min(size))
    }

    /// How many channels there should be at the moment.
    pub fn wanted(&self) -> usize {
        self.demand.wanted()
    }

    /// How many channels are needed for what is lent.
    fn needed(&self) -> usize {
        let alone = self.slots.iter().filter(|slot| slot.alone).count();
        let shared = self.lent().saturating_sub(alone);
        alone + shared.div_ceil(self.settings.calls_per_channel)
    }

    /// Whether there may be another number of channels.
    fn is_elastic(&self) -> bool {
        self.least() < self.settings.size
    }

    /// Has channels for those who wait, if there may be more.
    pub(super) fn grow(&mut self, now: Instant) {
        if !self.is_elastic() || self.hopeless(now).is_some() {
            return;
        }
        let is_coming = |slot: &&LineupSlot<C>| matches!(slot.phase, Phase::Connecting { .. });
        let begun = self.slots.iter().filter(is_coming).count();
        let coming = begun + self.wanted().saturating_sub(self.live());
        let short = self.awaited().saturating_sub(coming);
        self.demand.grow(short, self.settings.size, now);
    }

    /// How many channels those need who wait.
    fn awaited(&self) -> usize {
        let alone = self.waiters.values().filter(|waiter| waiter.wants.exclusive).count();
        let shared = self.waiters.len() - alone;
        alone + shared.div_ceil(self.settings.calls_per_channel)
    }

    /// A loan has ended; before, so many channels were `needed`.
    pub(super) fn ended(&mut self, needed: Option<usize>, now: Instant) {
        if let Some(needed) = needed.filter(|needed| *needed > self.needed()) {
            self.demand.was(needed, now);
        }
    }

    /// How many channels are needed, if that matters.
    pub(super) fn load(&self) -> Option<usize> {
        self.is_elastic().then(|| self.needed())
    }

    /// Lets channels go that were not needed for long. One that is awaited is needed, although
    /// it takes longer to connect than others may be idle.
    pub(super) fn shrink(&mut self, duty: &mut Duty<C, W>, now: Instant) {
        let Some(lent) = self.load().filter(|_| !self.closed) else {
            return;
        };
        let needed = lent + self.awaited();
        let (least, idle) = (self.least(), self.settings.idle);
        if self.demand.shrink(needed, least, idle, now) {
            self.shed(Reason::Idle, duty);
        }
    }

    /// When [`shrink`](Self::shrink) has something to do.
    pub(super) fn shrink_due(&self) -> Option<Instant> {
        self.load().filter(|_| !self.closed)?;
        self.demand.due(self.least(), self.settings.idle)
    }

    /// Lets channels go of which there are too many, those with the fewest loans first.
    fn shed(&mut self, reason: Reason, duty: &mut Duty<C, W>) {
        let surplus = self.live().saturating_sub(self.wanted());
        let stays = |slot: &LineupSlot<C>| {
            slot.stale.is_none() && !matches!(slot.phase, Phase::Draining(_))
        };
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| stays(slot));
        let mut order: Vec<usize> = slots.map(|(index, _)| index).collect();
        order.sort_by_key(|index| (self.slots[*index].lent, Reverse(*index)));
        order.truncate(surplus);
        // From the end, because those that nobody has leave their places.
        order.sort_unstable_by_key(|index| Reverse(*index));
        for index in order {
            self.slots[index].phase = Phase::Draining(reason);
            self.settle(index, duty);
        }
    }
}
