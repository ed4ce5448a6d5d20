//! One attempt to open a backend: bounded, panic-proof, classified.

mod server;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::cert_files::{CertFiles, FileScope};
use crate::backend::door::Door;
use crate::backend::dsn_reach::DsnReach;
use crate::backend::logins::Tries;
use crate::backend::pg::types::Types;
use crate::backend::pg::PgBackend;
use crate::backend::resolve::HostResolver;
use crate::backend::resource_exhaustion::exhaustion_in_panic;
use crate::backend::session::Backend;
use crate::backend::stream::watch::Watch;
use crate::backend::target_session::SessionTarget;
use crate::backend::tls::BackendTls;
use crate::clock;
use crate::config::dsn::{Dsn, SslMode, TargetSession};
use crate::config::{TcpKeepalive, TenantPoolConfig};
use crate::core::lookup_slots::Asker;
use crate::error::ConnectError;
use crate::lock::Leaf;

/// Opens backends of one tenant. One of the two traits that tests may fake.
pub trait Connect: Send + Sync {
    /// Makes one attempt, which may take `limit` in all. The caller aborts it through
    /// `watch` when the limit is over; the steps without a stream (name lookup, TCP) are
    /// bounded by `limit` here. An address is dialled only if `door` admits the connection.
    ///
    /// # Errors
    /// The failure, classified.
    fn connect(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
        door: &dyn Door,
    ) -> Result<Box<dyn Backend>, ConnectError>;

    /// The servers, for the log: `host:port`, separated by commas.
    fn servers(&self) -> String;

    /// The DSN, with its password, for the file in which an operator has it kept.
    fn dsn(&self) -> Option<&Dsn>;

    /// Backends that are opened from now on cache statements and watch their servers as these
    /// settings say.
    fn follow(&self, settings: &TenantPoolConfig);
}

/// Opens real PostgreSQL backends.
pub struct PgConnect {
    dsn: Dsn,
    /// Where its hosts are.
    hosts: HostResolver,
    application_name: String,
    /// TLS for DSNs without a root or files of their own.
    plain: BackendTls,
    /// The files that the DSN may name.
    files: FileScope,
    /// TLS built from the DSN's files, rebuilt only when they have changed. A leaf lock.
    special: Mutex<Option<(CertFiles, BackendTls)>>,
    target: SessionTarget,
    tries: Tries,
    /// What new backends get.
    fresh: Leaf<FreshSettings>,
    /// The types of the tenant's parameters and columns.
    types: Arc<Types>,
    /// The server rejected client_connection_check_interval: it is older than PostgreSQL
    /// 14.
    old_server: AtomicBool,
}

/// What a pool's settings say of backends that are opened.
#[derive(Clone, Copy)]
struct FreshSettings {
    /// The most prepared statements that one caches.
    statement_cache: usize,
    tcp: TcpKeepalive,
}

impl FreshSettings {
    fn of(settings: &TenantPoolConfig) -> FreshSettings {
        FreshSettings { statement_cache: settings.statement_cache, tcp: settings.tcp }
    }
}

/// One attempt, over all its servers.
struct ServerAttempt<'a> {
    watch: &'a Arc<Watch>,
    door: &'a dyn Door,
    tls: BackendTls,
    limit: Duration,
    until: Instant,
}

impl ServerAttempt<'_> {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(clock::now())
    }

    /// The time for one server if `others` are to be tried after it: an unresponsive server
    /// must not use up the others' time.
    fn share(&self, others: usize) -> Duration {
        self.left() / u32::try_from(others + 1).unwrap_or(u32::MAX)
    }

    fn is_over(&self) -> bool {
        self.watch.is_aborted() || self.left().is_zero()
    }
}

impl PgConnect {
    /// A connector for `dsn` of `asker`; `application_name` is used unless the DSN has one.
    /// Each backend caches statements and watches its server as `settings` says. `reach` is what
    /// the DSN may name, and `tries` says when the password may be tried.
    pub fn new(
        dsn: Dsn,
        tries: Tries,
        asker: Asker,
        application_name: String,
        plain: BackendTls,
        reach: DsnReach,
        settings: &TenantPoolConfig,
    ) -> PgConnect {
        PgConnect {
            application_name: dsn.application_name.clone().unwrap_or(application_name),
            plain,
            files: reach.files,
            special: Mutex::default(),
            target: SessionTarget::new(dsn.target_session),
            tries,
            fresh: Leaf::new(FreshSettings::of(settings)),
            types: Arc::default(),
            old_server: AtomicBool::new(false),
            hosts: HostResolver::new(asker, reach.hosts),
            dsn,
        }
    }

