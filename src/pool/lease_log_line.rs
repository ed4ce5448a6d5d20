//! Formats a lease for the log: who has it, from where, since when, and what it does. Never SQL,
//! never the secret name.

use std::fmt;
use std::time::Instant;

use crate::core::lease_table::{EndReason, LeaseView};
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;

/// A lease in a log line.
pub(super) struct LeaseLogLine<'a> {
    pub(super) view: &'a LeaseView,
    pub(super) now: Instant,
}

impl fmt::Display for LeaseLogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (view, facts) = (self.view, &self.view.facts);
        let since = |at: Instant| Secs(self.now.saturating_duration_since(at));
        write!(
            f,
            "tenant={} lease={} pid={} holder={} peer={}",
            facts.tenant,
            facts.lease_name,
            facts.backend_pid,
            Quoted(&facts.holder),
            facts.peer,
        )?;
        if let Some(identity) = &facts.identity {
            write!(f, " {identity}")?;
        }
        write!(
            f,
            " held_s={} last_command={} transaction={}",
            since(view.granted_at),
            Quoted(&view.last_command),
            view.transaction.as_str(),
        )?;
        match view.transaction_since {
            Some(at) => write!(f, " in_transaction_s={}", since(at)),
            None => Ok(()),
        }
    }
}

/// The log level of the end of a lease. What a clock ends was forgotten, or took too
/// long, and a stop ends what its holder still uses: somebody has to look into either.
pub(super) fn level_of_end(reason: EndReason) -> log::Level {
    match reason {
        EndReason::Released | EndReason::Undelivered => log::Level::Debug,
        EndReason::StreamLost | EndReason::Revoked | EndReason::TenantRemoved => log::Level::Info,
        EndReason::Ttl
        | EndReason::IdleInTransaction
        | EndReason::MaxLifetime
        | EndReason::BackendLost
        | EndReason::Shutdown => log::Level::Warn,
    }
}
