//! How a lease is told to people: who has what, from where, since when, doing
//! what. Never SQL, never the secret name.

use std::fmt;
use std::time::Instant;

use crate::core::lease_table::View;

/// A lease in a log line.
pub(super) struct Told<'a> {
    pub(super) view: &'a View,
    pub(super) now: Instant,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (view, facts) = (self.view, &self.view.facts);
        let since = |at: Instant| self.now.saturating_duration_since(at);
        write!(
            f,
            "tenant={} lease={} pid={} holder={:?} peer={} held={:?} last_command={:?} transaction={:?}",
            facts.tenant,
            facts.lease_name,
            facts.backend_pid,
            facts.holder,
            facts.peer,
            since(view.granted_at),
            view.last_command,
            view.transaction,
        )?;
        match view.transaction_since {
            Some(at) => write!(f, " in_transaction={:?}", since(at)),
            None => Ok(()),
        }
    }
}
