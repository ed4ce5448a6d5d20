//! What a server must be by `target_session_attrs`, and when to ask again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::dsn::TargetSession;
use crate::pgwire::facts::Facts;

/// What the servers of one tenant must be. After a failover a backend may have
/// become another thing than it was; its errors raise a doubt that holds for all
/// backends which were asked before.
#[derive(Clone)]
pub struct SessionTarget {
    wanted: TargetSession,
    suspicions: Arc<AtomicU64>,
    /// Suspicions that had been raised when this backend was asked last.
    answered: u64,
}

/// The SQLSTATE of a write in a read-only transaction.
const READ_ONLY_TRANSACTION: &str = "25006";

impl SessionTarget {
    /// An target nobody has suspected yet.
    pub fn new(wanted: TargetSession) -> SessionTarget {
        SessionTarget { wanted, suspicions: Arc::default(), answered: 0 }
    }

    /// What is wanted.
    pub fn wanted(&self) -> TargetSession {
        self.wanted
    }

    /// The same for one backend that is taken with less.
    pub fn of_backend(&self, wanted: TargetSession) -> SessionTarget {
        let answered = self.suspicions.load(Ordering::Acquire);
        SessionTarget { wanted, suspicions: Arc::clone(&self.suspicions), answered }
    }

    /// Takes an error of a statement; true if it tells that this backend can no
    /// longer be what is wanted. Or its user has begun a read-only transaction,
    /// which looks the same.
    pub fn is_suspected_by(&self, sqlstate: &str) -> bool {
        let writes = matches!(self.wanted, TargetSession::ReadWrite | TargetSession::Primary);
        let suspected = writes && sqlstate == READ_ONLY_TRANSACTION;
        if suspected {
            self.suspicions.fetch_add(1, Ordering::AcqRel);
        }
        suspected
    }

    /// True if this backend must be asked again before it is used.
    pub fn is_doubtful(&self) -> bool {
        self.wanted != TargetSession::Any
            && self.suspicions.load(Ordering::Acquire) != self.answered
    }

    /// What decides about a backend that was just opened, if that has to be asked: a
    /// query whose first value is `on` or `t` for yes. `Err`: what stands against it, or
    /// nothing, by what it has reported of itself (PostgreSQL 14 and later).
    pub fn question(&self, facts: &Facts) -> Result<&'static str, Option<&'static str>> {
        let is_so = match (Question::of(self.wanted), facts.standby, facts.read_only) {
            (None, ..) => return Err(None),
            (Some(Question::Recovery), Some(standby), _) => standby,
            (Some(Question::ReadOnly), Some(standby), Some(read_only)) => standby || read_only,
            (Some(question), ..) => return Ok(question.sql()),
        };
        Err(self.judge(is_so))
    }

    /// What is to be asked to check a backend, and the suspicions that an answer settles.
    pub fn check(&self) -> Option<(&'static str, Suspicions)> {
        let suspicions = Suspicions(self.suspicions.load(Ordering::Acquire));
        Question::of(self.wanted).map(|question| (question.sql(), suspicions))
    }

    /// Takes the answer; true if the backend still is what is wanted.
    pub fn is_met(&mut self, suspicions: Suspicions, is_so: bool) -> bool {
        let met = self.judge(is_so).is_none();
        if met {
            self.answered = suspicions.0;
        }
        met
    }

    /// What stands against a backend that has answered so.
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

/// What decides about a server.
#[derive(Clone, Copy)]
enum Question {
    ReadOnly,
    Recovery,
}

impl Question {
    fn of(wanted: TargetSession) -> Option<Question> {
        match wanted {
            TargetSession::Any => None,
            TargetSession::ReadWrite | TargetSession::ReadOnly => Some(Question::ReadOnly),
            TargetSession::Primary | TargetSession::Standby | TargetSession::PreferStandby => {
                Some(Question::Recovery)
            }
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Question::ReadOnly => "SHOW transaction_read_only",
            Question::Recovery => "SELECT pg_catalog.pg_is_in_recovery()",
        }
    }
}

/// The suspicions that had been raised when a backend was asked.
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
