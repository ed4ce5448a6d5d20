//! The addresses of a host.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::lookups::{Lookups, NoLookup, Refused};
use crate::backend::resource_exhaustion::exhaustion;
use crate::clock;
use crate::config::dsn::HostPort;
use crate::core::allowed_hosts::AllowedHosts;
use crate::core::expiring_map::ExpiringMap;
use crate::core::ids::TenantId;
use crate::core::lookup_slots::Asker;
use crate::error::ConnectError;

/// The result of a lookup.
type LookUpResult = Result<Vec<SocketAddr>, ConnectError>;

/// All lookups of the process: the tenants share the system's resolver.
static LOOKUPS: Lookups<LookUpResult> = Lookups::new();
/// Recent results, used if the name server does not respond.
static KNOWN: Names = Names(Mutex::new(None));

/// How long a result is kept. A working name server is queried each time.
const LIFE: Duration = Duration::from_secs(60);
/// Limits on the kept names, their bytes and their addresses: 1 MB in all.
const NAMES: usize = 1000;
const NAME_BYTES: usize = 260;
const ADDRESSES: usize = 16;
/// How long a request with a recent result waits for a new one.
const FRESH_WITHIN: Duration = Duration::from_secs(1);

/// Asks the system for the addresses of a name; it may take any time.
pub(super) type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Finds the addresses of the hosts of one DSN.
pub(super) struct HostResolver {
    /// On whose behalf.
    asker: Asker,
    allowed: Arc<AllowedHosts>,
    look_up: LookUp,
    /// A connection was opened, so whoever sends the DSN knows that its hosts are allowed.
    has_let_in: AtomicBool,
}

impl HostResolver {
    /// Asks the system, and returns what is allowed.
    pub(super) fn new(asker: Asker, allowed: Arc<AllowedHosts>) -> HostResolver {
        HostResolver::asking(system, asker, allowed)
    }

    /// The same that asks this one.
    pub(super) fn asking(
        look_up: LookUp,
        asker: Asker,
        allowed: Arc<AllowedHosts>,
    ) -> HostResolver {
        HostResolver { asker, allowed, look_up, has_let_in: AtomicBool::new(false) }
    }

    /// The tenant of the DSN.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.asker.tenant
    }

    /// A connection was opened.
    pub(super) fn lets_in(&self) {
        self.has_let_in.store(true, Ordering::Relaxed);
    }

    /// The addresses of a host that are allowed, within `left` of the attempt's `limit`. Only
    /// these may be dialled, and no second lookup be made: its answer might be another.
    ///
    /// # Errors
    /// The name has no address, none was found in time, or none is allowed. Which of these it is
    /// would tell a client what names there are. So a name that the client may not know to be
    /// allowed is reported as not allowed, whatever the reason.
    pub(super) fn resolve(&self, host: &HostPort, left: Duration, limit: Duration) -> LookUpResult {
        let allowed = &self.allowed;
        let forbidden = |why| ConnectError::Forbidden { target: host.to_string(), why };
        let name = host.host.as_deref().unwrap_or_default();
        let given = host.hostaddr.or_else(|| name.parse::<IpAddr>().ok());
        let is_secret = || !self.has_let_in.load(Ordering::Relaxed) && !allowed.may_be_known(name);
        let (name, mut found) = match given {
            Some(ip) => (None, vec![SocketAddr::new(ip, host.port)]),
            None if !allowed.may_look_up(name) => return Err(forbidden(None)),
            None => match self.addresses_of(name, host.port, left, limit) {
                Ok(found) => (Some(name), found),
                Err(ConnectError::Starved(why)) => return Err(ConnectError::Starved(why)),
                Err(error) if is_secret() => return Err(forbidden(Some(error.to_string()))),
                Err(error) => return Err(error),
            },
        };
        found.retain(|at| allowed.allows(name, at.ip()));
        match found.is_empty() {
            true => Err(forbidden(None)),
            false => Ok(found),
        }
    }

    fn addresses_of(&self, name: &str, port: u16, left: Duration, limit: Duration) -> LookUpResult {
        let (name, target) = (name.to_owned(), format!("{name}:{port}"));
        let (now, shown, system) = (clock::now(), target.clone(), self.look_up);
        let known = KNOWN.find(&target, now);
        let left = known.as_ref().map_or(left, |_| left.min(FRESH_WITHIN));
        let joined = LOOKUPS
            .join(&target, &self.asker, left, now, move || look_up(system, &name, port, shown));
        let waited = clock::now().saturating_duration_since(now);
        let error = match joined.map(|pending| pending.wait(left.saturating_sub(waited))) {
            Ok(Ok(found)) => return found,
            Ok(Err(NoLookup::Late)) => {
                ConnectError::TimedOut { target, step: "host name lookup", limit }
            }
            Ok(Err(NoLookup::Gone)) => {
                ConnectError::Starved(format!("no thread to look up {target}"))
            }
            Err(Refused::TooMany) => ConnectError::Starved(format!(
                "too many host name lookups have no answer yet, {target}"
            )),
            Err(Refused::NoThread(error)) => {
                ConnectError::Starved(format!("no thread to look up {target}: {error}"))
            }
        };
        known.ok_or(error)
    }
}

/// The last good answers. A leaf lock; its value is consistent between calls, so a poisoned
/// lock is usable.
struct Names(Mutex<Option<ExpiringMap<String, Vec<SocketAddr>>>>);

impl Names {
    fn find(&self, target: &str, now: Instant) -> Option<Vec<SocketAddr>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.as_ref()?.find(&target.to_owned(), now).cloned()
    }

    fn keep(&self, target: &str, addresses: &[SocketAddr], now: Instant) {
        if target.len() > NAME_BYTES {
            return;
        }
        let addresses = addresses.iter().take(ADDRESSES).copied().collect();
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_with(|| ExpiringMap::new(NAMES, LIFE));
        names.put(target.to_owned(), addresses, now);
    }
}

/// Queries the system's resolver, which has no time limit.
fn system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (name, port).to_socket_addrs().map(Iterator::collect)
}

fn look_up(ask: LookUp, name: &str, port: u16, target: String) -> LookUpResult {
    match ask(name, port) {
        Ok(addresses) => match addresses.is_empty() {
            true => Err(ConnectError::Unreachable { target, why: "no address".to_owned() }),
            false => {
                KNOWN.keep(&target, &addresses, clock::now());
                Ok(addresses)
            }
        },
        Err(error) => Err(exhaustion(&error).unwrap_or_else(|| ConnectError::Unreachable {
            target,
            why: format!("host name lookup: {error}"),
        })),
    }
}
