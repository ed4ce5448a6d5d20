//! Which addresses there are, and which of them are used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Down, Duty, Lineup, Phase, Place, Reason};

/// An address that channels may be dialled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its number; never given out twice.
    pub number: usize,
    /// The name that it stands for, by a number.
    pub name: usize,
    /// It is of the other family (IPv4 or IPv6) than the first address of its name, and is used
    /// only while none of that family answers.
    pub second: bool,
}

/// How far it is known what names stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookUps {
    /// A name is being looked up for the first time.
    pub pending: bool,
    /// Why it is not known what a name stands for.
    pub down: Option<Down>,
}

impl<C: Clone, W> Lineup<C, W> {
    /// These are the addresses from now on. Channels to others go as soon as others stand.
    pub fn move_to(&mut self, sites: &[Site], now: Instant) -> Duty<C, W> {
        let mut duty = Duty::default();
        let mut known: BTreeMap<usize, Place> = std::mem::take(&mut self.places)
            .into_iter()
            .map(|place| (place.number(), place))
            .collect();
        let place =
            |site: &Site| known.remove(&site.number).unwrap_or_else(|| Place::new(*site, now));
        self.places = sites.iter().map(place).collect();
        let gone: BTreeSet<usize> = known.keys().copied().collect();
        self.places.extend(known.into_values().map(Place::leave));
        for index in (0..self.slots.len()).rev() {
            let slot = &mut self.slots[index];
            if !gone.contains(&slot.address) {
                continue;
            }
            match slot.phase {
                Phase::Ready { .. } => slot.stale = slot.stale.or(Some(Reason::Moved)),
                Phase::Connecting { .. } => {
                    slot.phase = Phase::Draining(Reason::Moved);
                    self.settle(index, &mut duty);
                }
                Phase::Draining(_) => {}
            }
        }
        self.forget();
        self.despair(&mut duty, now);
        duty
    }

    /// So far the look-ups of names are.
    pub fn looked_up(&mut self, look_ups: LookUps, now: Instant) -> Duty<C, W> {
        let mut duty = Duty::default();
        self.look_ups = look_ups;
        self.despair(&mut duty, now);
        duty
    }

    /// Forgets addresses that are gone and have no channel any more.
    pub(super) fn forget(&mut self) {
        let slots = &self.slots;
        self.places.retain(|place| {
            !place.is_gone() || slots.iter().any(|slot| slot.address == place.number())
        });
    }

    /// The numbers of all addresses that are not forgotten.
    pub fn numbers(&self) -> BTreeSet<usize> {
        self.places.iter().map(Place::number).collect()
    }

    pub(super) fn place(&self, number: usize) -> Option<&Place> {
        self.places.iter().find(|place| place.number() == number)
    }

    pub(super) fn place_mut(&mut self, number: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.number() == number)
    }

    /// Addresses that are neither gone nor out, of each name one family: the first, unless only the second
    /// answers.
    pub(super) fn candidates(&self) -> Vec<&Place> {
        let is_here = |place: &&Place| !place.is_gone() && !place.track.is_out();
        let here = || self.places.iter().filter(is_here);
        // By name: whether the first family answers, and whether the second does.
        let mut names: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        for place in here().filter(|place| place.down().is_none()) {
            let (first, second) = names.entry(place.name()).or_default();
            *first |= !place.is_second();
            *second |= place.is_second();
        }
        let is_meant = |place: &&Place| match names.get(&place.name()) {
            Some((true, _)) => !place.is_second(),
            Some((false, true)) => place.is_second(),
            _ => true,
        };
        here().filter(is_meant).collect()
    }

    /// Those of them that are used: no more than there are channels, first the ones that answer,
    /// then those that were not tried for longest.
    pub(super) fn playing(&self) -> Vec<&Place> {
        let all = self.candidates();
        let most = self.wanted().max(1);
        if all.len() <= most {
            return all;
        }
        let (up, mut down): (Vec<&Place>, Vec<&Place>) =
            all.into_iter().partition(|place| place.down().is_none());
        down.sort_by_key(|place| place.due());
        up.into_iter().chain(down).take(most).collect()
    }
}
