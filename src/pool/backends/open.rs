//! How an idle backend is taken, or a new one opened. All of it blocks, so it runs on
//! workers.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::Backends;
use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::config::LEAST_LIFETIME;
use crate::core::quoted::Quoted;
use crate::core::repeats::Repeated;
use crate::core::secs::Secs;
use crate::error::ConnectError;
use crate::logging;
use crate::pool::breaker::{BreakerChange, OpenAttempt};
use crate::pool::memory::Use;
use crate::pool::numbers::During;
use crate::pool::open_backends::OpenCount;
use crate::pool::servers::{Visit, Wants};
use crate::pool::store::{ForPermit, Taken};
use crate::random;

/// What is there for a permit.
pub(in crate::pool) enum Taking {
    /// An idle backend that works.
    Ready(Taken),
    /// None is idle, and one may be opened.
    Open(OpenCount),
    /// As many are open as may be; some of them are being closed.
    Full,
    /// One was idle and did not answer; it is closed. True: others are in doubt.
    Broken(bool),
    /// One did not answer within what its caller waits.
    Late(ConnectError),
    /// Others have taken their place.
    Retired,
}

impl Backends {
    /// Takes an idle backend that works, for a caller who waits so long. `mute`: one has not
    /// answered in time, and a second that does not would cost as much time again.
    pub(in crate::pool) fn take(&self, left: Duration, mute: &mut bool) -> Taking {
        let mut taken = match self.store.take_or_reserve() {
            ForPermit::Idle(taken) => taken,
            // What has just been taken to be closed is still open.
            ForPermit::Open(_) | ForPermit::Full if self.is_retired() => return Taking::Retired,
            ForPermit::Open(count) => return Taking::Open(count),
            ForPermit::Full => return Taking::Full,
        };
        // Costs no round trip, and shows what PostgreSQL has closed by itself.
        let quiet = taken.backend.is_quiet();
        let silent = clock::now().saturating_duration_since(taken.answered_at);
        let fresh = silent <= self.settings.check_after_idle && !self.is_doubtful(&taken);
        let (asked_at, limit) = (clock::now(), self.settings.check_timeout.min(left));
        if quiet && (fresh || (!*mute && self.answers(&mut taken, limit))) {
            return Taking::Ready(taken);
        }
        let late = clock::now().saturating_duration_since(asked_at) >= limit;
        if late && limit < self.settings.check_timeout {
            // It had too little time to say anything of the others.
            self.close(taken, "failed_check");
            let (target, step) = ("an idle connection".to_owned(), "check");
            return Taking::Late(ConnectError::TimedOut { target, step, limit });
        }
        *mute |= late;
        Taking::Broken(self.broken(taken))
    }

    /// Takes the idle backend that was used last, if it can be used as it is: it has answered
    /// just now, and nothing has come from it since. Does not block.
    pub(in crate::pool) fn take_ready(self: &Arc<Self>) -> Option<Taken> {
        let mut taken = self.store.take_at_once()?;
        let silent = clock::now().saturating_duration_since(taken.answered_at);
        let fresh = silent <= self.settings.check_after_idle && !self.is_doubtful(&taken);
        let ready = fresh && taken.backend.is_silent();
        if ready && !self.is_retired() {
            return Some(taken);
        }
        taken.clean = true;
        // To be looked at is not to be used.
        let since = taken.idle_since;
        self.store.put(taken, since);
        self.close_retired();
        None
    }

    /// Counts a backend that is to be opened with a permit that is out. Where idle
    /// ones leave no room for it, one of them goes.
    pub(in crate::pool) fn make_room(&self) -> Option<OpenCount> {
        if let Some(count) = self.store.reserve_below(usize::MAX) {
            return Some(count);
        }
        let taken = self.store.take()?;
        self.close(taken, "probe");
        self.store.reserve_below(usize::MAX)
    }

    /// One attempt to open a backend, with `patience` at most. Settles `attempt`, and
    /// returns what that has changed.
    pub(in crate::pool) fn open(
        &self,
        count: OpenCount,
        patience: Duration,
        attempt: OpenAttempt,
        wants: &mut Wants,
    ) -> (Result<Taken, ConnectError>, BreakerChange) {
        let opening = During::new(&self.account.numbers.opening);
        let (started, generation) = (clock::now(), self.generation());
        let watch = Arc::<Watch>::default();
        watch.count_in(self.context().memory.share(Use::Partial, &[self.account.memory()]));
        let limit = self.settings.connect_timeout.min(patience);
        let alarm = self.guard(&watch, limit);
        let visit = Visit::new(&self.account.owner, wants);
        let outcome = self.origin.connect.connect(&watch, limit, &visit);
        let seat = visit.seat();
        drop(alarm);
        watch.end();
        self.origin.asked.fetch_or(watch.was_asked(), Ordering::AcqRel);
        let born = clock::now();
        let took = born.saturating_duration_since(started);
        let backend = match outcome {
            Ok(backend) => backend,
            Err(cause) => {
                if !cause.is_kept_back() {
                    self.account.series().open_failed(cause.as_str());
                    self.log_open_failure(&cause, took);
                }
                let hurried = limit < self.settings.connect_timeout;
                // Neither counts any more by the time that the request fails.
                drop((opening, count));
                let change = attempt.settle(Some((&cause, hurried)));
                return (Err(cause), change);
            }
        };
        let change = attempt.settle(None);
        self.is_let_in();
        self.account.admit_series();
        self.account.series().opened(took);
        let pid = backend.pid();
        log::debug!("event=backend_opened tenant={} pid={pid} elapsed_s={}", self.id(), Secs(took));
        let retire_at = born + self.lifetime();
        let taken = self.store.bring_in(backend, (count, seat), born, retire_at);
        drop(opening);
        let Some(mut taken) = taken else {
            log::error!("event=pool_rejected_backend tenant={} pid={pid}", self.id());
            return (Err(ConnectError::Panicked), change);
        };
        self.answered(&mut taken, generation, born);
        (Ok(taken), change)
    }

    fn log_open_failure(&self, cause: &ConnectError, took: Duration) {
        let error = cause.to_string();
        // Whoever guesses may be put off as often as it likes, and nothing was tried. A
        // server that is full has an event of its own.
        let (level, repeated) = match cause.is_deferred() || cause.lacks_room() {
            true => (Level::Debug, Some(Repeated(0))),
            false => {
                (Level::Warn, logging::admits_state("connect_failed", self.id(), cause.as_str()))
            }
        };
        if let Some(repeated) = repeated {
            let (id, by, took) = (self.id(), &self.origin.brought_by, Secs(took));
            let (server, reason) = (self.origin.connect.servers(), cause.as_str());
            let (server, told) = (Quoted(&server), cause.in_full());
            let error_in_full = Quoted(&told);
            log::log!(
                level,
                "event=connect_failed tenant={id} server={server} {by} reason={reason} \
                 elapsed_s={took} error={error_in_full}{repeated}"
            );
        }
        if !cause.is_deferred() {
            self.note_open_failure(cause, &error);
        }
    }

    /// The lifetime of one backend, with its jitter taken off, but for the least there is.
    fn lifetime(&self) -> Duration {
        let off = random::chance() * self.settings.lifetime_jitter;
        let least = LEAST_LIFETIME.min(self.settings.max_lifetime);
        self.settings.max_lifetime.mul_f64(1.0 - off).max(least)
    }
}
