//! How a request names its tenant.

use std::sync::OnceLock;

use super::Registry;
use crate::config::dsn::Dsn;
use crate::core::ids::TenantId;
use crate::pool::identity::Fingerprint;

/// How a request names its tenant.
pub struct Target {
    pub tenant: TenantId,
    /// Its DSN, if the request brought one.
    pub dsn: Option<Dsn>,
    /// What tells that from others, once somebody has asked.
    digest: OnceLock<Fingerprint>,
}

impl Target {
    /// This tenant, with the DSN that the request brought.
    pub fn new(tenant: TenantId, dsn: Option<Dsn>) -> Target {
        Target { tenant, dsn, digest: OnceLock::new() }
    }
}

impl Registry {
    /// What tells this DSN of the target from others. Worked out once for a request.
    pub(in crate::pool) fn fingerprint(&self, target: &Target, dsn: &Dsn) -> Fingerprint {
        *target.digest.get_or_init(|| self.digests.fingerprint(dsn))
    }
}
