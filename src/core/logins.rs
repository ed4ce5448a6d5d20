//! How often a password may be tried on one account of one server.
//!
//! PostgreSQL sees only the service, whoever guesses through it. So the service counts
//! what PostgreSQL has refused, by server and user, whatever tenants the guesses came
//! for. After a few of them one try a second is made, and those who want to make it take
//! turns: whoever is put off has its turn at the time that it is told, however often
//! others ask meanwhile. The same is done for passwords that the service compares itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::callers::CallerId;

/// So many refusals are nobody's guessing: a few processes have yet to hear of a change.
pub const FREE: u32 = 5;
/// From then on one try is made in this time: a dictionary of a million takes 11 days.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Refusals are forgotten so long after the last.
pub const FORGIVEN: Duration = Duration::from_secs(300);
/// A turn that was not taken is gone so long after its time.
const TURN_KEPT: Duration = Duration::from_secs(10);
/// So many may have a turn at a time; the last waits about as long as a caller does.
const TURNS_MAX: usize = 32;

/// A try that is not made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferred {
    /// Logins that were refused of late.
    pub refusals: u32,
    /// When the one who asked has its turn.
    pub retry: Duration,
}

/// The accounts at which logins were refused of late. At most so many; the one that was
/// refused longest ago makes room.
#[derive(Debug)]
pub struct Logins<A> {
    troubled: HashMap<A, Trouble>,
    max: usize,
}

/// One such account.
#[derive(Debug)]
struct Trouble {
    refusals: u32,
    last: Instant,
    /// Who was refused, if it was only one.
    only: Option<CallerId>,
    /// Before then no further try is made.
    next: Instant,
    /// Who may make a try, and from when on. Each has one turn at most.
    turns: Vec<(CallerId, Instant)>,
}

impl<A: Clone + Eq + Hash> Logins<A> {
    /// None yet.
    pub fn new(max: usize) -> Logins<A> {
        Logins { troubled: HashMap::new(), max }
    }

    /// Asks for a try at a password that is not known to be right.
    ///
    /// # Errors
    /// When to come again.
    pub fn enter(&mut self, account: &A, who: &CallerId, now: Instant) -> Result<(), Deferred> {
        let Some(trouble) = self.troubled.get_mut(account) else { return Ok(()) };
        if trouble.is_over(now) {
            self.troubled.remove(account);
            return Ok(());
        }
        if trouble.refusals < FREE {
            return Ok(());
        }
        let at = trouble.turn(who, now);
        if at <= now {
            trouble.turns.retain(|(other, _)| other != who);
            return Ok(());
        }
        Err(Deferred { refusals: trouble.refusals, retry: at - now })
    }

    /// The server has refused a login.
    pub fn refused(&mut self, account: &A, who: &CallerId, now: Instant) {
        if let Some(trouble) = self.troubled.get_mut(account).filter(|one| !one.is_over(now)) {
            return trouble.refused(who, now);
        }
        if self.troubled.len() >= self.max && !self.troubled.contains_key(account) {
            self.make_room(now);
        }
        let only = Some(who.clone());
        let fresh = Trouble { refusals: 1, last: now, only, next: now, turns: Vec::new() };
        self.troubled.insert(account.clone(), fresh);
    }

    fn make_room(&mut self, now: Instant) {
        self.troubled.retain(|_, trouble| !trouble.is_over(now));
        if self.troubled.len() >= self.max {
            let oldest = self.troubled.iter().min_by_key(|(_, trouble)| trouble.last);
            let oldest = oldest.map(|(account, _)| account.clone());
            oldest.map(|account| self.troubled.remove(&account));
        }
    }

    /// Forgets what was refused at these accounts.
    pub fn forget(&mut self, these: impl Fn(&A) -> bool) {
        self.troubled.retain(|account, _| !these(account));
    }

    /// The server has let `who` in, who alone was refused before: now it knows better.
    /// A login of somebody else says nothing of those that were refused, and whoever
    /// guesses must not profit from it.
    pub fn let_in(&mut self, account: &A, who: &CallerId) {
        let only = self.troubled.get(account).and_then(|trouble| trouble.only.as_ref());
        if only == Some(who) {
            self.troubled.remove(account);
        }
    }
}

impl Trouble {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= FORGIVEN
    }

    fn refused(&mut self, who: &CallerId, now: Instant) {
        self.refusals = self.refusals.saturating_add(1);
        self.last = self.last.max(now);
        if self.only.as_ref() != Some(who) {
            self.only = None;
        }
        if self.refusals == FREE {
            self.next = now + PAUSE;
        }
    }

    /// When `who` may make a try. The turn is its own from now on, if it has yet to come.
    fn turn(&mut self, who: &CallerId, now: Instant) -> Instant {
        self.turns.retain(|(_, at)| now.saturating_duration_since(*at) < TURN_KEPT);
        if let Some((_, at)) = self.turns.iter().find(|(other, _)| other == who) {
            return *at;
        }
        let at = self.next.max(now);
        if self.turns.len() < TURNS_MAX {
            self.next = at + PAUSE;
            if at > now {
                self.turns.push((who.clone(), at));
            }
        } else if at <= now {
            self.next = at + PAUSE;
        }
        at
    }
}

#[cfg(test)]
mod tests;
