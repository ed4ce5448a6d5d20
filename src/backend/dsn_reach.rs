//! What a DSN may name.

use std::sync::Arc;

use crate::backend::cert_files::FileScope;
use crate::core::allowed_hosts::AllowedHosts;

/// What a DSN may name, by who has brought it.
#[derive(Clone, Debug)]
pub struct DsnReach {
    /// The files.
    pub files: FileScope,
    /// The hosts.
    pub hosts: Arc<AllowedHosts>,
}

impl DsnReach {
    /// Anything: the DSN is the operator's own.
    pub fn anything() -> DsnReach {
        DsnReach { files: FileScope::Any, hosts: Arc::default() }
    }
}