    /// The TLS of the next connection. Reads the files that the DSN names.
    fn tls(&self) -> Result<BackendTls, ConnectError> {
        let keys = &self.dsn.tls;
        if keys.mode == SslMode::Disable || BackendTls::is_plain(keys) {
            return Ok(self.plain.clone());
        }
        let files = CertFiles::read(keys, &self.files)?;
        let special = || self.special.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tls)) = special().as_ref().filter(|(known, _)| *known == files) {
            return Ok(tls.clone());
        }
        let tls = BackendTls::new(keys, &files).map_err(ConnectError::Settings)?;
        *special() = Some((files, tls.clone()));
        Ok(tls)
    }

    pub(super) fn attempt(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
        door: &dyn Door,
    ) -> Result<PgBackend, ConnectError> {
        let until = clock::now() + limit;
        let mut attempt = ServerAttempt { watch, door, tls: self.tls()?, limit, until };
        if self.target.wanted() != TargetSession::PreferStandby {
            return self.search(&attempt, self.target.wanted()).map_err(ConnectError::several);
        }
        // An unresponsive standby must leave time for the other servers.
        attempt.until = clock::now() + limit / 2;
        match self.search(&attempt, TargetSession::PreferStandby) {
            Ok(backend) => Ok(backend),
            // A login that was refused would be refused again.
            Err(failed) if watch.is_aborted() || is_refused(&failed) => {
                Err(ConnectError::several(failed))
            }
            Err(_) => {
                attempt.until = until;
                self.search(&attempt, TargetSession::Any).map_err(ConnectError::several)
            }
        }
    }

    /// Tries the servers in their order. The errors are in that order too.
    fn search(
        &self,
        attempt: &ServerAttempt<'_>,
        wanted: TargetSession,
    ) -> Result<PgBackend, Vec<ConnectError>> {
        let mut failed = Vec::new();
        let hosts = self.dsn.hosts.len();
        for (host, behind) in self.dsn.hosts.iter().zip((0..hosts).rev()) {
            let share = attempt.share(behind);
            let found = self.hosts.resolve(host, share, attempt.limit);
            let addresses = match found {
                Ok(addresses) => addresses,
                Err(error) => {
                    failed.push(error);
                    if attempt.is_over() {
                        return Err(failed);
                    }
                    continue;
                }
            };
            for (address, others) in addresses.iter().zip((0..addresses.len()).rev()) {
                let limit = attempt.share(behind + others);
                match self.try_address(host, *address, attempt, limit, wanted) {
                    Ok(backend) => return Ok(backend),
                    Err(error) => failed.push(error),
                }
                // The other hosts have the same roles: they would refuse the login too.
                if is_refused(&failed) || attempt.is_over() {
                    return Err(failed);
                }
            }
        }
        Err(failed)
    }
}

/// True if a search ended because a login was refused or deferred.
fn is_refused(failed: &[ConnectError]) -> bool {
    matches!(failed.last(), Some(ConnectError::Rejected(_) | ConnectError::Deferred { .. }))
}

impl Connect for PgConnect {
    fn connect(
        &self,
        watch: &Arc<Watch>,
        limit: Duration,
        door: &dyn Door,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        let limit = self.dsn.connect_timeout.map_or(limit, |own| own.min(limit));
        // The driver panics when it cannot build its runtime, for example without file
        // descriptors. Only this attempt may fail for it.
        let backend = catch_unwind(AssertUnwindSafe(|| self.attempt(watch, limit, door)))
            .unwrap_or_else(|panic| Err(exhaustion_in_panic(&*panic)))?;
        self.hosts.lets_in();
        Ok(Box::new(backend))
    }

    fn follow(&self, settings: &TenantPoolConfig) {
        *self.fresh.lock() = FreshSettings::of(settings);
    }

    fn dsn(&self) -> Option<&Dsn> {
        Some(&self.dsn)
    }

    fn servers(&self) -> String {
        let servers = self.dsn.hosts.iter().map(ToString::to_string);
        servers.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests;
