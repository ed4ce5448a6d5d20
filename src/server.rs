//! Wiring only: start in order, stop in reverse.

mod descriptors;
mod reload;
mod settings;
mod state;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::ServerConfig;
use crate::core::lease_table::EndReason;
use crate::core::secs::Secs;
use crate::http;
use crate::http::not_served::NotServed;
use crate::pool::context::Context;
use crate::pool::port::Reach;
use crate::pool::registry::Catalog;
use crate::pool::reloading::Reload;
use crate::pool::service::Service;
use crate::rpc;
use crate::runtime::{guard, keeper, probe, reaper};
use crate::threads::stop::Thread;

use reload::Reloader;
pub use reload::{Loader, ALL_GONE};
use settings::SettingsLine;

/// How long cancelled work may take to end after the time that a cancel may take.
const AFTER_CANCEL: Duration = Duration::from_secs(3);
/// How long answered calls may take to send their answers.
const GRPC_GRACE: Duration = Duration::from_secs(2);

/// Why the service could not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting breaks a rule.
    Config(String),
    /// The system's limit of open files is too low for the backends and clients.
    Descriptors {
        /// The limit.
        limit: u64,
        /// The number needed.
        needed: u64,
    },
    /// gRPC cannot be served.
    Grpc(rpc::server::BindError),
    /// HTTP cannot be served.
    Http(NotServed),
    /// OpenSSL cannot be set up.
    OpenSsl(openssl::error::ErrorStack),
    /// The file with what operators have changed cannot be used.
    State(crate::settings::SettingFaults),
    /// The configured tenants cannot be taken up.
    Tenants(crate::error::RequestError),
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
                 or lower --max-backends or --max-client-connections"
            ),
            StartError::Grpc(error) => error.fmt(f),
            StartError::Http(error) => error.fmt(f),
            StartError::OpenSsl(error) => write!(f, "OpenSSL cannot be set up: {error}"),
            StartError::State(faults) => write!(f, "--state-file: {faults}"),
            StartError::Tenants(error) => error.fmt(f),
            StartError::Thread(error) => write!(f, "a thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// The names of the settings that it is about; none where its text says all.
    pub fn settings(&self) -> &[&'static str] {
        match self {
            StartError::Grpc(error) => error.settings(),
            StartError::State(_) => &["state_file"],
            _ => &[],
        }
    }
}

/// The running service.
pub struct Server {
    service: Service,
    reloader: Arc<Reloader>,
    grpc: rpc::server::GrpcServer,
    http: http::server::HttpServer,
    guard: Thread,
    probe: Thread,
    reaper: Thread,
    keeper: Thread,
}

impl Server {
    /// Starts everything with these settings; on return the service is ready. A reload reads
    /// the files again that they name, and nothing else.
    ///
    /// # Errors
    /// What prevents the start, naming the flag that changes it.
    pub fn start(config: ServerConfig) -> Result<Server, StartError> {
        let same = config.clone();
        Server::start_reloadable(config, Box::new(move || Ok(same.clone())))
    }

    /// The same for settings that a reload loads again.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub fn start_reloadable(config: ServerConfig, load: Loader) -> Result<Server, StartError> {
        config.check().map_err(StartError::Config)?;
        let bounds = descriptors::share_out(&config)?;
        log::info!("event=settings {}", SettingsLine { config: &config, bounds: &bounds });
        let context = Context::new(config);
        context.port.set_clients(0, bounds.total);
        let service = Service::new(&context).map_err(StartError::OpenSsl)?;
        let config = &context.config;
        let http = http::server::HttpServer::start(&service).map_err(StartError::Http)?;
        let reaper = reaper::start(Arc::clone(&context), Arc::clone(&service.leases))
            .map_err(StartError::Thread)?;
        service.registry.take_up(Catalog::of(config)).map_err(StartError::Tenants)?;
        state::restore(&service, config).map_err(StartError::State)?;
        let keeper = keeper::start(service.clone()).map_err(StartError::Thread)?;
        let grpc = rpc::server::GrpcServer::start(config, &service).map_err(StartError::Grpc)?;
        http.secure(Box::new(grpc.certificate_pems())).map_err(StartError::Http)?;
        let guard = guard::start(
            grpc.port(),
            bounds,
            rpc::excess_calls::connections_with_excess_calls,
            &service,
        )
        .map_err(StartError::Thread)?;
        let own = grpc.own_client().map(|own| (own.certificate, own.key));
        let probe = probe::start(config, grpc.port(), own, &service).map_err(StartError::Thread)?;
        let reloader = Arc::new(Reloader::new(load, &service, grpc.certificate()));
        reloader.note_expiry();
        context.reloading.begin(&reloader);
        // HTTP started first and has reported "not ready" until now.
        context.port.set_reach(Reach::Serving);
        service.publish();
        Ok(Server { reloader, service, grpc, http, guard, probe, reaper, keeper })
    }

    /// The gRPC port.
    pub fn grpc_port(&self) -> u16 {
        self.grpc.port()
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where HTTP serves all pages, if that is another address.
    pub fn http_admin_address(&self) -> Option<SocketAddr> {
        self.http.admin_address()
    }

    /// Reads settings, identities and certificates again. Everything is checked first, and with
    /// an error nothing changes. Logs what has changed, and what only a restart changes.
    pub fn reload(&self) {
        // The log has it.
        let _ = self.reloader.reload();
    }

    /// Drains and stops. Returns true if every lease ended by itself.
    pub fn stop(self) -> bool {
        let Server { reloader, service, grpc, http, guard, probe, reaper, keeper } = self;
        drop(reloader);
        let live = service.context().live();
        let drain_timeout = live.drain_timeout;
        let after_cancel = live.limits.clocks.cancel_grace + AFTER_CANCEL;
        let outstanding = &service.context().outstanding;
        service.registry.drain();
        log::info!(
            "event=draining leases={} connections_in_use={} timeout_s={}",
            service.leases.count(),
            outstanding.now(),
            Secs(drain_timeout)
        );
        let clean = outstanding.wait_for_none(clock::now() + drain_timeout);
        if !clean {
            log::warn!(
                "event=drain_timeout leases={} connections_in_use={}",
                service.leases.count(),
                outstanding.now()
            );
        }
        service.leases.end_all(EndReason::Shutdown);
        service.context().one_shots.stop_all();
        // The keeper ends first, so that it opens no new backends meanwhile.
        drop(keeper);
        outstanding.wait_for_none(clock::now() + after_cancel);
        // From here on a missing answer is no sign of a fault.
        drop(probe);
        drop(guard);
        grpc.stop(GRPC_GRACE);
        let ended = outstanding.wait_for_none(clock::now() + after_cancel);
        if !ended {
            log::error!("event=connections_left count={}", outstanding.now());
        }
        // The reaper limits how long closing connections takes, so it ends after that.
        service.registry.close();
        outstanding.wait_for_none(clock::now() + after_cancel);
        drop(reaper);
        drop(http);
        clean
    }
}
