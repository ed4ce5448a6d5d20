//! Whether it is worth while to open a backend: a tenant's breaker, and the last
//! words of its database.

use std::time::{Duration, Instant};

use crate::clock;
use crate::core::breaker::{Breaker, Change, Phase, Settings, Ticket, Verdict};
use crate::core::gate::GateState;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::error::{ConnectError, Error};
use crate::lock::Leaf;
use crate::logging;
use crate::pool::tenant::Tenant;
use crate::random;

/// A tenant's breaker. It outlives a tenant that could not be opened (`registry`).
pub(super) struct Opener(Leaf<Guarded>);

struct Guarded {
    breaker: Breaker,
    last: Option<(ConnectError, Instant)>,
}

impl Default for Opener {
    fn default() -> Opener {
        let breaker = Breaker::new(Settings::default());
        Opener(Leaf::new(Guarded { breaker, last: None }))
    }
}

impl Opener {
    fn guarded<T>(&self, look: impl FnOnce(&mut Guarded) -> T) -> T {
        // Whole between the calls of its own, which do not panic half-way.
        look(&mut self.0.lock())
    }

    /// Whether the database was away when it was last looked for.
    pub(super) fn is_troubled(&self) -> bool {
        self.guarded(|guarded| guarded.breaker.is_troubled())
    }

    /// What to tell whoever wants the first backend of this tenant, while the
    /// database is away and it is not time to look again.
    pub(super) fn refusal(&self, tenant: &TenantId) -> Option<Error> {
        let now = clock::now();
        let open = self.guarded(|guarded| {
            let breaker = &guarded.breaker;
            let due = breaker.next_probe().is_some_and(|at| at <= now);
            breaker.phase() != Phase::Closed && !due
        });
        open.then(|| self.error(tenant))
    }

    fn error(&self, tenant: &TenantId) -> Error {
        let now = clock::now();
        let (last, next) = self.guarded(|g| (g.last.clone(), g.breaker.next_probe()));
        // It opens with a failure, so there was one.
        let (cause, at) = last.unwrap_or((ConnectError::Panicked, now));
        Error::BreakerOpen {
            tenant: tenant.clone(),
            cause,
            age: now.saturating_duration_since(at),
            retry: next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)),
        }
    }
}

/// One ticket of the breaker. Dropped unsettled, as when a connect panics, it
/// counts as neither success nor failure.
pub(super) struct Attempt<'a> {
    tenant: &'a Tenant,
    ticket: Option<Ticket>,
    probe: bool,
}

impl Tenant {
    fn guarded<T>(&self, look: impl FnOnce(&mut Guarded) -> T) -> T {
        self.opener.guarded(look)
    }

