//! What can go wrong before a call is made: with the pool, or with its settings.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::borrower::ThreadName;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub enum PoolError {
    /// No service of this name was added.
    ServiceNotFound {
        /// The name.
        service: String,
    },
    /// No address was given, and the service is not known.
    AddressRequired {
        /// The name.
        service: String,
    },
    /// The service was added with another address.
    AddressMismatch {
        /// The name.
        service: String,
        /// The address it was added with.
        configured: String,
        /// The address that was asked for.
        asked: String,
    },
    /// Nothing is connected, and nothing is being connected. Said at once, unless the caller
    /// waits for the service to be ready.
    NotConnected {
        /// The service.
        service: String,
        /// What the last attempt failed with.
        last_error: String,
        /// For how long it has been so.
        down_for: Duration,
        /// Until the next attempt; nothing while one is under way.
        next_try: Duration,
    },
    /// There are connections, but fewer than were waited for.
    NotReady {
        /// The service.
        service: String,
        /// So many stand.
        connected: usize,
        /// So many there should be.
        wanted: usize,
        /// How long was waited.
        waited: Duration,
        /// What an address is down for, or why a connection is not lent, if that is so.
        last_error: Option<String>,
    },
    /// No connection was free in time.
    CheckoutTimeout {
        /// The service.
        service: String,
        /// How long was waited.
        waited: Duration,
        /// Who has had a connection for longest, the first five.
        holders: Vec<Holder>,
        /// What an address is down for, or why a connection is not lent, if that is so.
        last_error: Option<String>,
    },
    /// As many wait for a connection as may.
    TooManyWaiters {
        /// The service.
        service: String,
        /// So many.
        limit: usize,
    },
    /// The caller's deadline was over before a connection was free.
    DeadlineExceeded {
        /// The service.
        service: String,
        /// What an address is down for, or why a connection is not lent, if that is so.
        last_error: Option<String>,
    },
    /// A pool must keep a connection.
    WouldEmptyPool {
        /// The service.
        service: String,
    },
    /// The pool was stopped.
    Closed {
        /// The service.
        service: String,
    },
    /// The caller is a thread of gRPC's, on which waiting would never end.
    OnGrpcThread,
    /// The settings break rules.
    Config(ConfigError),
    /// The system has no thread left.
    NoThread {
        /// Its words.
        error: String,
    },
}

/// Who has a connection.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// Where in the program it was asked for.
    pub at: &'static Location<'static>,
    /// The thread that asked for it; it may have handed it on.
    pub thread: ThreadName,
    /// How long it has been held.
    pub held: Duration,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} for {} ms", self.at, self.thread, self.held.as_millis())
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::ServiceNotFound { service } => write!(f, "service {service} not registered"),
            PoolError::AddressRequired { service } => {
                write!(f, "address not provided and service {service} not registered")
            }
            PoolError::AddressMismatch { service, configured, asked } => {
                write!(f, "service {service} is configured for {configured}, not for {asked}")
            }
            PoolError::NotConnected { service, last_error, down_for, next_try } => {
                let down = down_for.as_millis();
                write!(f, "failed to create connection for {service}: {last_error} ")?;
                match next_try.as_millis() {
                    0 => write!(f, "(down for {down} ms, next attempt now)"),
                    next => write!(f, "(down for {down} ms, next attempt in {next} ms)"),
                }
            }
            PoolError::NotReady { service, connected, wanted, waited, last_error } => {
                let waited = waited.as_millis();
                write!(f, "{connected} of {wanted} connections to {service} after {waited} ms")?;
                said(f, last_error.as_deref())
            }
            PoolError::CheckoutTimeout { service, waited, holders, last_error } => {
                write!(f, "no connection to {service} was free within {} ms", waited.as_millis())?;
                for (i, holder) in holders.iter().enumerate() {
                    write!(f, "{} {holder}", if i == 0 { "; held by" } else { "," })?;
                }
                said(f, last_error.as_deref())
            }
            PoolError::TooManyWaiters { service, limit } => {
                write!(f, "{limit} callers wait for a connection to {service}, which is the limit")
            }
            PoolError::DeadlineExceeded { service, last_error } => {
                write!(f, "the deadline was over before a connection to {service} was free")?;
                said(f, last_error.as_deref())
            }
            PoolError::WouldEmptyPool { service } => {
                write!(f, "the pool of {service} must keep at least 1 connection")
            }
            PoolError::Closed { service } => write!(f, "the pool of {service} was stopped"),
            PoolError::OnGrpcThread => f.write_str(
                "a thread of gRPC must not wait for a connection or a call: it would wait for ever",
            ),
            PoolError::Config(error) => error.fmt(f),
            PoolError::NoThread { error } => write!(f, "no thread could be started: {error}"),
        }
    }
}

/// Why there may be too few connections.
fn said(f: &mut fmt::Formatter<'_>, last_error: Option<&str>) -> fmt::Result {
    last_error.map_or(Ok(()), |error| write!(f, "; {error}"))
}

// Each says all of its cause itself.
impl std::error::Error for PoolError {}

impl From<ConfigError> for PoolError {
    fn from(error: ConfigError) -> PoolError {
        PoolError::Config(error)
    }
}

/// Everything that is wrong with the settings of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

/// A setting that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting: a key such as `pool.size`, or the variable it was read from.
    pub key: String,
    /// The rule, as the end of a sentence that begins with the key; says the value where that
    /// is no secret.
    pub rule: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid config: ")?;
        for (i, Fault { key, rule }) in self.faults.iter().enumerate() {
            write!(f, "{}{key} {rule}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
