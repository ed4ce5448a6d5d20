//! What comes from PostgreSQL, or from the way to it.

use std::fmt;
use std::time::Duration;

use crate::core::secs::Secs;

/// An error as PostgreSQL sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PgFault {
    /// ERROR, FATAL or PANIC.
    pub severity: String,
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// Optional second message.
    pub detail: String,
    /// Optional advice.
    pub hint: String,
    /// Character in the statement from 1; 0 = not given.
    pub position: u32,
    /// Schema concerned, if any.
    pub schema: String,
    /// Table concerned, if any.
    pub table: String,
    /// Column concerned, if any.
    pub column: String,
    /// Data type concerned, if any.
    pub datatype: String,
    /// Constraint concerned, if any.
    pub constraint: String,
    /// Call stack in PostgreSQL.
    pub context: String,
    /// The function of PostgreSQL's source that raised it; tells errors of one
    /// SQLSTATE apart, and is not sent on.
    pub routine: String,
}

impl fmt::Display for PgFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.sqlstate)
    }
}

impl std::error::Error for PgFault {}

/// Why a backend could not be opened.
#[derive(Debug, Clone)]
pub enum ConnectError {
    /// PostgreSQL refused role, password, database or settings: no retry helps.
    Rejected(Box<PgFault>),
    /// It was not tried: logins of this user were refused there of late, and those who
    /// would try a password take turns.
    Deferred {
        /// `host:port`.
        target: String,
        /// The role.
        user: String,
        /// How many logins were refused.
        refusals: u32,
        /// When it is the caller's turn.
        retry: Duration,
    },
    /// PostgreSQL is there, but has no slot, or starts, or stops.
    Busy(Box<PgFault>),
    /// It was not tried: the server has no room for one more of this service's
    /// connections, or others who wait for it come first.
    NoRoom {
        /// `address:port`.
        target: String,
        /// The service's connections there.
        used: usize,
        /// Requests that wait for one.
        waiting: usize,
    },
    /// The host could not be reached, or broke off.
    Unreachable {
        /// `host:port`.
        target: String,
        /// The system's words.
        why: String,
    },
    /// No answer within the time for one attempt.
    TimedOut {
        /// `host:port`.
        target: String,
        /// DNS, TCP, or TLS and authentication.
        step: &'static str,
        /// The time it had.
        limit: Duration,
    },
    /// TLS was asked for and could not be had, or another mismatch of settings.
    Settings(String),
    /// The server's certificate does not stand up to what the DSN asks for.
    Untrusted {
        /// `host:port`.
        target: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server is there, but is not what target_session_attrs asks for.
    Unfit {
        /// `host:port`.
        target: String,
        /// What it is.
        why: &'static str,
        /// The value of target_session_attrs.
        wanted: &'static str,
    },
    /// What became of each server, of those that were tried; two or more.
    Several(Vec<ConnectError>),
    /// This service itself lacks what an attempt takes: a file descriptor, a thread.
    /// That says nothing of the database.
    Starved(String),
    /// The attempt panicked; a defect of ours or the driver's.
    Panicked,
}

impl ConnectError {
    /// True if the same attempt may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            ConnectError::Busy(_)
            | ConnectError::NoRoom { .. }
            | ConnectError::Deferred { .. }
            | ConnectError::Unreachable { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::Unfit { .. }
            | ConnectError::Starved(_)
            | ConnectError::Panicked => true,
            ConnectError::Rejected(_)
            | ConnectError::Settings(_)
            | ConnectError::Untrusted { .. } => false,
            ConnectError::Several(_) => self.lead().is_retryable(),
        }
    }

    /// True if a server had no time left to answer.
    pub fn was_late(&self) -> bool {
        match self {
            ConnectError::TimedOut { .. } => true,
            ConnectError::Several(errors) => errors.iter().any(ConnectError::was_late),
            _ => false,
        }
    }

    /// True if PostgreSQL has let the role in, and only then found that it, or its
    /// database, has all the connections that it may have.
    pub fn is_full_for_role(&self) -> bool {
        let after_login = ["InitializeSessionUserId", "CheckMyDatabase", "InitPostgres"];
        match self.lead() {
            ConnectError::Busy(fault) => {
                self.is_full() && after_login.contains(&fault.routine.as_str())
            }
            _ => false,
        }
    }

