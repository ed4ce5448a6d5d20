//! A DSN as it may be shown: without its password and its options.

use super::{Dsn, HostPort};
use std::fmt;
use std::net::SocketAddr;

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |item: fn(&HostPort) -> String| {
            self.hosts.iter().map(item).collect::<Vec<_>>().join(",")
        };
        if self.hosts.iter().any(|at| at.host.is_some()) {
            let names = list(|at| at.host.clone().unwrap_or_default());
            write!(f, "host={} ", shown(&names))?;
        }
        if self.hosts.iter().any(|at| at.hostaddr.is_some()) {
            write!(
                f,
                "hostaddr={} ",
                list(|at| at.hostaddr.map_or_else(String::new, |a| a.to_string()))
            )?;
        }
        write!(f, "port={} ", list(|at| at.port.to_string()))?;
        write!(f, "dbname={} user={} ", shown(&self.dbname), shown(&self.user))?;
        write!(f, "sslmode={}", self.tls.mode.as_str())
    }
}

/// `host:port`, by its name if it has one.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.hostaddr) {
            (Some(name), _) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            (Some(name), _) => write!(f, "{name}:{}", self.port),
            (None, Some(address)) => SocketAddr::new(address, self.port).fmt(f),
            (None, None) => write!(f, ":{}", self.port),
        }
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
    }
}

/// A value on one line of a log: quoted unless it is plain.
fn shown(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,:%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.escape_debug())
}
