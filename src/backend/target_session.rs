//! What a server must be by `target_session_attrs`, and when to ask again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::dsn::TargetSession;
use crate::pgwire::facts::Facts;

/// What the servers of one tenant must be. After a failover a backend may have
/// become another thing than it was; its errors raise a doubt that holds for all
/// backends which were asked before.
#[derive(Clone)]
pub struct Aim {
    wanted: TargetSession,
    doubts: Arc<AtomicU64>,
    /// Doubts that had been raised when this backend was asked last.
    answered: u64,
}

/// The SQLSTATE of a write in a read-only transaction.
const READ_ONLY_TRANSACTION: &str = "25006";

impl Aim {
    /// An aim nobody has doubted yet.
    pub fn new(wanted: TargetSession) -> Aim {
        Aim { wanted, doubts: Arc::default(), answered: 0 }
    }

    /// What is wanted.
    pub fn wanted(&self) -> TargetSession {
        self.wanted
    }

    /// The same for one backend that is taken with less.
    pub fn of_backend(&self, wanted: TargetSession) -> Aim {
        let answered = self.doubts.load(Ordering::Acquire);
        Aim { wanted, doubts: Arc::clone(&self.doubts), answered }
    }

    /// Takes an error of a statement; true if it tells that this backend can no
    /// longer be what is wanted. Or its user has begun a read-only transaction,
    /// which looks the same.
    pub fn is_doubted_by(&self, sqlstate: &str) -> bool {
        let writes = matches!(self.wanted, TargetSession::ReadWrite | TargetSession::Primary);
        let doubted = writes && sqlstate == READ_ONLY_TRANSACTION;
        if doubted {
            self.doubts.fetch_add(1, Ordering::AcqRel);
        }
        doubted
    }

    /// True if this backend must be asked again before it is used.
    pub fn is_doubtful(&self) -> bool {
        self.wanted != TargetSession::Any && self.doubts.load(Ordering::Acquire) != self.answered
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

    /// What is to be asked to check a backend, and the doubts that an answer settles.
    pub fn check(&self) -> Option<(&'static str, Doubts)> {
        let doubts = Doubts(self.doubts.load(Ordering::Acquire));
        Question::of(self.wanted).map(|question| (question.sql(), doubts))
    }

    /// Takes the answer; true if the backend still is what is wanted.
    pub fn is_met(&mut self, doubts: Doubts, is_so: bool) -> bool {
        let met = self.judge(is_so).is_none();
        if met {
            self.answered = doubts.0;
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

/// The doubts that had been raised when a backend was asked.
#[derive(Debug, Clone, Copy)]
pub struct Doubts(u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_puts_every_backend_in_doubt_where_writing_is_wanted() {
        let aim = Aim::new(TargetSession::Primary);
        let (one, other) = (aim.of_backend(aim.wanted()), aim.of_backend(aim.wanted()));
        assert!(!one.is_doubted_by("23505") && !other.is_doubtful());
        assert!(one.is_doubted_by("25006"));
        assert!(one.is_doubtful() && other.is_doubtful());
        assert!(!aim.of_backend(aim.wanted()).is_doubtful(), "a new one was just asked");
        let reader = Aim::new(TargetSession::Standby);
        assert!(!reader.is_doubted_by("25006") && !reader.is_doubtful());
    }

    #[test]
    fn each_wish_has_its_objection() {
        let against = |wanted, is_so| Aim::new(wanted).judge(is_so).is_some();
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
