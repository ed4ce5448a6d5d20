//! Finds out whether a database that was away is back.

use std::time::Instant;

use super::upkeep::Upkeep;
use crate::clock;
use crate::pool::servers::Wants;

impl Upkeep {
    /// Sends a probe if it is time. Returns when to look again. Does not block.
    pub(super) fn probe(&self, now: Instant) -> Option<Instant> {
        let due = self.backends.breaker.next_probe().is_some_and(|at| at <= now);
        if due {
            let kept = self.clone();
            self.tenant.context().tools.workers.run(move || kept.probe_once(now));
        }
        self.backends.breaker.next_probe().filter(|at| *at > now)
    }

    /// Opens a backend, which is the first success, and has it answer, which is
    /// the second. It serves the next request. On a worker.
    pub(super) fn probe_once(&self, now: Instant) {
        let (tenant, backends) = (&self.tenant, &self.backends);
        let Some(attempt) = backends.breaker.probe_attempt(now) else { return };
        // Without a permit, or room, it waits for the next time: the attempt is
        // dropped.
        let Some(_permit) = tenant.permit_for_upkeep() else { return };
        let Some(count) = backends.make_room() else { return };
        let limit = backends.settings.connect_timeout;
        let (opened, change) = backends.open(count, limit, attempt, &mut Wants::check());
        self.heed(change);
        let mut taken = match opened {
            Ok(taken) => taken,
            // What lies in ourselves says nothing of the database.
            Err(cause) if cause.is_own() => return,
            Err(cause) => return backends.checked(Err(&cause.to_string())),
        };
        let works = match backends.breaker.probe_attempt(clock::now()) {
            Some(second) => {
                let works = backends.answers(&mut taken, backends.settings.check_timeout);
                if works {
                    self.heed(second.settle(None));
                }
                works
            }
            None => true,
        };
        backends.checked(if works { Ok(()) } else { Err("a new connection does not answer") });
        if works {
            taken.clean = true;
            backends.rest(taken, clock::now());
        } else {
            backends.close(taken, "failed_check");
        }
    }
}