    /// True if the server has no slot left for anybody but its superusers, or none for
    /// this service.
    pub fn lacks_room(&self) -> bool {
        match self.lead() {
            ConnectError::NoRoom { .. } => true,
            ConnectError::Busy(fault) => is_server_full(fault),
            _ => false,
        }
    }

    /// True if no server was asked, because there is no room.
    pub fn is_kept_back(&self) -> bool {
        matches!(self.lead(), ConnectError::NoRoom { .. })
    }

    /// The failure of several servers: one error if they all say the same.
    pub fn several(mut errors: Vec<ConnectError>) -> ConnectError {
        errors.dedup_by_key(|error| error.to_string());
        match errors.len() {
            1 => errors.remove(0),
            _ => ConnectError::Several(errors),
        }
    }

    /// The one of several failures that says what can be done: a login that was refused
    /// or put off, which ends the search; else that of a server which is full; else one
    /// that may pass by itself.
    pub fn lead(&self) -> &ConnectError {
        let ConnectError::Several(errors) = self else {
            return self;
        };
        let ends = |error: &&ConnectError| {
            matches!(error, ConnectError::Rejected(_) | ConnectError::Deferred { .. })
        };
        let rejected = errors.iter().find(ends);
        let full = |error: &&ConnectError| match error {
            ConnectError::Busy(fault) => is_server_full(fault),
            _ => false,
        };
        let kept_back = |error: &&ConnectError| matches!(error, ConnectError::NoRoom { .. });
        let full = || errors.iter().find(full).or_else(|| errors.iter().find(kept_back));
        let passing = || errors.iter().find(|error| error.is_retryable());
        rejected
            .or_else(full)
            .or_else(passing)
            .or(errors.first())
            .unwrap_or(&ConnectError::Panicked)
    }

    /// True if the database is there and has no slot left: opening less helps
    /// nobody, and what is open goes on.
    pub fn is_full(&self) -> bool {
        matches!(self.lead(), ConnectError::Busy(fault) if fault.sqlstate.starts_with("53"))
    }

    /// True if the password was not tried, which says nothing of it or of the database.
    pub fn is_deferred(&self) -> bool {
        matches!(self.lead(), ConnectError::Deferred { .. })
    }

    /// True if it lies in this service itself, which says nothing of the database: it
    /// lacks something, or has put the try off.
    pub fn is_own(&self) -> bool {
        matches!(
            self.lead(),
            ConnectError::Starved(_) | ConnectError::Deferred { .. } | ConnectError::NoRoom { .. }
        )
    }

    /// The name in metrics of a request that failed for it; callers are told the same.
    pub fn reason(&self) -> &'static str {
        match self.lead() {
            ConnectError::Rejected(_)
            | ConnectError::Settings(_)
            | ConnectError::Untrusted { .. } => "connect_rejected",
            ConnectError::Deferred { .. } => "login_limit",
            ConnectError::Busy(_) if self.is_full() => "database_full",
            ConnectError::NoRoom { .. } => "database_full",
            ConnectError::Busy(_)
            | ConnectError::Unreachable { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::Unfit { .. } => "database_unavailable",
            ConnectError::Starved(_) => "service_limit",
            ConnectError::Panicked | ConnectError::Several(_) => "internal",
        }
    }

    /// The name in metrics of an attempt that failed with it.
    pub fn as_str(&self) -> &'static str {
        match self {
            ConnectError::Rejected(_) => "rejected",
            ConnectError::Deferred { .. } => "deferred",
            ConnectError::Busy(_) => "busy",
            ConnectError::NoRoom { .. } => "no_room",
            ConnectError::Unreachable { .. } => "unreachable",
            ConnectError::TimedOut { .. } => "timed_out",
            ConnectError::Settings(_) => "settings",
            ConnectError::Untrusted { .. } => "untrusted",
            ConnectError::Unfit { .. } => "unfit",
            ConnectError::Several(_) => self.lead().as_str(),
            ConnectError::Starved(_) => "starved",
            ConnectError::Panicked => "panicked",
        }
    }
}

