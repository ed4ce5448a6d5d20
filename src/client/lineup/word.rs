//! What servers say of themselves without being asked.

use std::time::Instant;

use super::{Duty, HealthChange, Lineup};

/// What the server at an address has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It serves.
    Serves,
    /// It does not, until it says otherwise.
    Refuses,
    /// It tells no more; probes go on to find out.
    Silent,
}

impl<C: Clone, W> Lineup<C, W> {
    /// Takes in the word of the server at this address: its channels, and those that connect later,
    /// are lent only while it serves.
    pub fn heard(
        &mut self,
        address: usize,
        word: Word,
        chance: u64,
        now: Instant,
    ) -> (Option<HealthChange>, Duty<C, W>) {
        let (mut duty, mut change) = (Duty::default(), None);
        let Some(place) = self.place_mut(address) else {
            return (None, duty);
        };
        place.set_refuses(word == Word::Refuses);
        for slot in self.slots.iter_mut().filter(|slot| slot.address == address) {
            change = match word {
                Word::Refuses if slot.check.refuse(now) => Some(HealthChange::Sick),
                Word::Serves if slot.check.serve() => Some(HealthChange::Well),
                _ => change,
            };
        }
        self.serve(&mut duty, chance, now);
        self.despair(&mut duty, now);
        (change, duty)
    }

    /// The addresses with a channel that stands.
    pub fn standing(&self) -> std::collections::BTreeSet<usize> {
        let standing = self.slots.iter().filter(|slot| slot.is_connected());
        standing.map(|slot| slot.address).collect()
    }
}
