//! Labels with closed sets of values, and a counter created in advance for each value.

use prometheus::{IntCounter, IntCounterVec};

/// Why a request got no backend, by `RequestError::as_str`.
pub(super) const ACQUIRE_FAILURES: &[&str] = &[
    "wait_timeout",
    "caller_gone",
    "queue_full",
    "caller_limit",
    "service_limit",
    "connect_rejected",
    "login_limit",
    "database_full",
    "database_unavailable",
    "breaker_open",
    "dsn_mismatch",
    "dsn_not_taken",
    "host_not_allowed",
    "tenant_not_found",
    "invalid_argument",
    "tenant_paused",
    "draining",
    "internal",
];

/// What became of a write of the state file.
pub(super) const STATE_WRITES: &[&str] = &["kept", "failed"];

/// Why a backend could not be opened, by `ConnectError::as_str`.
pub(super) const OPEN_FAILURES: &[&str] = &[
    "rejected",
    "deferred",
    "busy",
    "unreachable",
    "timed_out",
    "settings",
    "untrusted",
    "forbidden",
    "unfit",
    "starved",
    "panicked",
];

/// Why a backend was closed.
pub(super) const CLOSES: &[&str] = &[
    "idle",
    "max_lifetime",
    "failed_check",
    "reset_failed",
    "reset_policy",
    "lost",
    "pool_closed",
    "password_changed",
    "replaced",
    "resized",
    "probe",
    "health_check",
    "gave_way",
    "look",
    "unknown_lease",
    "other",
];

/// Why a request that ran SQL failed, by `RequestError::as_str`.
pub(super) const OPERATION_FAILURES: &[&str] = &[
    "sql",
    "statement_timeout",
    "cancelled",
    "backend_lost",
    "lookup",
    "parameter",
    "undecodable",
    "result_too_large",
    "rolled_back",
    "left_open",
    "unsupported",
    "internal",
];

/// Errors that a request may be answered with, by `RequestError::as_str`.
pub(super) const ERRORS: &[&str] = &[
    "invalid_argument",
    "request_timeout",
    "lease_not_found",
    "lease_ended",
    "lease_busy",
    "lease_on_stream",
    "tenant_not_found",
    "dsn_mismatch",
    "dsn_not_taken",
    "queue_full",
    "service_limit",
    "wait_timeout",
    "caller_limit",
    "rate_limited",
    "superseded",
    "tenant_paused",
    "reload_failed",
    "draining",
    "connect_rejected",
    "host_not_allowed",
    "login_limit",
    "database_full",
    "database_unavailable",
    "breaker_open",
    "backend_lost",
    "sql",
    "lookup",
    "statement_timeout",
    "cancelled",
    "parameter",
    "undecodable",
    "result_too_large",
    "rolled_back",
    "left_open",
    "unsupported",
    "unauthenticated",
    "permission_denied",
    "internal",
];

/// Who wanted a statement cancelled, by `CancelCause::as_str`.
pub(super) const CANCELS: &[&str] = &[
    "caller",
    "timeout",
    "release",
    "max_lifetime",
    "result_too_large",
    "notices",
    "stalled",
    "stream_lost",
    "unfinished",
    "revoked",
    "shutdown",
];
pub(super) const CANCEL_RESULTS: &[&str] = &["sent", "sent_again", "failed"];

/// The state in which a tenant was removed to make room.
pub(super) const GAVE_WAY: &[&str] = &["opening", "unused"];

/// Why a client connection was closed, by `ConnectionExcess::as_str`.
pub(super) const CONNECTIONS: &[&str] = &["total", "address", "streams", "unread", "stray"];

/// A counter for each value of one label. A value that is not in the set is counted as
/// the last one, so that there are never more series than these.
pub(super) struct Closed(Vec<(&'static str, IntCounter)>);

impl Closed {
    /// Counters at 0; `tenant` is the value of a second label.
    pub(super) fn new(
        family: &IntCounterVec,
        names: &[&'static str],
        tenant: Option<&str>,
    ) -> Closed {
        let counter = |name: &&'static str| {
            let labels: Vec<&str> = [*name].into_iter().chain(tenant).collect();
            (*name, family.with_label_values(&labels))
        };
        Closed(names.iter().map(counter).collect())
    }

    /// Counts one.
    pub(super) fn inc(&self, name: &str) {
        // For a dozen short words this is faster than a hash, and takes no lock.
        let found = self.0.iter().find(|(known, _)| *known == name).or(self.0.last());
        if let Some((_, counter)) = found {
            counter.inc();
        }
    }
}

/// A counter for each pair of values of two labels.
pub(super) struct Crossed(Vec<(&'static str, Closed)>);

impl Crossed {
    /// Counters at 0.
    pub(super) fn new(
        family: &IntCounterVec,
        first: &[&'static str],
        second: &[&'static str],
    ) -> Crossed {
        let of = |name: &&'static str| {
            let counter = |other: &&'static str| (*other, family.with_label_values(&[name, other]));
            (*name, Closed(second.iter().map(counter).collect()))
        };
        Crossed(first.iter().map(of).collect())
    }

    /// Counts one.
    pub(super) fn inc(&self, first: &str, second: &str) {
        let found = self.0.iter().find(|(known, _)| *known == first).or(self.0.last());
        if let Some((_, closed)) = found {
            closed.inc(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;
    use crate::error::CancelCause;

    #[test]
    fn what_is_in_no_set_is_counted_as_the_last_and_makes_no_series() {
        let family = IntCounterVec::new(Opts::new("a", "a"), &["reason", "tenant"]).expect("one");
        let closed = Closed::new(&family, CLOSES, Some("t"));
        closed.inc("idle");
        closed.inc("something new");
        let value = |name| family.with_label_values(&[name, "t"]).get();
        assert_eq!((value("idle"), value("other"), value("lost")), (1, 1, 0));
        let series = prometheus::core::Collector::collect(&family);
        assert_eq!(series[0].get_metric().len(), CLOSES.len());
    }

    #[test]
    fn no_value_begins_like_another_so_that_the_crate_keeps_series_apart() {
        for set in [ACQUIRE_FAILURES, OPEN_FAILURES, CLOSES, OPERATION_FAILURES, CANCELS] {
            for one in set {
                let like = set.iter().filter(|other| other.starts_with(one)).count();
                assert_eq!(like, 1, "{one}");
            }
        }
    }

    #[test]
    fn every_cause_of_a_cancel_has_a_counter() {
        for cause in [
            CancelCause::Caller,
            CancelCause::Timeout,
            CancelCause::Release,
            CancelCause::MaxLifetime,
            CancelCause::Excess,
            CancelCause::Notices,
            CancelCause::Stalled,
            CancelCause::Stream,
            CancelCause::Unfinished,
            CancelCause::Revoked,
            CancelCause::Shutdown,
        ] {
            assert!(CANCELS.contains(&cause.as_str()), "{cause:?}");
        }
    }

    #[test]
    fn what_a_tenant_counts_is_among_what_requests_are_answered_with() {
        for name in ACQUIRE_FAILURES.iter().chain(OPERATION_FAILURES) {
            // A caller who has left is not answered.
            assert!(ERRORS.contains(name) || *name == "caller_gone", "{name}");
        }
    }
}
