//! How a pool is, for people and programs.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The figures of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolMetrics {
    /// Connections that there may be.
    pub size: usize,
    /// Connections that there should be at the moment; fewer than `size` in a pool with a
    /// `min_size`.
    pub wanted: usize,
    /// Connections that stand.
    pub connected: usize,
    /// To how many a connection is lent.
    pub lent: usize,
    /// How many wait for one.
    pub waiting: usize,
    /// Connections that were lent, so far.
    pub checkouts: u64,
    /// Checkouts that failed.
    pub checkout_failures: u64,
    /// Connections that were begun.
    pub connects: u64,
    /// Of these, the ones that failed.
    pub connect_failures: u64,
    /// Connections that ended.
    pub disconnects: u64,
    /// How many more callers could be lent a connection at once.
    pub available: usize,
    /// Probes of rounds, which all idle connections have.
    pub health_checks: u64,
    /// Probes to keep an idle connection warm.
    pub pings: u64,
    /// Probes of either kind that were not answered well.
    pub health_check_failures: u64,
    /// When the last round of probes was over.
    pub last_health_check: Option<SystemTime>,
}

/// A pool and all its connections.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// The service.
    pub service: String,
    /// The kind of service, as its settings say.
    pub kind: String,
    /// The figures.
    pub metrics: PoolMetrics,
    /// What the last attempt to connect failed with, while an address is down.
    pub last_error: Option<String>,
    /// The connections.
    pub connections: Vec<ConnectionStatus>,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Its address; `host/1.2.3.4:443` if it is one of those that a name stands for.
    pub address: String,
    /// `connecting`, `ready`, `lent`, `sick` (its server does not serve) or `draining`.
    pub state: &'static str,
    /// For how long it stands.
    pub age: Option<Duration>,
    /// To how many it is lent.
    pub lent: usize,
    /// How often it was lent.
    pub served: u64,
    /// While it stands and nobody has it: how long ago it was last used or probed.
    pub idle: Option<Duration>,
    /// Probes in a row that were not answered.
    pub unanswered: u32,
    /// Why it is not lent: its server does not serve, or what the last attempt to connect to its
    /// address failed with.
    pub error: Option<String>,
    /// Where in the program it was asked for, and for how long it is lent.
    pub holder: Option<super::Holder>,
}

/// How well a service can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHealth {
    /// At least one connection stands, and its server serves.
    pub healthy: bool,
    /// `Connected` or `NotConnected`.
    pub state: &'static str,
    /// `healthy`: all connections work; `degraded`: some do, or all do again since less than
    /// two rounds of probes; `unhealthy`: none.
    pub level: &'static str,
    /// Why not: what the last attempt to connect failed with.
    pub error: Option<String>,
    /// The figures as a sentence.
    pub message: String,
}

impl fmt::Display for PoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PoolMetrics { wanted, connected, lent, waiting, .. } = self.metrics;
        let kind = match self.kind.as_str() {
            "" => String::new(),
            kind => format!(" ({kind})"),
        };
        write!(
            f,
            "{}{kind}: {connected} of {wanted} connections stand, {lent} lent, {waiting} waiting",
            self.service
        )?;
        if let Some(error) = &self.last_error {
            write!(f, "; last error: {error}")?;
        }
        for one in &self.connections {
            write!(f, "\n  {} {}", one.address, one.state)?;
            if let Some(age) = one.age {
                write!(f, ", age {} s", age.as_secs())?;
            }
            write!(f, ", lent {} times", one.served)?;
            if let Some(idle) = one.idle {
                write!(f, ", idle {} s", idle.as_secs())?;
            }
            if one.unanswered > 0 {
                write!(f, ", probes not answered: {}", one.unanswered)?;
            }
            if let Some(error) = &one.error {
                write!(f, "; {error}")?;
            }
            if let Some(holder) = &one.holder {
                write!(f, ", now to {holder}")?;
            }
        }
        Ok(())
    }
}
