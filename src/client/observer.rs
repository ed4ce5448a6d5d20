//! Tells programs what becomes of their connections.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::status::PoolStatus;

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A service was added; its connections are dialled.
    PoolStarted {
        /// The service.
        service: String,
        /// Connections that there should be.
        size: usize,
    },
    /// The pool lends nothing any more.
    PoolStopped {
        /// The service.
        service: String,
    },
    /// A connection was lent. Audience for a part of them, see
    /// [`EventsConfig::sample_rate`](super::EventsConfig).
    CheckedOut {
        /// The service.
        service: String,
        /// How long its user waited.
        waited: Duration,
    },
    /// The pool has another size.
    Resized {
        /// The service.
        service: String,
        /// Connections that there should be.
        size: usize,
    },
    /// How the pool is. Audience every so often, see
    /// [`EventsConfig::status_interval`](super::EventsConfig).
    Status(PoolStatus),
    /// A connection stands.
    Connected {
        /// The service.
        service: String,
        /// Its address.
        address: String,
        /// How long it took.
        took: Duration,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// The service.
        service: String,
        /// Its address.
        address: String,
        /// gRPC's words.
        error: String,
    },
    /// A connection has ended.
    Disconnected {
        /// The service.
        service: String,
        /// Its address.
        address: String,
        /// The label of `grpc_client_disconnects_total`.
        reason: &'static str,
        /// How long it stood.
        age: Duration,
    },
    /// The program or a reload has set other addresses.
    Readdressed {
        /// The service.
        service: String,
        /// So many.
        addresses: usize,
    },
    /// A name stands for other addresses than before.
    Resolved {
        /// The service.
        service: String,
        /// The name.
        host: String,
        /// So many.
        addresses: usize,
    },
    /// It could not be found out what a name stands for; what was known before still holds.
    ResolveFailed {
        /// The service.
        service: String,
        /// The name.
        host: String,
        /// Why.
        error: String,
    },
    /// An address was taken out because attempts at it fail.
    Ejected {
        /// The service.
        service: String,
        /// The address.
        address: String,
        /// `failures` in a row, or `error_ratio`.
        reason: &'static str,
        /// For how long.
        time: Duration,
    },
    /// It was taken in again.
    Restored {
        /// The service.
        service: String,
        /// The address.
        address: String,
    },
    /// An address is down, and is tried again.
    ReconnectScheduled {
        /// The service.
        service: String,
        /// The address.
        address: String,
        /// After so long.
        after: Duration,
        /// Failures in a row.
        attempt: u32,
    },
    /// The files of TLS hold something new: all connections are replaced.
    CertificatesReloaded {
        /// The service.
        service: String,
    },
    /// A probe has ended.
    Ping {
        /// The service.
        service: String,
        /// The server has answered, and serves.
        good: bool,
    },
    /// A round of probes has changed what is known of the pool.
    HealthChanged {
        /// The service.
        service: String,
        /// [`ServiceHealth::level`](super::ServiceHealth).
        level: &'static str,
    },
    /// A breaker has opened or closed.
    BreakerChanged {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// `open` or `closed`.
        state: &'static str,
    },
}

/// Is told of events. Called by the thread that looks after the connections, or by the caller
/// whom it concerns, so it must not block; under no lock. A panic is caught and logged.
pub trait Observer: Send + Sync {
    /// Something has happened.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// All who are told.
#[derive(Clone, Default)]
pub(super) struct Observers(Arc<Audience>);

#[derive(Default)]
struct Audience {
    /// There is one. Read for each checkout, where a lock would cost as much as the rest.
    any: AtomicBool,
    all: RwLock<Vec<Arc<dyn Observer>>>,
}

impl Observers {
    pub(super) fn add(&self, observer: Arc<dyn Observer>) {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner).push(observer);
        self.0.any.store(true, Ordering::Release);
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.0.any.load(Ordering::Acquire)
    }

    /// Tells them, if there are any.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_empty() {
            return;
        }
        let observers = self.0.all.read().unwrap_or_else(PoisonError::into_inner).clone();
        let event = event();
        for observer in observers {
            if catch_unwind(AssertUnwindSafe(|| observer.event(&event))).is_err() {
                log::error!("event=client_observer_panicked");
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").finish_non_exhaustive()
    }
}