    /// The right to open a backend.
    ///
    /// # Errors
    /// While the breaker is not closed. But nobody probes for a tenant that has yet
    /// to be opened: there, whoever comes when a probe is due makes it.
    pub(super) fn attempt(&self) -> Result<Attempt<'_>, Error> {
        if let Some(ticket) = self.guarded(|guarded| guarded.breaker.try_open()) {
            return Ok(Attempt { tenant: self, ticket: Some(ticket), probe: false });
        }
        let opening = self.gate().state() == GateState::Opening;
        let probe = opening.then(|| self.probe_attempt(clock::now())).flatten();
        probe.ok_or_else(|| self.breaker_open())
    }

    /// A tenant that was opened has its database: its breaker closes.
    pub(super) fn close_breaker(&self) {
        while let Some(probe) = self.probe_attempt(clock::now()) {
            probe.settle(None);
        }
    }

    /// The right to find out whether a backend can be opened, if it is time.
    pub(super) fn probe_attempt(&self, now: Instant) -> Option<Attempt<'_>> {
        let ticket = self.guarded(|guarded| guarded.breaker.try_probe(now))?;
        Some(Attempt { tenant: self, ticket: Some(ticket), probe: true })
    }

    /// When it will be time.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.guarded(|guarded| guarded.breaker.next_probe())
    }

    /// What the breaker does.
    pub fn breaker(&self) -> Phase {
        self.guarded(|guarded| guarded.breaker.phase())
    }

    fn breaker_open(&self) -> Error {
        self.opener.error(&self.id)
    }

    fn settle_attempt(&self, ticket: Ticket, verdict: Verdict, last: Option<ConnectError>) {
        let (now, jitter) = (clock::now(), random::chance() / 10.0);
        let (change, since) = self.guarded(|guarded| {
            if let Some(last) = last {
                guarded.last = Some((last, now));
            }
            let since = guarded.breaker.since();
            (guarded.breaker.settle(ticket, verdict, now, jitter), since)
        });
        match change {
            Some(Change::Opened) => self.breaker_has_opened(),
            Some(Change::Closed) => {
                let away = since.map(|since| now.saturating_duration_since(since));
                if logging::admits("breaker_closed", Some(&self.id)) {
                    let (id, away) = (&self.id, Secs(away.unwrap_or_default()));
                    log::info!("event=breaker_closed tenant={id} open_for_s={away}");
                }
            }
            None => {}
        }
        if change.is_some() {
            self.context.keeper.due(now);
            if !self.is_opening() {
                self.tell_level();
            }
        }
        if let Some(next) = self.next_probe() {
            self.context.keeper.due(next);
        }
    }

    /// Tells those who wait in vain.
    fn breaker_has_opened(&self) {
        if logging::admits("breaker_opened", Some(&self.id)) {
            let last = self.guarded(|guarded| guarded.last.clone());
            let error = last.map_or_else(String::new, |(cause, _)| cause.to_string());
            let (id, server) = (&self.id, self.connect.servers());
            let (server, error) = (Quoted(&server), Quoted(&error));
            log::warn!("event=breaker_opened tenant={id} server={server} error={error}");
        }
        self.wake_all();
        // Those whose turn comes are answered then. But where no backend is left
        // that could come back, nobody's turn would be worth the wait.
        if self.alive() == 0 {
            self.turn_away(|| self.breaker_open());
        }
    }
}

impl Attempt<'_> {
    /// Settles with what came of it: why it failed, and whether it was hurried.
    pub(super) fn settle(mut self, failed: Option<(&ConnectError, bool)>) {
        let verdict = match failed {
            None => Verdict::Good,
            Some((cause, hurried)) => verdict(cause, hurried, self.probe),
        };
        let last = failed.map(|(cause, _)| cause.clone());
        if let Some(ticket) = self.ticket.take() {
            self.tenant.settle_attempt(ticket, verdict, last);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.tenant.settle_attempt(ticket, Verdict::Neither, None);
        }
    }
}

/// What a failure says of the database. An attempt that was hurried, because its
/// caller's time was short, says nothing when it was late.
fn verdict(cause: &ConnectError, hurried: bool, probe: bool) -> Verdict {
    match cause {
        cause if hurried && cause.was_late() => Verdict::Neither,
        ConnectError::Panicked => Verdict::Neither,
        cause if cause.is_own() => Verdict::Neither,
        // It answers. Whether it is full, or what it says of the password, is for
        // the callers to hear as it is.
        cause if cause.is_full() || !cause.is_retryable() => match probe {
            true => Verdict::Good,
            false => Verdict::Neither,
        },
        _ => Verdict::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_late_in_a_hurry_says_nothing_of_the_database() {
        let target = || "host:1".to_owned();
        let unreachable =
            || ConnectError::Unreachable { target: target(), why: "refused".to_owned() };
        let late =
            || ConnectError::TimedOut { target: target(), step: "TCP", limit: Duration::ZERO };
        let deferred = || ConnectError::Deferred {
            target: target(),
            user: "u".to_owned(),
            refusals: 5,
            retry: Duration::ZERO,
        };
        for (cause, hurried, bad) in [
            (unreachable(), true, true),
            (late(), true, false),
            (late(), false, true),
            (ConnectError::Several(vec![unreachable(), late()]), true, false),
            (ConnectError::Several(vec![unreachable(), late()]), false, true),
            (ConnectError::Starved("no descriptor".to_owned()), false, false),
            (ConnectError::Settings("no TLS".to_owned()), false, false),
            (deferred(), false, false),
        ] {
            for probe in [false, true] {
                let is_bad = verdict(&cause, hurried, probe) == Verdict::Bad;
                assert_eq!(is_bad, bad, "{cause:?} {hurried}");
            }
        }
    }
}
