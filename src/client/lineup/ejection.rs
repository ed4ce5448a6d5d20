//! Addresses that are taken out for a while, because attempts at them fail.

use std::time::{Duration, Instant};

use super::{Duty, Lineup, Phase, Place, Reason};
use crate::client::outlier::{self, Outlying};

/// An address was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub why: Outlying,
    /// For how long.
    pub time: Duration,
}

impl<C: Clone, W> Lineup<C, W> {
    /// An attempt at an address has ended. Its channels go if it is taken out.
    pub fn attempted(
        &mut self,
        address: usize,
        bad: bool,
        now: Instant,
    ) -> (Option<Ejection>, Duty<C, W>) {
        let mut duty = Duty::default();
        let Some(config) = self.settings.outlier else {
            return (None, duty);
        };
        let found =
            self.place_mut(address).and_then(|place| place.track.attempt(bad, &config, now));
        let Some(why) = found.filter(|_| self.can_spare(address, &config)) else {
            return (None, duty);
        };
        let time = self.place_mut(address).map(|place| place.track.eject(&config, now));
        for index in (0..self.slots.len()).rev() {
            let slot = &mut self.slots[index];
            if slot.address == address && !matches!(slot.phase, Phase::Draining(_)) {
                slot.phase = Phase::Draining(Reason::Ejected);
                self.settle(index, &mut duty);
            }
        }
        (time.map(|time| Ejection { why, time }), duty)
    }

    /// Another one answers, and not too many are out.
    fn can_spare(&self, address: usize, config: &outlier::OutlierConfig) -> bool {
        let (others, out) = (self.candidates(), self.ejected());
        let answers = |place: &&Place| place.down().is_none() && place.number() != address;
        out < outlier::may_be_out(config, others.len() + out) && others.iter().any(answers)
    }

    /// Takes addresses in again whose time is over; all of them, if no other one answers, or if
    /// none is taken out any more. Returns their numbers.
    pub fn restore(&mut self, now: Instant) -> Vec<usize> {
        let is_needed = self.settings.outlier.is_none()
            || self.candidates().iter().all(|place| place.down().is_some());
        let is_over =
            |place: &&mut Place| place.track.until().is_some_and(|until| is_needed || until <= now);
        let mut restored = Vec::new();
        for place in self.places.iter_mut().filter(is_over) {
            place.track.restore(now);
            restored.push(place.number());
        }
        restored
    }

    /// When [`restore`](Self::restore) has something to do.
    pub(super) fn restore_due(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.track.until()).min()
    }

    /// How many addresses are out.
    pub fn ejected(&self) -> usize {
        self.places.iter().filter(|place| place.track.is_out() && !place.is_gone()).count()
    }
}
