//! What servers say of themselves, as the keeper hears it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Shared;
use crate::client::lineup::{Change, Word};

impl Shared {
    /// Takes in what servers have said, and listens to those that are due. Returns when it is
    /// needed again, and whether something has changed.
    pub(super) fn listen(&self, now: Instant) -> (Option<Instant>, bool) {
        let Some(watcher) = &self.watcher else {
            return (None, false);
        };
        let mut words = watcher.take(now);
        let standing = if self.is_closed() { BTreeSet::new() } else { self.lock().standing() };
        let (gone, due) = watcher.due(&standing, now);
        words.extend(gone.into_iter().map(|number| (number, Word::Silent)));
        for (number, word) in &words {
            let (change, duty) = self.lock().heard(*number, *word, self.dice.roll(), now);
            let at = self.destination(*number);
            match (change, at) {
                (Some(Change::Sick), Some(at)) => self.reporter.sick(&at, now),
                (Some(Change::Well), Some(at)) => self.reporter.well(&at, now),
                _ => {}
            }
            self.act(duty);
        }
        for number in due {
            let to = self.destination(number);
            if let Some(link) = to.and_then(|to| self.dialer.dial(to)) {
                watcher.ask(number, link, now);
            }
        }
        (watcher.next(), !words.is_empty())
    }
}
