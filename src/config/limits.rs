//! The limits of the service as a whole.

use std::time::Duration;

use crate::config::contradiction::Contradiction;
use crate::config::lease::Clocks;
use crate::config::message_sizes::{REQUEST_MAX, RESULT_MAX};
use crate::core::token_bucket::TokenRate;

/// The most bytes of incomplete requests from one client connection: sixteen of the largest.
pub const UNREAD_BYTES: u64 = 64 << 20;

/// The most bytes of incomplete requests from all client connections, which gRPC holds in memory.
pub const UNREAD_BYTES_IN_ALL: u64 = 256 << 20;

/// The most bytes that belong to no call, from a client connection of which no call was let in. A
/// handshake and the first calls take a tenth of it. Four times as much keeps a thread of gRPC
/// busy for a third of a second.
pub const STRAY_BYTES: u64 = 256 << 10;

/// How long there may be more of them. What a client has sent arrives before its first call is let
/// in: on a busy machine long before.
pub const STRAY_FOR: Duration = Duration::from_secs(1);

/// The default limit of client connections: an idle one costs 75 kB, so all together cost 750 MB at
/// most.
pub const CLIENT_CONNECTIONS: usize = 10_000;

/// Limits of the service as a whole.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sum of all tenants' `max_connections`.
    pub max_backends: usize,
    /// Backends at one server, over all tenants; `None`: as many as it accepts. A server is an
    /// address and a port.
    pub connections_per_server: Option<usize>,
    /// The most that a DSN's `pool_max_conns` may ask for, unless the default pool is larger.
    pub connections_per_tenant: usize,
    /// Requests waiting at one tenant.
    pub waiters_per_tenant: usize,
    /// Requests waiting in the service.
    pub waiters: usize,
    /// Waiting requests of one client connection. Three quarters of the streams gRPC allows it, so
    /// that parked requests never block a release.
    pub waiters_per_connection: usize,
    /// Waiting requests of one identity, on all its connections together; 0 = no limit of its own.
    pub waiters_per_identity: usize,
    /// Client connections over gRPC. `None`: as many as the file descriptors allow, at most
    /// [`CLIENT_CONNECTIONS`].
    pub client_connections: Option<usize>,
    /// Client connections from one address; 0 = as many as in all. `None`: half of all, so that no
    /// host alone can lock out the others.
    pub client_connections_per_address: Option<usize>,
    /// Leases that one client connection may hold at one tenant, so that others get some too.
    pub leases_per_caller: usize,
    /// Requests that one identity may make a second; 0 = as many as it likes. For callers without
    /// an identity there is no such limit: a new connection costs them nothing.
    pub requests_per_second: u32,
    /// How many of them may come at once. `None`: those of one second.
    pub request_burst: Option<usize>,
    /// Tenants whose first connection is being opened.
    pub opening_tenants: usize,
    /// Tombstones of ended leases.
    pub tombstones: usize,
    /// Age at which a tombstone is dropped.
    pub tombstone_age: Duration,
    /// How long a tenant of a client's DSN may be without a lease, a one-shot, a waiter or a
    /// listener before it is removed; its next request registers it anew.
    pub unused_tenant_age: Duration,
    /// The listeners of one tenant.
    pub listening: ListenLimits,
    /// Connections of each port of HTTP at once. Others wait in the listener's backlog.
    pub http_connections: usize,
    /// Tenants with series of their own in the metrics.
    pub metrics_tenants: usize,
    /// Bytes of results in one answer, below gRPC's 4 MiB message limit.
    pub result_bytes: usize,
    /// The time within which a request must arrive completely; for a stream, its first message.
    pub request_timeout: Duration,
    /// How long a reader of a streamed result may read nothing before its statement is cancelled:
    /// it holds a backend, its snapshot and its locks. Any call whose answer is not read for this
    /// long ends.
    pub stall_timeout: Duration,
    /// The clocks of leases, waits and statements.
    pub clocks: Clocks,
    /// Statements in one Execute.
    pub statements: usize,
    /// Bytes of one statement's text.
    pub sql_bytes: usize,
    /// Bytes held in memory for clients: waiting requests, unsent answers, notifications, data read
    /// ahead, partial messages of PostgreSQL. Each of these uses may take at most half.
    pub memory_bytes: usize,
    /// The most of it for one tenant.
    pub memory_bytes_per_tenant: usize,
    /// The most of it for one client connection.
    pub memory_bytes_per_connection: usize,
}

