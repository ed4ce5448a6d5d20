//! What can go wrong with the embedded server.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dev_certs::DevCertError;

/// Why an operation on the embedded server failed. No variant holds a password.
#[derive(Debug)]
pub enum EmbeddedError {
    /// PostgreSQL's server programs are not installed, or not in the configured directory.
    ProgramsMissing {
        /// The directories that were searched.
        searched: Vec<PathBuf>,
    },
    /// We are root, and neither `postgres` nor `nobody` exists to change to.
    NoAccount,
    /// A file could not be handled, or a program not started.
    Io {
        /// What was being done, a verb.
        operation: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing can be put where temporary files go.
    TemporaryDirectory {
        /// Where that is.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No free loopback port was found.
    Port(io::Error),
    /// The server's certificate could not be made.
    Certificate(DevCertError),
    /// The superuser's password could not be drawn.
    Random(openssl::error::ErrorStack),
    /// `initdb` failed or took too long.
    Initdb {
        /// How long it was given.
        elapsed: Duration,
        /// The last lines it wrote.
        log: String,
    },
    /// The server ended, or accepted no connection in time.
    NotReady {
        /// How long it was given.
        elapsed: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The server has not stopped yet.
    StillRunning {
        /// How long it was given.
        elapsed: Duration,
    },
    /// The wrapper that runs the server takes no more commands.
    WrapperGone(io::Error),
    /// A signal could not be sent.
    Signal {
        /// The process.
        pid: i32,
        /// The system's answer.
        source: io::Error,
    },
    /// A tenant's name or password cannot be used: a name has 1 to 63 bytes,
    /// and neither holds a zero byte.
    BadTenant(String),
    /// `psql` ended with an error.
    Sql {
        /// The database it was connected to.
        dbname: String,
        /// What it wrote to its standard error.
        message: String,
    },
}

impl fmt::Display for EmbeddedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProgramsMissing { searched } => {
                write!(
                    f,
                    "PostgreSQL's `initdb` and `postgres` were not found; install the server \
                     (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install \
                     postgresql-server) or set CPM_PG_BIN to their directory; searched:"
                )?;
                searched.iter().try_for_each(|dir| write!(f, " {}", dir.display()))
            }
            Self::NoAccount => write!(
                f,
                "PostgreSQL does not run as root, and /etc/passwd has neither `postgres` nor `nobody`"
            ),
            Self::Io { operation, path, .. } => write!(f, "cannot {operation} {}", path.display()),
            Self::TemporaryDirectory { path, .. } => write!(
                f,
                "the directory for temporary files cannot be used: {} (TMPDIR names another)",
                path.display()
            ),
            Self::Port(_) => write!(f, "cannot find a free port on 127.0.0.1"),
            Self::Certificate(_) => write!(f, "cannot make the server's certificate"),
            Self::Random(_) => write!(f, "cannot draw a password"),
            Self::Initdb { elapsed, log } => {
                write!(f, "initdb failed after {elapsed:.1?}; its last lines:\n{log}")
            }
            Self::NotReady { elapsed, log } => {
                write!(f, "PostgreSQL was not ready after {elapsed:.1?}; its last lines:\n{log}")
            }
            Self::StillRunning { elapsed } => {
                write!(f, "PostgreSQL was still running after {elapsed:.1?}")
            }
            Self::WrapperGone(_) => write!(f, "the wrapper that runs PostgreSQL is gone"),
            Self::Signal { pid, .. } => write!(f, "cannot signal process {pid}"),
            Self::BadTenant(name) => {
                write!(f, "tenant `{name}`: a name needs 1 to 63 bytes, and no zero byte is allowed")
            }
            Self::Sql { dbname, message } => write!(f, "psql on `{dbname}`: {message}"),
        }
    }
}

impl std::error::Error for EmbeddedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. }
            | Self::TemporaryDirectory { source, .. }
            | Self::Signal { source, .. } => Some(source),
            Self::Port(source) | Self::WrapperGone(source) => Some(source),
            Self::Certificate(source) => Some(source),
            Self::Random(source) => Some(source),
            Self::ProgramsMissing { .. }
            | Self::NoAccount
            | Self::Initdb { .. }
            | Self::NotReady { .. }
            | Self::StillRunning { .. }
            | Self::BadTenant(_)
            | Self::Sql { .. } => None,
        }
    }
}

/// Turns an I/O error into ours, for `map_err`.
pub(super) fn io_failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> EmbeddedError + use<'a> {
    move |source| EmbeddedError::Io { operation, path: path.to_path_buf(), source }
}
