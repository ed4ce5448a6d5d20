//! One attempt to open a backend: bounded, panic-proof, classified.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{ErrorCode, SslConnector};
use postgres::config::{ChannelBinding, SslMode as DriverSslMode, SslNegotiation};
use postgres_openssl::MakeTlsConnector;
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use crate::backend::cancel::Canceller;
use crate::backend::fault::{fault_of, notice_of};
use crate::backend::pg::PgBackend;
use crate::backend::session::{Backend, Notices};
use crate::backend::sqlstate;
use crate::backend::transport::{driver_tls, Connector, Watch};
use crate::clock;
use crate::config::dsn::{self, Dsn, HostPort};
use crate::error::ConnectError;
use crate::threads;

/// PostgreSQL's own defaults notice a dead peer after two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Ends what still runs when our socket is gone; PostgreSQL 14 and later.
const CHECK_CLIENT: &str = "-c client_connection_check_interval=1s";

/// Opens backends of one tenant. One of the two traits that tests may fake.
pub trait Connect: Send + Sync {
    /// One attempt, with `limit` for everything together. The caller breaks it
    /// off through `watch` when the limit is over; the steps that have no stream
    /// yet (name lookup, TCP) are bounded by `limit` here.
    ///
    /// # Errors
    /// What happened, classified.
    fn connect(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
    ) -> Result<Box<dyn Backend>, ConnectError>;
}

/// Opens real PostgreSQL backends.
pub struct PgConnect {
    dsn: Dsn,
    application_name: String,
    tls: SslConnector,
    driver_tls: MakeTlsConnector,
    /// Prepared statements that a backend keeps.
    statement_cache: usize,
    /// The server is too old to know CHECK_CLIENT.
    old_server: AtomicBool,
}

impl PgConnect {
    /// A connector for `dsn`; `application_name` is used unless the DSN has one.
    /// Each backend keeps up to `statement_cache` prepared statements.
    pub fn new(
        dsn: Dsn,
        application_name: String,
        tls: SslConnector,
        statement_cache: usize,
    ) -> PgConnect {
        PgConnect {
            statement_cache,
            application_name: dsn.application_name.clone().unwrap_or(application_name),
            driver_tls: driver_tls(tls.clone()),
            tls,
            dsn,
            old_server: AtomicBool::new(false),
        }
    }

    fn try_hosts(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        let until = clock::now() + limit;
        let mut last = ConnectError::Settings("the DSN names no host".to_owned());
        for host in &self.dsn.hosts {
            let addresses = match resolve(host, left(until), limit) {
                Ok(addresses) => addresses,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            for address in addresses {
                match self.try_address(host, address, watch, left(until), limit) {
                    Ok(backend) => return Ok(backend),
                    // Another host has the same roles: what was refused here is
                    // refused there.
                    Err(error @ ConnectError::Rejected(_)) => return Err(error),
                    Err(error) => last = error,
                }
                if watch.is_aborted() || left(until).is_zero() {
                    return Err(last);
                }
            }
        }
        Err(last)
    }

    fn try_address(
        &self,
        host: &HostPort,
        address: SocketAddr,
        watch: &Arc<Watch>,
        left: Duration,
        limit: Duration,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        match self.open(host, address, watch, left, limit) {
            Err(ConnectError::Rejected(fault))
                if fault.message.contains("client_connection_check_interval")
                    && !self.old_server.swap(true, Ordering::Relaxed) =>
            {
                self.open(host, address, watch, left, limit)
            }
            other => other,
        }
    }

    fn open(
        &self,
        host: &HostPort,
        address: SocketAddr,
        watch: &Arc<Watch>,
        left: Duration,
        limit: Duration,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        let name = host_name(host, address);
        let target = format!("{name}:{}", address.port());
        let notices = Notices::default();
        let mut config = self.settings(left);
        config.host(&name).hostaddr(address.ip()).port(address.port());
        let sink = notices.clone();
        config.notice_callback(move |notice| sink.push(notice_of(&notice)));
        let connector =
            Connector::new(self.dsn.ssl_mode, self.driver_tls.clone(), Arc::clone(watch));
        let driver = PostgresConnectionManager::new(config, connector);
        let client =
            driver.connect().map_err(|error| classify(&error, watch, target.clone(), limit))?;
        let Some(key) = watch.cancel_key() else {
            return Err(ConnectError::Unreachable {
                target,
                why: "the server sent no cancel key".to_owned(),
            });
        };
        let tls = watch.is_encrypted().then(|| self.tls.clone());
        let pid = key.pid;
        let canceller = Canceller::new(address, name, key, tls);
        let (watch, cache) = (Arc::clone(watch), self.statement_cache);
        Ok(Box::new(PgBackend::new(client, driver, watch, pid, canceller, notices, cache)))
    }

    fn settings(&self, left: Duration) -> postgres::Config {
        let dsn = &self.dsn;
        let mut config = postgres::Config::new();
        config
            .user(&dsn.user)
            .dbname(&dsn.dbname)
            .application_name(&self.application_name)
            .connect_timeout(left.max(Duration::from_millis(1)))
            // Our connector stands where the driver expects direct TLS, and does
            // what the DSN's sslmode says.
            .ssl_mode(DriverSslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match dsn.channel_binding {
                dsn::ChannelBinding::Disable => ChannelBinding::Disable,
                dsn::ChannelBinding::Prefer => ChannelBinding::Prefer,
                dsn::ChannelBinding::Require => ChannelBinding::Require,
            })
            .keepalives(dsn.keepalives)
            .keepalives_idle(dsn.keepalives_idle.unwrap_or(KEEPALIVE_IDLE))
            .keepalives_interval(dsn.keepalives_interval.unwrap_or(KEEPALIVE_INTERVAL))
            .keepalives_retries(dsn.keepalives_retries.unwrap_or(KEEPALIVE_RETRIES))
            .tcp_user_timeout(dsn.tcp_user_timeout.unwrap_or(TCP_USER_TIMEOUT));
        if let Some(password) = &dsn.password {
            config.password(password.reveal());
        }
        let options = [
            (!self.old_server.load(Ordering::Relaxed)).then_some(CHECK_CLIENT),
            dsn.options.as_deref(),
        ];
        let options: Vec<&str> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            config.options(&options.join(" "));
        }
        config
    }
}

