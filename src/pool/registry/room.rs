//! Room for one more tenant: who gives way when there is none.
//!
//! A tenant that has yet to be opened counts for one opening and for nothing else: its
//! DSN may lead nowhere. Only once PostgreSQL has let it in are all of its connections
//! reserved, and only then does an unused tenant go in its favour. Whose tenants give way
//! is decided by client connections (`core::shares`).

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::Registry;
use crate::clock;
use crate::core::callers::CallerId;
use crate::core::shares::{self, Part};
use crate::error::RequestError;
use crate::pool::tenant::{Disuse, Tenant};

/// A tenant without a lease, a one-shot, a listener or a waiter for so long may give way.
/// Its return costs one connect, so a tenant with steady work stays.
const SPARE_AFTER: Duration = Duration::from_secs(10);

/// So many times as many tenants as may be opened at a time may wait for room at a server
/// before they are: one costs some kilobytes.
const WAITING_MAX: usize = 10;

/// What there is no room for.
const BACKENDS: &str = "backends (max_backends, for the sum of all tenants' max_connections)";
const OPENINGS: &str = "tenants being opened";

impl Registry {
    /// Whether a tenant of so many connections would find room, if it could be opened.
    ///
    /// # Errors
    /// If the budget is used up, and nobody would give way.
    pub(super) fn expect_room(&self, by: &CallerId, gets: usize) -> Result<(), RequestError> {
        let budgeted = self.write().budgeted();
        let (used, limit) = (budgeted + gets, self.context.live().limits.max_backends);
        match used.saturating_sub(limit) {
            0 => Ok(()),
            need => {
                self.spare(by, gets, need, |_| true).map(drop).ok_or_else(|| no_room(used, limit))
            }
        }
    }

    /// The unused tenants that are to go so that `need` backends become free.
    fn spare(
        &self,
        by: &CallerId,
        gets: usize,
        need: usize,
        which: impl Fn(&Tenant) -> bool,
    ) -> Option<Vec<Arc<Tenant>>> {
        let now = clock::now();
        let mut tenants = self.named();
        let may_go = |tenant: &Tenant| !tenant.is_opening() && !tenant.configured;
        tenants.retain(|tenant| may_go(tenant) && which(tenant));
        let part = |tenant: &Arc<Tenant>| Part {
            owner: tenant.backends().origin.brought_by.clone(),
            size: tenant.setup().permits,
            spare_since: Disuse(tenant).since(now, SPARE_AFTER),
        };
        let parts: Vec<Part> = tenants.iter().map(part).collect();
        let going = shares::giving_way(&parts, by, gets, need)?;
        Some(going.into_iter().map(|place| Arc::clone(&tenants[place])).collect())
    }

    /// Lets other unused tenants go in favour of one that needs so many backends more, and has
    /// not counted for `gets` of its own so far. False: nobody gives way. Their idle connections are closed within
    /// seconds, in which there may be some more than the limit.
    pub(super) fn make_room(&self, tenant: &Tenant, gets: usize, need: usize) -> bool {
        let backends = tenant.backends();
        let is_other = |other: &Tenant| !std::ptr::eq(other, tenant);
        let going = self.spare(&backends.origin.brought_by, gets, need, is_other);
        let Some(going) = going else { return false };
        let now = clock::now();
        // One that was just asked for stays; then it is looked anew.
        for one in going {
            if Disuse(&one).let_go(now, SPARE_AFTER) {
                self.context.tools.metrics.gave_way("unused");
            }
        }
        true
    }

