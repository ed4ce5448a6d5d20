//! Looks after backends at rest: whether they still answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::clock;
use crate::core::losses::Loss;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::job::{Permit, Session};
use crate::pool::manager::Slot;
use crate::pool::store::Taken;
use crate::pool::tenant::Tenant;

impl Tenant {
    /// The present generation of backends.
    pub(super) fn generation(&self) -> u64 {
        self.losses.lock().generation()
    }

    /// True if so many others were lost that this one is in doubt too, or if it
    /// doubts itself whether its server is still what the DSN asks for.
    pub(super) fn is_doubtful(&self, slot: &Slot) -> bool {
        slot.generation < self.generation() || slot.backend.is_doubtful()
    }

    /// The backend has answered; the question was asked in this generation.
    pub(super) fn answered(&self, taken: &mut Taken, generation: u64, now: Instant) {
        taken.generation = generation;
        taken.answered_at = now;
        self.worked(now);
    }

    /// A backend of the tenant has just done its work.
    pub(super) fn worked(&self, now: Instant) {
        self.record.lock().worked_at = now;
    }

    /// Whether a backend answers within `limit`.
    pub(super) fn answers(&self, taken: &mut Taken, limit: Duration) -> bool {
        let generation = self.generation();
        let answers = self.bounded_by(&mut *taken.backend, limit, |backend| backend.check());
        if answers {
            self.answered(taken, generation, clock::now());
        }
        answers
    }

    /// Closes a backend that did not answer.
    pub(super) fn broken(self: &Arc<Self>, mut taken: Taken) {
        self.note_loss(&mut taken);
        self.close(taken, "failed_check");
    }

    /// If the connection of this backend is lost, others may be. Then all at rest
    /// are looked at, before anybody gets them. Does not block.
    pub(super) fn note_loss(self: &Arc<Self>, taken: &mut Taken) {
        if !taken.backend.is_closed() {
            return;
        }
        let words = taken.backend.watch().last_words();
        let loss = Loss::of(words.as_ref().map(|words| &*words.sqlstate));
        let now = clock::now();
        if self.losses.lock().lost(loss, taken.generation, now) {
            if let Some(repeated) = logging::admits_state("backends_in_doubt", &self.id, "") {
                let words = words.map_or_else(String::new, |words| words.to_string());
                let (id, words) = (&self.id, Quoted(&words));
                log::warn!("event=backends_in_doubt tenant={id} last_words={words}{repeated}");
            }
            let _ = self.check_idle(|slot| self.is_doubtful(slot), None);
        }
        self.trouble(now);
    }

    /// Has every idle backend for which `which` is true answer, all at once, each
    /// on a worker and with a permit, so that nobody opens another in its place.
    /// What does not answer is closed. Each answer is told to `told`. False:
    /// permits ran out first. Does not block.
    pub(super) fn check_idle(
        self: &Arc<Self>,
        which: impl Fn(&Slot) -> bool,
        told: Option<&Sender<bool>>,
    ) -> bool {
        while self.store.any_idle(&which) {
            if !self.gate().try_take() {
                return false;
            }
            let permit = Permit::for_upkeep(self);
            // Dropped with the worker's job, it closes the backend and gives the
            // permit back.
            let Some(taken) = self.store.take_if(&which) else { return true };
            let session = Session { taken, permit };
            let told = told.cloned();
            self.context.tools.workers.run(move || {
                let answers = Tenant::check_session(session);
                // Whoever asked may have given up.
                if let Some(told) = told {
                    let _ = told.send(answers);
                }
            });
        }
        true
    }

    fn check_session(session: Session) -> bool {
        let Session { permit, mut taken } = session;
        let tenant = Arc::clone(permit.tenant());
        let answers = tenant.answers(&mut taken, tenant.settings.health_timeout);
        if answers {
            tenant.checked(Ok(()));
            taken.clean = true;
            // To be looked at is not to be used.
            let since = taken.idle_since;
            tenant.rest(taken, since);
        } else {
            let words = taken.backend.watch().last_words();
            let words = words.map_or("an idle connection does not answer".to_owned(), |words| {
                format!("an idle connection is lost: {words}")
            });
            tenant.checked(Err(&words));
            tenant.broken(taken);
        }
        drop(tenant.serve_opening(permit));
        answers
    }

    /// Talks to backends that have been silent for too long. Returns when it
    /// should be asked again.
    pub(super) fn ping(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let every = self.settings.ping_interval;
        if every.is_zero() {
            return None;
        }
        // A round talks to all of them.
        if self.is_being_checked() {
            return Some(now + every);
        }
        let silent = |slot: &Slot| now.saturating_duration_since(slot.answered_at) >= every;
        let _ = self.check_idle(silent, None);
        Some(now + every)
    }
}
