//! The server role that `target_session_attrs` requires, and when to check it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::dsn::TargetSession;
use crate::pgwire::facts::Facts;

/// The server role that one tenant requires. A failover can change the role of an open
/// backend's server: an error that suggests it makes every backend suspect that was checked
/// before.
#[derive(Clone)]
pub struct SessionTarget {
    wanted: TargetSession,
    suspicions: Arc<AtomicU64>,
    /// The number of suspicions when this backend was last checked.
    answered: u64,
}

/// The SQLSTATE of a write in a read-only transaction.
const READ_ONLY_TRANSACTION: &str = "25006";

impl SessionTarget {
    /// A target without suspicions.
    pub fn new(wanted: TargetSession) -> SessionTarget {
        SessionTarget { wanted, suspicions: Arc::default(), answered: 0 }
    }

    /// What is wanted.
    pub fn wanted(&self) -> TargetSession {
        self.wanted
    }

    /// The target of one backend, which may be accepted with a weaker requirement.
    pub fn of_backend(&self, wanted: TargetSession) -> SessionTarget {
        let answered = self.suspicions.load(Ordering::Acquire);
        SessionTarget { wanted, suspicions: Arc::clone(&self.suspicions), answered }
    }

    /// Records the error of a statement. Returns true if it suggests that the server has
    /// changed its role. A write in a read-only transaction that the user began looks the
    /// same.
    pub fn is_suspected_by(&self, sqlstate: &str) -> bool {
        let writes = matches!(self.wanted, TargetSession::ReadWrite | TargetSession::Primary);
        let suspected = writes && sqlstate == READ_ONLY_TRANSACTION;
        if suspected {
            self.suspicions.fetch_add(1, Ordering::AcqRel);
        }
        suspected
    }

    /// True if this backend must be checked before it is used.
    pub fn is_doubtful(&self) -> bool {
        self.wanted != TargetSession::Any
            && self.suspicions.load(Ordering::Acquire) != self.answered
    }

    /// The query that decides whether a backend just opened is accepted; its first value is
    /// `on` or `t` for yes. `Err`: no query is needed, because the server has reported its
    /// role (PostgreSQL 14 and later); it holds the objection, if any.
    pub fn question(&self, facts: &Facts) -> Result<&'static str, Option<&'static str>> {
        let is_so = match (StateQuestion::of(self.wanted), facts.standby, facts.read_only) {
            (None, ..) => return Err(None),
            (Some(StateQuestion::Recovery), Some(standby), _) => standby,
            (Some(StateQuestion::ReadOnly), Some(standby), Some(read_only)) => standby || read_only,
            (Some(question), ..) => return Ok(question.sql()),
        };
        Err(self.judge(is_so))
    }

    /// The query that checks a backend, and the suspicions that its answer settles.
    pub fn check(&self) -> Option<(&'static str, Suspicions)> {
        let suspicions = Suspicions(self.suspicions.load(Ordering::Acquire));
        StateQuestion::of(self.wanted).map(|question| (question.sql(), suspicions))
    }

    /// Records the answer. Returns true if the server still has the required role.
    pub fn is_met(&mut self, suspicions: Suspicions, is_so: bool) -> bool {
        let met = self.judge(is_so).is_none();
        if met {
            self.answered = suspicions.0;
        }
        met
    }

    /// The objection to a backend with this answer.
    pub fn judge(&self, is_so: bool) -> Option<&'static str> {
        match (self.wanted, is_so) {
            (TargetSession::ReadWrite, true) => Some("the session is read-only"),
            (TargetSession::ReadOnly, false) => Some("the session is not read-only"),
            (TargetSession::Primary, true) => Some("the server is in hot standby mode"),
            (TargetSession::Standby | TargetSession::PreferStandby, false) => {
                Some("the server is not in hot standby mode")
            }
            _ => None,
        }
    }
}

/// The property that decides.
#[derive(Clone, Copy)]
enum StateQuestion {
    ReadOnly,
    Recovery,
}

impl StateQuestion {
    fn of(wanted: TargetSession) -> Option<StateQuestion> {
        match wanted {
            TargetSession::Any => None,
            TargetSession::ReadWrite | TargetSession::ReadOnly => Some(StateQuestion::ReadOnly),
            TargetSession::Primary | TargetSession::Standby | TargetSession::PreferStandby => {
                Some(StateQuestion::Recovery)
            }
        }
    }

    fn sql(self) -> &'static str {
        match self {
            StateQuestion::ReadOnly => "SHOW transaction_read_only",
            StateQuestion::Recovery => "SELECT pg_catalog.pg_is_in_recovery()",
        }
    }
}

/// The number of suspicions when a backend was checked.
#[derive(Debug, Clone, Copy)]
pub struct Suspicions(u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_puts_every_backend_in_doubt_where_writing_is_wanted() {
        let target = SessionTarget::new(TargetSession::Primary);
        let (one, other) = (target.of_backend(target.wanted()), target.of_backend(target.wanted()));
        assert!(!one.is_suspected_by("23505") && !other.is_doubtful());
        assert!(one.is_suspected_by("25006"));
        assert!(one.is_doubtful() && other.is_doubtful());
        assert!(!target.of_backend(target.wanted()).is_doubtful(), "a new one was just asked");
        let reader = SessionTarget::new(TargetSession::Standby);
        assert!(!reader.is_suspected_by("25006") && !reader.is_doubtful());
    }

    #[test]
    fn each_wish_has_its_objection() {
        let against = |wanted, is_so| SessionTarget::new(wanted).judge(is_so).is_some();
        for (wanted, if_so, if_not) in [
            (TargetSession::Any, false, false),
            (TargetSession::ReadWrite, true, false),
            (TargetSession::ReadOnly, false, true),
            (TargetSession::Primary, true, false),
            (TargetSession::Standby, false, true),
            (TargetSession::PreferStandby, false, true),
        ] {
            assert_eq!((against(wanted, true), against(wanted, false)), (if_so, if_not));
        }
    }
}
