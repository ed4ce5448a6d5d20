//! How often a password may be tried on one account of one server.
//!
//! PostgreSQL sees only the service, not the client that guesses passwords through it. So the
//! service counts the logins that PostgreSQL has refused, by server and user, over all tenants.
//! After a few refusals it allows one attempt a second, and callers take turns: a caller that is
//! postponed gets a fixed time for its attempt, however often others ask meanwhile. Passwords that
//! the service compares itself are limited in the same way.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::callers::CallerId;

/// Refusals that are not treated as guessing: a few processes may still use an old password.
pub const FREE: u32 = 5;
/// The pause between attempts after that: a dictionary of a million words takes 11 days.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How long after the last refusal all are forgotten.
pub const FORGIVEN: Duration = Duration::from_secs(300);
/// How long after its time an unused turn expires.
const TURN_KEPT: Duration = Duration::from_secs(10);
/// Turns at a time; the last one waits about as long as a caller does.
const TURNS_MAX: usize = 32;

/// An attempt that is postponed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferred {
    /// Recently refused logins.
    pub refusals: u32,
    /// How long until the caller's turn.
    pub retry: Duration,
}

/// The accounts with recently refused logins, a bounded number: a new one replaces the one whose
/// last refusal is the oldest.
#[derive(Debug)]
pub struct LoginHistory<A> {
    troubled: HashMap<A, Trouble>,
    max: usize,
}

/// One such account.
#[derive(Debug)]
struct Trouble {
    refusals: u32,
    last: Instant,
    /// The only caller that was refused, if there is only one.
    only: Option<CallerId>,
    /// No attempt is made before this time.
    next: Instant,
    /// The callers with a turn, and its time. Each has one turn at most.
    turns: Vec<(CallerId, Instant)>,
}

impl<A: Clone + Eq + Hash> LoginHistory<A> {
    /// Without any account; remembers `max` at most.
    pub fn new(max: usize) -> LoginHistory<A> {
        LoginHistory { troubled: HashMap::new(), max }
    }

    /// Asks to try a password that is not known to be right.
    ///
    /// # Errors
    /// When to try again.
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

    /// Notes that the server has refused a login.
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

    /// Forgets the refusals at these accounts.
    pub fn forget(&mut self, these: impl Fn(&A) -> bool) {
        self.troubled.retain(|account, _| !these(account));
    }

    /// Notes that a login of `who` succeeded. If `who` was the only caller refused before, the
    /// refusals are forgotten. A login of another caller proves nothing about the refused ones, and
    /// a guesser must not profit from it.
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

    /// When `who` may make an attempt. Reserves the turn if its time has yet to come.
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
