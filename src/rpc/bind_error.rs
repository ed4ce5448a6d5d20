//! Why gRPC is not served.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the gRPC server could not be started.
#[derive(Debug)]
pub enum BindError {
    /// A certificate file cannot be used.
    Certificate {
        /// The setting that names the file: `cert`, `key` or `client_ca`.
        setting: &'static str,
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

/// A PEM file, and the setting that names it.
#[derive(Clone, Copy)]
pub(super) struct PemFile<'a> {
    pub(super) setting: &'static str,
    pub(super) path: &'a Path,
}

impl PemFile<'_> {
    /// The error that it cannot be used.
    pub(super) fn refused(self, why: impl Into<String>) -> BindError {
        BindError::Certificate {
            setting: self.setting,
            path: self.path.to_owned(),
            why: why.into(),
        }
    }
}

impl BindError {
    /// The settings that it is about.
    pub fn settings(&self) -> &[&'static str] {
        match self {
            BindError::Certificate { setting, .. } => std::slice::from_ref(setting),
            BindError::Listen { .. } => &["listen", "port"],
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Certificate { setting, path, why } => {
                let (flag, path) = (setting.replace('_', "-"), path.display());
                write!(f, "failed to load TLS credentials, --{flag}: {path}: {why}")
            }
            BindError::Listen { address, why } => write!(
                f,
                "failed to create TCP listener: {address}: {why} (--port and --listen change it)"
            ),
        }
    }
}

impl std::error::Error for BindError {}
