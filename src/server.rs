//! Wiring only: start in order, stop in reverse.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::clock;
use crate::config::Config;
use crate::core::lease_table::EndReason;
use crate::http;
use crate::pool::context::Context;
use crate::pool::service::Service;
use crate::rpc;
use crate::runtime::shutdown::Thread;
use crate::runtime::{keeper, reaper};

/// File descriptors of one backend, its driver's runtime included.
const DESCRIPTORS_PER_BACKEND: u64 = 4;
/// Descriptors for everything else: clients, listeners, files.
const DESCRIPTORS_REST: u64 = 1024;
/// After the drain time, what was cancelled has so long to end.
const AFTER_CANCEL: Duration = Duration::from_secs(5);
/// Calls that have their answers have so long to send them.
const GRPC_GRACE: Duration = Duration::from_secs(2);

/// Why the service could not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting breaks a rule.
    Config(String),
    /// The system's limit of open files is too low for `max_backends`.
    Descriptors {
        /// The limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// gRPC cannot be served.
    Grpc(rpc::server::BindError),
    /// HTTP cannot be served.
    Http(std::io::Error, std::net::SocketAddr),
    /// OpenSSL cannot be set up.
    OpenSsl(openssl::error::ErrorStack),
    /// A thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(rule) => f.write_str(rule),
            StartError::Descriptors { limit, needed } => write!(
                f,
                "the limit of open files is {limit}, {needed} are needed: raise it (ulimit -n) \
                 or lower --max-backends"
            ),
            StartError::Grpc(error) => error.fmt(f),
            StartError::Http(error, address) => {
                write!(f, "failed to create TCP listener: {address}: {error} (--http changes it)")
            }
            StartError::OpenSsl(error) => write!(f, "OpenSSL cannot be set up: {error}"),
            StartError::Thread(error) => write!(f, "a thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running service.
pub struct Server {
    service: Service,
    grpc: rpc::server::Server,
    http: http::server::Server,
    reaper: Thread,
    keeper: Thread,
    drain_timeout: Duration,
}

impl Server {
    /// Starts everything; on return it serves.
    ///
    /// # Errors
    /// What is in the way, naming the flag that changes it.
    pub fn start(config: Config) -> Result<Server, StartError> {
        config.pool.check().map_err(StartError::Config)?;
        config.limits.check().map_err(StartError::Config)?;
        raise_descriptors(config.limits.max_backends)?;
        let context = Context::new(config);
        let service = Service::new(&context).map_err(StartError::OpenSsl)?;
        let config = &context.config;
        let http = http::server::Server::start(config.http, &service)
            .map_err(|error| StartError::Http(error, config.http))?;
        let registry = Arc::clone(&service.registry);
        let reaper =
            reaper::start(registry, Arc::clone(&service.leases)).map_err(StartError::Thread)?;
        let keeper = keeper::start(service.clone()).map_err(StartError::Thread)?;
        let grpc = rpc::server::Server::start(config, &service).map_err(StartError::Grpc)?;
        Ok(Server { drain_timeout: config.drain_timeout, service, grpc, http, reaper, keeper })
    }

    /// The gRPC port.
    pub fn grpc_port(&self) -> u16 {
        self.grpc.port()
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Drains and stops. Returns true if every lease had ended by itself.
    pub fn stop(self) -> bool {
        let Server { service, grpc, http, reaper, keeper, drain_timeout } = self;
        let outstanding = &service.context().outstanding;
        service.registry.drain();
        log::info!(
            "event=draining leases={} permits={} timeout={drain_timeout:?}",
            service.leases.count(),
            outstanding.now()
        );
        let clean = outstanding.wait_for_none(clock::now() + drain_timeout);
        if !clean {
            log::warn!("event=drain_timeout leases={}", service.leases.count());
        }
        service.leases.end_all(EndReason::Shutdown);
        // The keeper ends first, so that it opens nothing behind our back.
        drop(keeper);
        outstanding.wait_for_none(clock::now() + AFTER_CANCEL);
        grpc.stop(GRPC_GRACE);
        // One-shots that were still running ended with their calls.
        let ended = outstanding.wait_for_none(clock::now() + AFTER_CANCEL);
        if !ended {
            log::error!("event=permits_left count={}", outstanding.now());
        }
        // The reaper guards the goodbyes, so it ends after them.
        service.registry.close();
        outstanding.wait_for_none(clock::now() + AFTER_CANCEL);
        drop(reaper);
        drop(http);
        clean
    }
}

/// Raises the soft limit of open files as far as the hard one allows.
fn raise_descriptors(max_backends: usize) -> Result<(), StartError> {
    let needed = max_backends as u64 * DESCRIPTORS_PER_BACKEND + DESCRIPTORS_REST;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    let reachable = now.maximum.map_or(needed, |most| most.min(needed));
    let raised = Rlimit { current: Some(reachable), maximum: now.maximum };
    if reachable < needed || setrlimit(Resource::Nofile, raised).is_err() {
        let limit = now.current.unwrap_or(reachable).max(reachable);
        return Err(StartError::Descriptors { limit, needed });
    }
    Ok(())
}