impl Connect for PgConnect {
    fn connect(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        let limit = self.dsn.connect_timeout.map_or(limit, |own| own.min(limit));
        // The driver panics when it cannot build its runtime, for example
        // without file descriptors; that must cost this attempt only.
        catch_unwind(AssertUnwindSafe(|| self.try_hosts(watch, limit)))
            .unwrap_or(Err(ConnectError::Panicked))
    }
}

fn left(until: std::time::Instant) -> Duration {
    until.saturating_duration_since(clock::now())
}

fn host_name(host: &HostPort, address: SocketAddr) -> String {
    host.host.clone().unwrap_or_else(|| address.ip().to_string())
}

/// The addresses of a host. A name is looked up on a thread of its own, because
/// the system's resolver knows no time limit.
fn resolve(
    host: &HostPort,
    left: Duration,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Some(ip) = host.hostaddr {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let name = host.host.clone().unwrap_or_default();
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let target = format!("{name}:{}", host.port);
    let unreachable = |why: String| ConnectError::Unreachable { target: target.clone(), why };
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let port = host.port;
    threads::spawn(threads::RESOLVER, move || {
        let found = (name.as_str(), port).to_socket_addrs();
        // Nobody listens any more after the time limit; that is all right.
        let _ = sender.send(found.map(|addresses| addresses.collect::<Vec<_>>()));
    })
    .map_err(|e| unreachable(e.to_string()))?;
    match receiver.recv_timeout(left) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(unreachable("no address".to_owned())),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(unreachable(format!("host name lookup: {error}"))),
        Err(_) => Err(ConnectError::TimedOut { target, step: "host name lookup", limit }),
    }
}

/// True if the server is gone in the midst of the handshake, which is no mismatch
/// of settings: it may just be stopping.
fn is_hang_up(error: &openssl::ssl::Error) -> bool {
    // Without an error of the system behind it, SYSCALL is the end of the stream;
    // some versions of OpenSSL have an error of their own for that.
    matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN)
        || error.to_string().contains("unexpected eof")
}

fn classify(
    error: &postgres::Error,
    watch: &Watch,
    target: String,
    limit: Duration,
) -> ConnectError {
    if let Some(fault) = fault_of(error) {
        return if sqlstate::is_busy(&fault.sqlstate) {
            ConnectError::Busy(Box::new(fault))
        } else {
            ConnectError::Rejected(Box::new(fault))
        };
    }
    if watch.is_aborted() {
        return ConnectError::TimedOut { target, step: "TLS and authentication", limit };
    }
    let mut words = Vec::new();
    let mut cause = error.source();
    let mut io_kind = None;
    let mut hung_up = error.is_closed();
    while let Some(inner) = cause {
        hung_up |= inner.downcast_ref::<openssl::ssl::Error>().is_some_and(is_hang_up);
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            io_kind = Some(io.kind());
        }
        words.push(inner.to_string());
        cause = inner.source();
    }
    let why = words.pop().unwrap_or_else(|| error.to_string());
    match io_kind {
        Some(std::io::ErrorKind::TimedOut) => {
            ConnectError::TimedOut { target, step: "TCP connect", limit }
        }
        Some(_) => ConnectError::Unreachable { target, why },
        None if hung_up => {
            ConnectError::Unreachable { target, why: "the server closed the connection".to_owned() }
        }
        None => ConnectError::Settings(format!("{target}: {why}")),
    }
}
