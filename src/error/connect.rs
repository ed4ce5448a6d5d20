//! Why a backend could not be opened.

mod display;

use std::time::Duration;

use crate::error::PgFault;

/// Why a backend could not be opened.
#[derive(Debug, Clone)]
pub enum ConnectError {
    /// PostgreSQL refused role, password, database or settings: no retry helps.
    Rejected(Box<PgFault>),
    /// Not attempted: logins of this user were refused there recently, and attempts are
    /// limited to one a second.
    Deferred {
        /// `host:port`.
        target: String,
        /// The role.
        user: String,
        /// How many logins were refused.
        refusals: u32,
        /// When the caller's attempt is due.
        retry: Duration,
    },
    /// PostgreSQL is up, but has no free slot, or is starting or stopping.
    Busy(Box<PgFault>),
    /// Not attempted: the server has no room for another connection of this service, or
    /// earlier requests are waiting for it.
    NoRoom {
        /// `address:port`.
        target: String,
        /// The service's connections there.
        used: usize,
        /// Requests that wait for one.
        waiting: usize,
    },
    /// The host could not be reached, or closed the connection.
    Unreachable {
        /// `host:port`.
        target: String,
        /// The system's error.
        why: String,
    },
    /// No answer within the time limit of the attempt.
    TimedOut {
        /// `host:port`.
        target: String,
        /// DNS, TCP, or TLS and authentication.
        step: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The server does not support the TLS that the DSN requires, or another mismatch of
    /// settings.
    Settings(String),
    /// The server's certificate failed the verification that the DSN requires.
    Untrusted {
        /// `host:port`.
        target: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not attempted: no address of the host is one that a client may name, or none was found.
    Forbidden {
        /// `host:port`, as the DSN names it.
        target: String,
        /// Why none was found, for the log alone; `None`: some were.
        why: Option<String>,
    },
    /// The server does not have the role that target_session_attrs requires.
    WrongRole {
        /// `host:port`.
        target: String,
        /// What it is.
        why: &'static str,
        /// The value of target_session_attrs.
        wanted: &'static str,
    },
    /// The failure of each server that was tried; two or more.
    Several(Vec<ConnectError>),
    /// The service lacks a resource for an attempt: a file descriptor, a thread. That says
    /// nothing about the database.
    Starved(String),
    /// The attempt panicked: a defect of the service or the driver.
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
            | ConnectError::Untrusted { .. }
            | ConnectError::Forbidden { .. } => false,
            ConnectError::Several(_) => self.lead().is_retryable(),
        }
    }

    /// True if a server did not answer in time.
    pub fn was_late(&self) -> bool {
        match self {
            ConnectError::TimedOut { .. } => true,
            ConnectError::Several(errors) => errors.iter().any(ConnectError::was_late),
            _ => false,
        }
    }

    /// True if PostgreSQL accepted the login, and then refused the session because the role
    /// or the database is at its connection limit.
    pub fn is_full_for_role(&self) -> bool {
        let after_login = ["InitializeSessionUserId", "CheckMyDatabase", "InitPostgres"];
        match self.lead() {
            ConnectError::Busy(fault) => {
                self.is_full() && after_login.contains(&fault.routine.as_str())
            }
            _ => false,
        }
    }

    /// True if the server has no slot left except those reserved for superusers, or none
    /// for this service.
    pub fn lacks_room(&self) -> bool {
        match self.lead() {
            ConnectError::NoRoom { .. } => true,
            ConnectError::Busy(fault) => is_server_full(fault),
            _ => false,
        }
    }

    /// True if no server was dialled, because there is no room.
    pub fn is_kept_back(&self) -> bool {
        matches!(self.lead(), ConnectError::NoRoom { .. })
    }

    /// The failure of several servers: one error if all are the same.
    pub fn several(mut errors: Vec<ConnectError>) -> ConnectError {
        errors.dedup_by_key(|error| error.to_string());
        match errors.len() {
            1 => errors.remove(0),
            _ => ConnectError::Several(errors),
        }
    }

    /// The most useful of several failures: a login that was refused or deferred, which
    /// ends the search; else that of a full server; else a retryable one.
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

    /// True if the database is up and has no slot left: its open connections work, so the
    /// breaker must not open.
    pub fn is_full(&self) -> bool {
        matches!(self.lead(), ConnectError::Busy(fault) if fault.sqlstate.starts_with("53"))
    }

    /// True if the password was not tried, which says nothing about it or the database.
    pub fn is_deferred(&self) -> bool {
        matches!(self.lead(), ConnectError::Deferred { .. })
    }

    /// True if the cause is the service itself, which says nothing about the database: it
    /// lacks a resource, or deferred the attempt.
    pub fn is_own(&self) -> bool {
        matches!(
            self.lead(),
            ConnectError::Starved(_) | ConnectError::Deferred { .. } | ConnectError::NoRoom { .. }
        )
    }

    /// The reason in metrics and in the error details of a request that failed for it.
    pub fn reason(&self) -> &'static str {
        match self.lead() {
            ConnectError::Rejected(_)
            | ConnectError::Settings(_)
            | ConnectError::Untrusted { .. } => "connect_rejected",
            ConnectError::Forbidden { .. } => "host_not_allowed",
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
            ConnectError::Forbidden { .. } => "forbidden",
            ConnectError::WrongRole { .. } => "unfit",
            ConnectError::Several(_) => self.lead().as_str(),
            ConnectError::Starved(_) => "starved",
            ConnectError::Panicked => "panicked",
        }
    }
}

/// True if a server has no slot left for anyone, and not only for a role or a database.
fn is_server_full(fault: &PgFault) -> bool {
    let narrower = ["InitializeSessionUserId", "CheckMyDatabase"];
    fault.sqlstate == "53300" && !narrower.contains(&fault.routine.as_str())
}

#[cfg(test)]
mod tests;
