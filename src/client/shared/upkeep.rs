//! What the keeper does for a pool.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use crate::client::channel::{ChannelState, Link};
use crate::client::destination::Destination;
use crate::client::keeper::Tended;
use crate::client::lineup::{ChannelSeen, ChannelView, Reason, SlotId};
use crate::clock;

/// A connection that ended before anybody saw it stand.
const AT_ONCE: &str = "closed by the server as soon as it stands";

impl Tended for Shared {
    fn tend(&self) -> Option<Instant> {
        let (names, mut changed) = self.look_up(clock::now());
        let views = self.views();
        for view in &views {
            let Some(link) = &view.channel else {
                continue;
            };
            changed |= self.look(view, link);
        }
        let now = clock::now();
        let leaks = self.find_leaks(&views, now);
        let files = self.reload_in_time(now);
        let (round, probed) = self.probe(now);
        changed |= probed;
        self.restore(now);
        let (heard, news) = self.listen(now);
        changed |= news;
        let duty = self.lock().tend(self.dice.roll(), now);
        changed |= !duty.dropped.is_empty();
        for (link, _) in duty.dropped.iter().filter(|(_, reason)| *reason == Reason::Lost) {
            // It took too long.
            let down = self.lock().retry(link.to().number).map(|(down, ..)| down.error.clone());
            self.tell(link, &ChannelSeen::Failed(down.unwrap_or_default()), None);
        }
        self.act(duty);
        let dials = self.lock().dials(now);
        for (slot, address) in dials {
            changed |= self.dial(slot, address, now);
        }
        if changed {
            self.tell_change();
        }
        let status = self.tell_status(now);
        let due = self.lock().due();
        let others = [status, round, files, heard, names, leaks];
        others.into_iter().flatten().chain(due).min()
    }
}

impl Shared {
    /// Tells observers of the status, if it is time. Returns when it is next.
    fn tell_status(&self, now: Instant) -> Option<Instant> {
        let interval = self.config().events.status_interval?;
        let mut told = self.told.lock();
        let is_due = *told + interval <= now;
        if is_due {
            *told = now;
        }
        let next = *told + interval;
        drop(told);
        if is_due {
            self.reporter.status(|| self.status());
        }
        Some(next)
    }

    /// Dials for a slot. True if that has failed at once.
    fn dial(&self, slot: SlotId, address: usize, now: Instant) -> bool {
        self.reporter.connects();
        let Some(to) = self.destination(address) else {
            return false;
        };
        match self.dialer.dial(Arc::clone(&to)) {
            Ok(link) => {
                // Whoever looks next sees it; a slot that is gone meanwhile drops it here.
                let surplus = self.lock().dialled(slot, link);
                drop(surplus);
                false
            }
            Err(error) => {
                let seen = ChannelSeen::Failed(error.clone());
                let (news, duty) = self.lock().seen(slot, seen, self.dice.roll(), now);
                if news {
                    self.tell_failed(&to, &error, now);
                }
                self.act(duty);
                news
            }
        }
    }

    /// Takes in how a channel is. True if that has changed.
    fn look(&self, view: &ChannelView<Arc<Link>>, link: &Link) -> bool {
        let state = link.state();
        let is_idle = matches!(state, ChannelState::Idle | ChannelState::Ended);
        let seen = match state {
            ChannelState::Ready => ChannelSeen::Ready,
            // It stood for a moment. Connected once more it might for ever, without a pause.
            ChannelState::Ended if view.begun.is_some() => ChannelSeen::Failed(AT_ONCE.to_owned()),
            ChannelState::Connecting | ChannelState::Idle | ChannelState::Ended => {
                ChannelSeen::Lost
            }
            ChannelState::Failed(error) => ChannelSeen::Failed(error),
        };
        let mut line = self.lock();
        let (news, duty) = line.seen(view.slot, seen.clone(), self.dice.roll(), clock::now());
        let is_wanted = is_idle && line.is_connecting(view.slot);
        drop(line);
        if is_wanted && news {
            self.reporter.connects();
            link.connect_again();
        } else if is_wanted {
            link.poke();
        }
        if news {
            self.tell(link, &seen, view.begun);
        }
        self.act(duty);
        news
    }

    /// Tells what a channel was seen to be. `begun`: since when it was being connected.
    pub(super) fn tell(&self, link: &Link, seen: &ChannelSeen, begun: Option<Instant>) {
        let (to, now) = (link.to(), clock::now());
        match seen {
            ChannelSeen::Ready => {
                link.stood(now);
                let took = now.saturating_duration_since(begun.unwrap_or(now));
                self.reporter.connected(to, took, now);
            }
            ChannelSeen::Lost => {
                if let Some(since) = link.fell() {
                    let age = now.saturating_duration_since(since);
                    self.reporter.lost(to, age, now);
                }
            }
            ChannelSeen::Failed(error) => self.tell_failed(to, error, now),
        }
    }

    /// Tells that an address could not be connected to.
    fn tell_failed(&self, to: &Destination, error: &str, now: Instant) {
        self.directory.lock().doubt(to.origin, now);
        let retry = self.lock().retry(to.number).map(|(_, due, failures)| (due, failures));
        let again = retry.map(|(due, n)| (due.saturating_duration_since(now), n));
        self.reporter.connect_failed(to, error, again, now);
    }

    /// A channel has left.
    pub(super) fn ended(&self, link: &Link, reason: Reason) {
        if let Some(since) = link.fell() {
            let age = clock::now().saturating_duration_since(since);
            self.reporter.ended(link.to(), reason.as_str(), age);
        }
    }
}