/// True if a server says that it has no slot left, and not only none for a role or a
/// database.
fn is_server_full(fault: &PgFault) -> bool {
    let narrower = ["InitializeSessionUserId", "CheckMyDatabase"];
    fault.sqlstate == "53300" && !narrower.contains(&fault.routine.as_str())
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Rejected(fault) | ConnectError::Busy(fault) => fault.fmt(f),
            ConnectError::Deferred { target, user, refusals, retry } => write!(
                f,
                "{target}: {refusals} logins of user {user:?} were refused there of late, so one \
                 try a second is made and this one was not; its turn is in {} s",
                Secs(*retry)
            ),
            ConnectError::NoRoom { target, used, waiting } => write!(
                f,
                "{target} has no room: this service has {used} connections there, and {waiting} \
                 requests wait for one"
            ),
            ConnectError::Unreachable { target, why } | ConnectError::Untrusted { target, why } => {
                write!(f, "{target}: {why}")
            }
            ConnectError::Unfit { target, why, wanted } => {
                write!(f, "{target}: {why} (target_session_attrs={wanted})")
            }
            ConnectError::Several(errors) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let text = texts.join("; ");
                match text.char_indices().nth(SEVERAL_MAX_CHARS) {
                    Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default()),
                    None => f.write_str(&text),
                }
            }
            ConnectError::TimedOut { target, step, limit } => {
                write!(f, "{target}: no answer within {} s ({step})", Secs(*limit))
            }
            ConnectError::Settings(text) => f.write_str(text),
            ConnectError::Starved(why) => {
                write!(f, "the service itself is short of resources: {why}")
            }
            ConnectError::Panicked => f.write_str("the attempt failed inside the service"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A DSN may name hundreds of servers, and the text travels in gRPC's trailers.
const SEVERAL_MAX_CHARS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> ConnectError {
        ConnectError::Settings(text.to_owned())
    }

    #[test]
    fn of_several_failures_the_one_that_says_what_can_be_done_leads() {
        let rejected = || ConnectError::Rejected(Box::default());
        let away = || ConnectError::Unreachable { target: "h:1".to_owned(), why: "w".to_owned() };
        let lead = |errors| ConnectError::several(errors).lead().as_str();
        assert_eq!(lead(vec![away(), rejected()]), "rejected");
        assert_eq!(lead(vec![settings("s"), away()]), "unreachable");
        assert_eq!(lead(vec![settings("s"), settings("t")]), "settings");
        assert!(!ConnectError::several(vec![away(), rejected()]).is_retryable());
        assert!(ConnectError::several(vec![settings("s"), away()]).is_retryable());
    }

    #[test]
    fn a_server_is_full_for_all_or_for_a_role_or_a_database_only() {
        let full = |sqlstate: &str, routine: &str| {
            let (sqlstate, routine) = (sqlstate.to_owned(), routine.to_owned());
            ConnectError::Busy(Box::new(PgFault { sqlstate, routine, ..PgFault::default() }))
        };
        for (error, is) in [
            (full("53300", "InitPostgres"), true),
            (full("53300", "ProcessStartupPacket"), true),
            (full("53300", "InitializeSessionUserId"), false),
            (full("53300", "CheckMyDatabase"), false),
            (full("53200", ""), false),
            (full("57P03", ""), false),
        ] {
            assert_eq!(error.lacks_room(), is, "{error:?}");
            let away = ConnectError::Unreachable { target: "h:1".to_owned(), why: "w".to_owned() };
            assert_eq!(ConnectError::several(vec![away, error]).lacks_room(), is);
        }
    }

    #[test]
    fn several_failures_are_all_told_once_and_not_at_any_length() {
        let text = |errors| ConnectError::several(errors).to_string();
        assert_eq!(text(vec![settings("a"), settings("a")]), "a");
        assert_eq!(text(vec![settings("a"), settings("b")]), "a; b");
        let many = (0..1000).map(|i| settings(&format!("\u{fc}{i}"))).collect();
        let long = text(many);
        assert!(long.chars().count() == SEVERAL_MAX_CHARS + 1 && long.ends_with('…'), "{long}");
    }
}