    /// If as many tenants are being opened as may be, ends the oldest of the caller who has most of
    /// them, unless that is `by` itself. Returns whether there was room then; another may take it
    /// before it is used.
    pub(super) fn make_room_to_open(&self, by: &CallerId) -> bool {
        let limit = self.context.live().limits.opening_tenants;
        if self.openings() < limit {
            return true;
        }
        let mut opening = self.all();
        opening.retain(|tenant| {
            let waits = tenant.account.numbers.unopened.load(Ordering::Relaxed) > 0;
            tenant.is_opening() && !waits
        });
        let part = |tenant: &Arc<Tenant>| {
            let origin = &tenant.backends().origin;
            // Its own are as good as the one that it brings now.
            let spare_since = (origin.brought_by != *by).then_some(origin.since);
            Part { owner: origin.brought_by.clone(), size: 1, spare_since }
        };
        let parts: Vec<Part> = opening.iter().map(part).collect();
        let going = shares::giving_way(&parts, by, 1, 1).unwrap_or_default();
        for place in &going {
            let tenant = &opening[*place];
            if crate::logging::admits("opening_gave_way", Some(tenant.id())) {
                log::warn!("event=opening_gave_way tenant={}", tenant.id());
            }
            self.context.tools.metrics.gave_way("opening");
            self.give_up(tenant, openings_used(limit + 1, limit));
        }
        !going.is_empty()
    }

    /// Takes a tenant out that has yet to be opened, and tells who waits for it.
    pub(super) fn give_up(&self, tenant: &Arc<Tenant>, why: RequestError) {
        self.remove(tenant);
        tenant.end(why.clone());
        tenant.answer_line(&why);
    }

    /// Tenants that are being opened, without those that wait for room at their server: a full
    /// server must not keep tenants of another one from being opened. Beyond a limit of their own,
    /// those that wait count too.
    fn openings(&self) -> usize {
        let most = WAITING_MAX * self.context.live().limits.opening_tenants;
        let waiting = self.context.servers.unopened().load(Ordering::Relaxed).min(most);
        self.opening.load(Ordering::Acquire).saturating_sub(waiting)
    }

    /// Counts one more tenant that is being opened. Called while nobody else can.
    pub(super) fn count_opening(&self) -> Result<(), RequestError> {
        let (used, limit) = (self.openings() + 1, self.context.live().limits.opening_tenants);
        if used > limit {
            return Err(openings_used(used, limit));
        }
        self.opening.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// What to tell a tenant for whose connections there is no room.
pub(super) fn no_room(used: usize, limit: usize) -> RequestError {
    RequestError::ServiceLimit { what: BACKENDS, used, limit }
}

fn openings_used(used: usize, limit: usize) -> RequestError {
    RequestError::ServiceLimit { what: OPENINGS, used, limit }
}

/// Makes room and takes it, up to `tries` times: a flood of others may have taken in between what
/// was there.
pub(super) fn taken_in_tries<T>(
    tries: usize,
    make_room: impl Fn() -> bool,
    take: impl Fn() -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    for _ in 1..tries {
        let had_room = make_room();
        match take() {
            Err(_) if had_room => {}
            taken => return taken,
        }
    }
    make_room();
    take()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Whether it was had, and in how many tries, where others take the room so often before it.
    fn tried(had_room: bool, others: usize) -> (bool, usize) {
        let (tries, rooms) = (Cell::new(0), Cell::new(0));
        let make_room = || {
            rooms.set(rooms.get() + 1);
            had_room
        };
        let take = || {
            tries.set(tries.get() + 1);
            assert_eq!(rooms.get(), tries.get(), "it is made before each try");
            (tries.get() > others).then_some(()).ok_or_else(|| openings_used(101, 100))
        };
        (taken_in_tries(3, make_room, take).is_ok(), tries.get())
    }

    #[test]
    fn room_that_others_have_taken_is_made_again_and_none_is_refused_at_once() {
        assert_eq!(tried(true, 0), (true, 1));
        assert_eq!(tried(true, 1), (true, 2));
        assert_eq!(tried(true, 2), (true, 3));
        assert_eq!(tried(true, 3), (false, 3), "not for ever");
        assert_eq!(tried(false, 1), (false, 1), "nobody has given way");
    }
}
