//! The lineup, as it may be shown.

use std::time::Instant;

use super::{ChannelLoan, Down, Lineup, LineupSlot, Phase, Place, SlotId};

/// A channel as it may be shown.
#[derive(Clone, Debug)]
pub struct ChannelView<C> {
    /// Its slot.
    pub slot: SlotId,
    /// Its address, counted from 0.
    pub address: usize,
    /// The channel, once it is made.
    pub channel: Option<C>,
    /// `connecting`, `ready`, `lent`, `sick` or `draining`.
    pub state: &'static str,
    /// To how many it is lent.
    pub lent: usize,
    /// How often it was lent.
    pub served: u64,
    /// Since when it is connected.
    pub since: Option<Instant>,
    /// Since when it is being connected.
    pub begun: Option<Instant>,
    /// While it is lent: the loan that began when nobody else had it.
    pub loan: Option<ChannelLoan>,
    /// While it stands and nobody has it: when it was last used or probed.
    pub heard: Option<Instant>,
    /// Probes in a row that were not answered.
    pub silent: u32,
}

impl<C: Clone, W> Lineup<C, W> {
    /// All channels, as they are.
    pub fn views(&self) -> Vec<ChannelView<C>> {
        let view = |slot: &LineupSlot<C>| ChannelView {
            slot: slot.id,
            address: slot.address,
            channel: slot.channel.clone(),
            state: match slot.phase {
                Phase::Connecting { .. } => "connecting",
                Phase::Ready { .. } if slot.sick().is_some() => "sick",
                Phase::Ready { .. } if slot.lent > 0 => "lent",
                Phase::Ready { .. } => "ready",
                Phase::Draining(_) => "draining",
            },
            lent: slot.lent,
            served: slot.served,
            heard: slot.heard(),
            silent: slot.silent(),
            loan: slot.loan.filter(|_| slot.lent > 0),
            since: match slot.phase {
                Phase::Ready { since } => Some(since),
                Phase::Connecting { .. } | Phase::Draining(_) => None,
            },
            begun: match slot.phase {
                Phase::Connecting { until } => until.checked_sub(self.settings.connect_timeout),
                Phase::Ready { .. } | Phase::Draining(_) => None,
            },
        };
        self.slots.iter().map(view).collect()
    }

    /// How many channels there may be.
    pub fn size(&self) -> usize {
        self.settings.size
    }

    /// How many are connected and may be lent.
    pub fn ready(&self) -> usize {
        self.slots.iter().filter(|slot| slot.may_be_lent()).count()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// To how many a channel is lent.
    pub fn lent(&self) -> usize {
        self.slots.iter().map(|slot| slot.lent).sum()
    }

    /// Why an address is down, the first that is, or why a channel is sick, or why it is not
    /// known what a name stands for.
    pub fn down(&self) -> Option<&Down> {
        let sick = || self.slots.iter().find_map(|slot| slot.sick());
        let down = self.playing().into_iter().find_map(Place::down);
        down.or_else(sick).or(self.look_ups.down.as_ref())
    }

    /// Why a channel is not lent: its server does not serve, or its address is down.
    pub fn trouble(&self, slot: SlotId) -> Option<&Down> {
        let slot = self.slots.iter().find(|one| one.id == slot)?;
        let is_connecting = matches!(slot.phase, Phase::Connecting { .. });
        let down = || self.place(slot.address).filter(|_| is_connecting).and_then(Place::down);
        slot.sick().or_else(down)
    }

    /// Why it is of no use to wait: nothing is connected or being connected, and no address
    /// is due to be dialled.
    pub fn hopeless(&self, now: Instant) -> Option<Down> {
        let is_alive = |slot: &LineupSlot<C>| {
            slot.may_be_lent() || matches!(slot.phase, Phase::Connecting { .. })
        };
        let is_sick = self.slots.iter().any(|slot| slot.sick().is_some());
        let is_due = |place: &Place| {
            if place.down().is_some() {
                place.due() <= now
            } else {
                !is_sick
            }
        };
        // One that is out is taken in when no other answers.
        let is_spare = |place: &Place| place.track.is_out() && place.down().is_none();
        let may_come = self.look_ups.pending
            || self.playing().into_iter().any(is_due)
            || self.places.iter().any(is_spare);
        if may_come || self.slots.iter().any(is_alive) {
            return None;
        }
        self.down().cloned()
    }

    /// Why an address is down, when it may be dialled again, and how often it has failed in a
    /// row.
    pub fn retry(&self, address: usize) -> Option<(&Down, Instant, u32)> {
        let place = self.place(address)?;
        place.down().map(|down| (down, place.due(), place.failures()))
    }

    /// How many addresses are up, and how many are down, of those that are not out.
    pub fn addresses(&self) -> (usize, usize) {
        let all = self.candidates();
        let down = all.iter().filter(|place| place.down().is_some()).count();
        (all.len() - down, down)
    }

    /// When an address may be dialled again, the first of those that are down.
    pub fn next_dial(&self) -> Option<Instant> {
        let playing = self.playing().into_iter();
        playing.filter(|place| place.down().is_some()).map(Place::due).min()
    }
}
