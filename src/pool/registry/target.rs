//! How a request names its tenant.

use std::sync::Arc;

use super::given::GivenDsn;
use super::Registry;
use crate::core::ids::TenantId;
use crate::pool::identity::Fingerprint;

/// How a request names its tenant.
pub struct Target {
    pub tenant: TenantId,
    /// Its DSN, if the request brought one.
    pub dsn: Option<Arc<GivenDsn>>,
}

impl Registry {
    /// What tells this DSN from others. Worked out once for a text that is remembered.
    pub(in crate::pool) fn fingerprint(&self, dsn: &GivenDsn) -> Fingerprint {
        *dsn.digest.get_or_init(|| self.digests.fingerprint(dsn))
    }
}
