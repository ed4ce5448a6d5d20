//! What becomes of a backend that comes back: it is made as new and rests, or is closed. That
//! blocks, so it runs on workers, but for `reset_at_once` and `discard`.

use std::sync::Arc;
use std::time::Instant;

use super::{Backends, RESIZED};
use crate::clock;
use crate::config::Reset;
use crate::pool::manager::Slot;
use crate::pool::numbers::During;
use crate::pool::servers::GAVE_WAY;
use crate::pool::store::Taken;

impl Backends {
    /// Closes a backend, with a goodbye if it still listens. On a worker.
    pub(in crate::pool) fn close(&self, mut taken: Taken, reason: &str) {
        self.account.series().closed(reason);
        let pid = taken.backend.pid();
        log::debug!("event=backend_closed tenant={} pid={pid} reason={reason}", self.id());
        taken.clean = false;
        taken.close_gracefully = !taken.backend.is_closed();
        let alarm = self.guard(taken.backend.watch(), self.settings.check_timeout);
        // Whoever has its seat next would else be one too many there.
        if taken.close_gracefully && taken.seat.is_some() {
            taken.backend.end();
        }
        drop(taken);
        drop(alarm);
    }

    /// Puts a clean backend to rest. On a worker.
    pub(in crate::pool) fn rest(&self, taken: Taken, now: Instant) {
        self.store.put(taken, now);
        // Whoever retires the pool takes what is at rest by then, and has perhaps
        // just been here: nobody else would come for this one.
        if let Some(reason) = self.retired.get() {
            while let Some(taken) = self.store.take() {
                self.close(taken, reason);
            }
        }
    }

    /// Takes a backend back that was in use: rolled back, reset and checked, or closed. True:
    /// its loss puts others in doubt.
    #[must_use]
    pub(in crate::pool) fn reset(&self, taken: Taken) -> bool {
        let _resetting = During::new(&self.account.numbers.resetting);
        let now = clock::now();
        self.account.touch();
        if taken.clean {
            // Reset already, on a thread that must not wait.
            self.rest(taken, now);
            return false;
        }
        match self.close_reason(&taken, now) {
            Some(reason) => {
                self.close(taken, reason);
                false
            }
            None => self.reset_now(taken, now),
        }
    }

    /// Why a backend that comes back is closed, if it is not reset. Asked once, because a seat that
    /// was promised is not promised again.
    fn close_reason(&self, taken: &Taken, now: Instant) -> Option<&'static str> {
        let yields = || taken.seat.is_some_and(|seat| self.context().servers.yields(seat));
        let retired = self.retired.get().copied();
        retired
            .or_else(|| (self.account.open.surplus() > 0).then_some(RESIZED))
            .or_else(|| (now >= taken.retire_at).then_some("max_lifetime"))
            .or_else(|| yields().then_some(GAVE_WAY))
            .or_else(|| (self.settings.reset == Reset::Close).then_some("reset_policy"))
    }

    /// Resets a backend, and puts it to rest; if that fails it is closed. True: its loss puts
    /// others in doubt.
    fn reset_now(&self, mut taken: Taken, started: Instant) -> bool {
        let generation = self.generation();
        let clean = self.bounded(&mut *taken.backend, |backend| backend.reset());
        let now = clock::now();
        self.context().tools.metrics.reset(now.saturating_duration_since(started));
        if !clean {
            let in_doubt = self.note_loss(&mut taken);
            self.close(taken, "reset_failed");
            return in_doubt;
        }
        taken.clean = true;
        self.answered(&mut taken, generation, now);
        self.rest(taken, now);
        false
    }

    /// True if a backend that comes back is to be closed, and not reset.
    pub(in crate::pool) fn closes(&self, taken: &Taken, now: Instant) -> bool {
        self.is_retired()
            || self.account.open.surplus() > 0
            || now >= taken.retire_at
            || self.settings.reset == Reset::Close
    }

    /// [`reset`](Self::reset), which was sent at `asked`, if its answer has come and nothing more
    /// is to be done; else returns the backend. Does not block.
    #[must_use]
    pub(in crate::pool) fn reset_at_once(
        self: &Arc<Self>,
        mut taken: Taken,
        (asked, generation): (Instant, u64),
    ) -> Option<Taken> {
        let now = clock::now();
        if self.closes(&taken, now) {
            return Some(taken);
        }
        // Asked once, because a seat that was promised is not promised again.
        if taken.seat.is_some_and(|seat| self.context().servers.yields(seat)) {
            self.close_later(taken, GAVE_WAY);
            return None;
        }
        if !taken.backend.reset_at_once() {
            return Some(taken);
        }
        self.account.touch();
        self.context().tools.metrics.reset(now.saturating_duration_since(asked));
        taken.clean = true;
        self.answered(&mut taken, generation, now);
        let left = self.store.put_at_once(taken, now);
        self.close_retired();
        left
    }

    /// Breaks off a backend that is lost or in doubt. True: so are others. Does not block.
    #[must_use]
    pub(in crate::pool) fn discard(&self, mut taken: Taken, reason: &str) -> bool {
        let in_doubt = self.note_loss(&mut taken);
        taken.backend.watch().abort_now();
        self.account.touch();
        self.close(taken, reason);
        in_doubt
    }

    /// True if it is too old, or has been idle for too long above the minimum.
    pub(in crate::pool) fn is_old(&self, slot: &Slot, now: Instant) -> bool {
        let idle = now.saturating_duration_since(slot.idle_since);
        // Asked for under the lock of the pool's books, which is no leaf.
        let above = self.account.open.now() > self.settings.min_connections;
        now >= slot.retire_at || (above && idle >= self.settings.idle_timeout)
    }
}
