//! The DSN that backends are opened with, whose it is, and who has shown it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::connect::Connect;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::acquainted::Acquainted;
use crate::pool::identity::Identity;

/// Where backends come from.
pub struct BackendOrigin {
    pub(in crate::pool) identity: Identity,
    /// The DSN without the password, to say in what another one differs.
    pub(in crate::pool) dsn: Dsn,
    /// Whose client connection brought it.
    pub(in crate::pool) brought_by: CallerId,
    /// The operator has configured it.
    pub(in crate::pool) is_configured: bool,
    /// When.
    pub(in crate::pool) since: Instant,
    pub(in crate::pool) connect: Box<dyn Connect>,
    /// PostgreSQL has asked for its password: one that is wrong is not let in.
    pub(super) asked: AtomicBool,
    /// Who has shown the DSN.
    pub(in crate::pool) acquainted: Acquainted,
}

impl BackendOrigin {
    /// Of backends that are opened by `connect`. The DSN is without its password.
    pub(in crate::pool) fn new(
        identity: Identity,
        dsn: Dsn,
        brought_by: CallerId,
        connect: Box<dyn Connect>,
    ) -> Arc<BackendOrigin> {
        Arc::new(BackendOrigin::made(identity, dsn, brought_by, connect))
    }

    /// The same of a DSN that the operator has configured.
    pub(in crate::pool) fn configured(
        identity: Identity,
        dsn: Dsn,
        operator: CallerId,
        connect: Box<dyn Connect>,
    ) -> Arc<BackendOrigin> {
        let made = BackendOrigin::made(identity, dsn, operator, connect);
        Arc::new(BackendOrigin { is_configured: true, ..made })
    }

    fn made(
        identity: Identity,
        dsn: Dsn,
        brought_by: CallerId,
        connect: Box<dyn Connect>,
    ) -> BackendOrigin {
        BackendOrigin {
            identity,
            dsn,
            brought_by,
            is_configured: false,
            since: clock::now(),
            connect,
            asked: AtomicBool::new(false),
            acquainted: Acquainted::default(),
        }
    }

    /// True if PostgreSQL has asked for the password.
    pub(in crate::pool) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// What to tell who brings this DSN, which is another.
    pub(in crate::pool) fn mismatch(&self, tenant: &TenantId, other: &Dsn) -> RequestError {
        let mut keys = self.dsn.differing(other);
        if keys.is_empty() {
            keys.push("password".to_owned());
        }
        RequestError::DsnMismatch { tenant: tenant.clone(), keys, configured: self.is_configured }
    }
}
