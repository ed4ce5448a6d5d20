//! Why HTTP is not served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The error of a start of HTTP.
#[derive(Debug)]
pub enum NotServed {
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The private directory for the socket of the pages cannot be created or used.
    Directory(PathBuf, io::Error),
    /// The system lacks something else, such as a thread.
    System(io::Error),
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotServed::Listen(address, error) => {
                write!(f, "failed to create TCP listener: {address}: {error} (--http and --http-admin change it)")
            }
            NotServed::Directory(path, error) => write!(
                f,
                "the directory for temporary files cannot be used: {}: {error} (TMPDIR names \
                 another)",
                path.display()
            ),
            NotServed::System(error) => write!(f, "HTTP cannot be served: {error}"),
        }
    }
}

impl std::error::Error for NotServed {}

impl From<io::Error> for NotServed {
    fn from(error: io::Error) -> NotServed {
        NotServed::System(error)
    }
}