/// The limits of one tenant's listeners, who share a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenLimits {
    /// Listeners.
    pub listeners: usize,
    /// Channels of all of them.
    pub channels: usize,
    /// The pause before another connection is asked for when theirs is lost; each further one is
    /// twice as long.
    pub pause: Duration,
    /// The longest such pause.
    pub pause_max: Duration,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        let (pause, pause_max) = (Duration::from_millis(100), Duration::from_secs(5));
        ListenLimits { listeners: 1000, channels: 1000, pause, pause_max }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_backends: 2000,
            // PostgreSQL itself refuses connections when it is full.
            connections_per_server: None,
            connections_per_tenant: 100,
            waiters_per_tenant: 1000,
            waiters: 20_000,
            waiters_per_connection: 192,
            // A gateway for all may be one identity.
            waiters_per_identity: 0,
            client_connections: None,
            client_connections_per_address: None,
            leases_per_caller: 20,
            // What a request costs differs too much for a number that fits everybody.
            requests_per_second: 0,
            request_burst: None,
            opening_tenants: 100,
            tombstones: 100_000,
            tombstone_age: Duration::from_secs(600),
            unused_tenant_age: Duration::from_secs(600),
            listening: ListenLimits::default(),
            http_connections: 64,
            // A page has some 30 kB a tenant.
            metrics_tenants: 100,
            result_bytes: RESULT_MAX,
            // 4 MiB on a line of 4 Mbit/s.
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            clocks: Clocks::default(),
            statements: 1000,
            sql_bytes: 3 * 1024 * 1024,
            // A small virtual machine has room for it beside its backends.
            memory_bytes: 512 << 20,
            // An eighth. A use is limited to a half, so tenants that fill one leave the others usable.
            memory_bytes_per_tenant: 64 << 20,
            // Ten of the largest requests.
            memory_bytes_per_connection: 32 << 20,
        }
    }
}

impl Limits {
    /// How many requests a second one identity may make; `None`: as many as it likes.
    pub fn request_rate(&self) -> Option<TokenRate> {
        let per_second = self.requests_per_second;
        let burst = self.request_burst.and_then(|burst| u32::try_from(burst).ok());
        (per_second > 0).then(|| TokenRate { per_second, burst: burst.unwrap_or(per_second) })
    }

    /// The rules that they break together, so that no client could be served.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut broken = self.clocks.contradictions();
        let mut rule = |is_broken: bool, rule: String, keys: &'static [&'static str]| {
            if is_broken {
                broken.push(Contradiction::new(rule, keys));
            }
        };
        let callers = "leases per caller must be greater than 0".to_owned();
        rule(self.leases_per_caller == 0, callers, &["leases_per_caller"]);
        let clients = "client connections must be greater than 0".to_owned();
        rule(self.client_connections == Some(0), clients, &["max_client_connections"]);
        let (first, longest) = (self.listening.pause, self.listening.pause_max);
        let (least, most) = (first.as_secs_f64(), longest.as_secs_f64());
        let pauses =
            format!("listen_pause cannot be greater than listen_pause_max: {least} s > {most} s");
        rule(first > longest, pauses, &["listen_pause", "listen_pause_max"]);
        let (all, tenant) = (self.memory_bytes, self.memory_bytes_per_tenant);
        let connection = self.memory_bytes_per_connection;
        rule(
            connection < REQUEST_MAX,
            format!(
                "memory per connection must be at least {REQUEST_MAX} bytes, the largest request: {connection}"
            ),
            &["memory_per_connection"],
        );
        rule(
            connection > tenant,
            format!(
                "memory per connection cannot be greater than memory per tenant: {connection} > {tenant}"
            ),
            &["memory_per_connection", "memory_per_tenant"],
        );
        rule(
            tenant > all,
            format!(
                "memory per tenant cannot be greater than the limit of all memory: {tenant} > {all}"
            ),
            &["memory_per_tenant", "memory_limit"],
        );
        broken
    }
}
