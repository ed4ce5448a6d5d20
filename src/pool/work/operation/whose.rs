//! Whose work an operation is, for the log.

use std::fmt;

use super::Operation;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::repeats::Repeated;
use crate::error::CancelCause;
use crate::logging::{admits, admits_state};

/// Whose work an operation is.
pub(super) struct Whose {
    tenant: TenantId,
    /// None: it is a one-shot's.
    lease_name: Option<String>,
    /// Who asked for it, if that is known.
    identity: Option<CallerId>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " tenant={}", self.tenant)?;
        self.lease_name.as_ref().map_or(Ok(()), |lease| write!(f, " lease={lease}"))?;
        self.identity.as_ref().map_or(Ok(()), |identity| write!(f, " {identity}"))
    }
}

impl Operation {
    /// Whose work it is, for the log. Only the first answer counts.
    pub(in crate::pool) fn belongs_to(
        &self,
        tenant: &TenantId,
        lease_name: Option<&str>,
        identity: Option<&CallerId>,
    ) {
        let (tenant, lease_name) = (tenant.clone(), lease_name.map(str::to_owned));
        let _ = self.whose.set(Whose { tenant, lease_name, identity: identity.cloned() });
    }

    /// Whose work it is, as the part of a log line behind the name of its event.
    pub(in crate::pool) fn whose(&self) -> String {
        self.whose.get().map(Whose::to_string).unwrap_or_default()
    }

    /// Whether a line of this event may be written, and what belongs into it.
    pub(super) fn told(
        &self,
        event: &'static str,
        cause: CancelCause,
    ) -> Option<(String, Repeated)> {
        let Some(whose) = self.whose.get() else {
            return admits(event, None).then(|| (String::new(), Repeated(0)));
        };
        let repeated = admits_state(event, &whose.tenant, cause.as_str())?;
        Some((whose.to_string(), repeated))
    }
}
