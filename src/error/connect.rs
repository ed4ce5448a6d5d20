//! Why a backend could not be opened.

mod display;

use std::time::Duration;

use crate::error::PgFault;

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
    WrongRole {
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
            | ConnectError::WrongRole { .. }
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
            | ConnectError::WrongRole { .. } => "database_unavailable",
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
            ConnectError::WrongRole { .. } => "unfit",
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

#[cfg(test)]
mod tests;
