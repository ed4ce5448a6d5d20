//! Finds out whether a database that was away is back.

use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::pool::job::Permit;
use crate::pool::servers::Wants;
use crate::pool::tenant::Tenant;

impl Tenant {
    /// Sends a probe if it is time. Returns when to look again. Does not block.
    pub(super) fn probe(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let due = self.next_probe().is_some_and(|at| at <= now);
        if due {
            let tenant = Arc::clone(self);
            self.context.tools.workers.run(move || tenant.probe_once(now));
        }
        self.next_probe().filter(|at| *at > now)
    }

    /// Opens a backend, which is the first success, and has it answer, which is
    /// the second. It serves whoever comes next. On a worker.
    fn probe_once(self: &Arc<Self>, now: Instant) {
        let Some(attempt) = self.probe_attempt(now) else { return };
        // Without a permit, or room, it waits for the next time: the attempt is
        // dropped.
        if !self.gate().try_take() {
            return;
        }
        let _permit = Permit::for_upkeep(self);
        let Some(count) = self.make_room() else { return };
        let limit = self.settings.connect_timeout;
        let mut taken = match self.open(count, limit, attempt, &mut Wants::check()) {
            Ok(taken) => taken,
            // What lies in ourselves says nothing of the database.
            Err(cause) if cause.is_own() => return,
            Err(cause) => return self.checked(Err(&cause.to_string())),
        };
        let works = match self.probe_attempt(clock::now()) {
            Some(second) => {
                let works = self.answers(&mut taken, self.settings.check_timeout);
                if works {
                    second.settle(None);
                }
                works
            }
            None => true,
        };
        self.checked(if works { Ok(()) } else { Err("a new connection does not answer") });
        if works {
            taken.clean = true;
            self.rest(taken, clock::now());
        } else {
            self.close(taken, "failed_check");
        }
    }
}
