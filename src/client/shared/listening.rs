//! What servers say of themselves, as the keeper hears it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Shared;
use crate::client::lineup::{HealthChange, Word};
use crate::client::watch::Watcher;

impl Shared {
    /// Takes in what servers have said, and listens to those that are due. Returns when it is
    /// needed again, and whether something has changed.
    pub(super) fn listen(&self, now: Instant) -> (Option<Instant>, bool) {
        if self.listens_anew.swap(false, Ordering::AcqRel) {
            self.listen_anew(now);
        }
        let Some(watcher) = self.watcher.lock().clone() else {
            return (None, false);
        };
        let mut words = watcher.take(now);
        let standing = if self.is_closed() { BTreeSet::new() } else { self.lock().standing() };
        let (gone, due) = watcher.due(&standing, now);
        words.extend(gone.into_iter().map(|number| (number, Word::Silent)));
        self.heed(&words, now);
        for number in due {
            let to = self.destination(number);
            match to.map(|to| self.dialer.dial(to)) {
                Some(Ok(link)) => watcher.ask(number, link, now),
                Some(Err(_)) => watcher.missed(number, now),
                None => {}
            }
        }
        (watcher.next(), !words.is_empty())
    }

    /// Takes in what servers have said, by the numbers of their addresses.
    fn heed(&self, words: &[(usize, Word)], now: Instant) {
        for (number, word) in words {
            let (change, duty) = self.lock().heard(*number, *word, self.dice.roll(), now);
            let at = self.destination(*number);
            match (change, at) {
                (Some(HealthChange::Sick), Some(at)) => self.reporter.sick(&at, now),
                (Some(HealthChange::Well), Some(at)) => self.reporter.well(&at, now),
                _ => {}
            }
            self.act(duty);
        }
    }

    /// Listens as the settings say by now, over connections of their own again. Nothing that was
    /// heard before holds any more; only the keeper listens, so that none of it comes later.
    fn listen_anew(&self, now: Instant) {
        let watcher = Watcher::of(&self.config(), self.dialer.runtime(), &self.bell);
        let before = std::mem::replace(&mut *self.watcher.lock(), watcher);
        let numbers = before.iter().flat_map(|watcher| watcher.numbers());
        let silent: Vec<(usize, Word)> = numbers.map(|number| (number, Word::Silent)).collect();
        self.heed(&silent, now);
    }
}
