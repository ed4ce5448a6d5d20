//! Why there is no development certificate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use openssl::error::ErrorStack;

/// Why a development certificate could not be had.
#[derive(Debug)]
pub enum DevCertError {
    /// A name is neither an IP address nor a DNS name.
    BadName(String),
    /// One file of the pair exists without the other; remove it or restore the other.
    HalfAPair {
        /// The file that exists.
        present: PathBuf,
        /// The file that does not.
        missing: PathBuf,
    },
    /// A client's name has other characters than letters, digits, `.`, `_` and `-`, or
    /// not 1 to 64 of them.
    BadClient(String),
    /// The server's certificate is there, and is not issued by the authority that is there.
    Foreign {
        /// The certificate.
        cert: PathBuf,
        /// The authority.
        authority: PathBuf,
    },
    /// The file exists already and is not overwritten.
    Exists(PathBuf),
    /// A file could not be read.
    Read {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file or directory could not be written.
    Write {
        /// What was being written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// OpenSSL refused to make the key or the certificate.
    Openssl(ErrorStack),
}

impl fmt::Display for DevCertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "`{name}` is neither an IP address nor a DNS name"),
            Self::HalfAPair { present, missing } => write!(
                f,
                "{} exists but {} does not: restore it, or remove the first to make a new pair",
                present.display(),
                missing.display()
            ),
            Self::BadClient(name) => write!(
                f,
                "`{name}` is no name of a client: 1 to 64 letters, digits, `.`, `_` and `-` are"
            ),
            Self::Foreign { cert, authority } => write!(
                f,
                "{} is not issued by {}: remove it and its key to have another",
                cert.display(),
                authority.display()
            ),
            Self::Exists(path) => write!(f, "{} exists: it is not overwritten", path.display()),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Openssl(_) => write!(f, "cannot make a certificate"),
        }
    }
}

impl std::error::Error for DevCertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Openssl(source) => Some(source),
            Self::BadName(_)
            | Self::BadClient(_)
            | Self::HalfAPair { .. }
            | Self::Foreign { .. }
            | Self::Exists(_) => None,
        }
    }
}
