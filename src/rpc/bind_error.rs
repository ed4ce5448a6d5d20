//! Why gRPC is not served.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the gRPC server could not be started.
#[derive(Debug)]
pub enum BindError {
    /// A certificate file cannot be used.
    Certificate {
        /// The file that cannot be used.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The address cannot be listened on.
    Listen {
        /// `host:port`.
        address: String,
        /// The reason.
        why: String,
    },
}

impl BindError {
    /// The error of a certificate or key file.
    pub(super) fn certificate(path: &Path, why: impl Into<String>) -> BindError {
        BindError::Certificate { path: path.to_owned(), why: why.into() }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Certificate { path, why } => write!(
                f,
                "failed to load TLS credentials: {}: {why} (--cert and --key name the files; \
                 `connection-pool-manager dev-certs` makes some for development)",
                path.display()
            ),
            BindError::Listen { address, why } => write!(
                f,
                "failed to create TCP listener: {address}: {why} (--port and --listen change it)"
            ),
        }
    }
}

impl std::error::Error for BindError {}
