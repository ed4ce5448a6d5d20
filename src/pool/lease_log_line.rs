//! Formats a lease for the log: who has it, from where, since when, and what it does. Never SQL,
//! never the secret name.

use std::fmt;
use std::time::Instant;

use crate::core::lease_table::LeaseView;
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
