//! The limits of the service as a whole, and the clocks of leases.

use std::time::Duration;

use super::kind::{secs, DraftPlace, ANY, FOREVER_SECS};
use super::{Custom, Section, SettingKey, SettingKind};
use crate::config::message_sizes::{REQUEST_MAX, RESULT_MAX};

/// More requests a second than a machine answers.
const REQUEST_RATE_MAX: u64 = 1_000_000;

/// More attempts than a hundred a second are no help to a database that comes back.
const LISTEN_PAUSE_LEAST: Duration = Duration::from_millis(10);
/// The first cancel may find the statement between two steps; the second follows after this time.
const GRACE_LEAST: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

const fn key(name: &'static str, help: &'static str, kind: SettingKind) -> SettingKey {
    SettingKey { name, table: Section::Service, also: &[], help, default: None, live: true, kind }
}

/// What is laid out at the start, so that only a restart changes it.
const fn fixed(key: SettingKey) -> SettingKey {
    SettingKey { live: false, ..key }
}

const fn count(
    name: &'static str,
    help: &'static str,
    least: u64,
    at: DraftPlace<usize>,
) -> SettingKey {
    key(name, help, SettingKind::Count(least..=ANY, at))
}

const fn clock(
    name: &'static str,
    help: &'static str,
    most: u64,
    at: DraftPlace<Duration>,
) -> SettingKey {
    key(name, help, SettingKind::Time(secs(1, most), at))
}

pub(super) const KEYS: &[SettingKey] = &[
    count("max_backends", "The most connections of all tenants together.", 1, |d| {
        &mut d.config.limits.max_backends
    }),
    fixed(key(
        "max_connections_per_server",
        "The most connections to one server (address and port), of all tenants together; 0 = as \
         many as it accepts.",
        SettingKind::Custom(Custom {
            value: "COUNT",
            allowed: "from 0",
            set: |draft, value| {
                let number = usize::try_from(value.number(0..=ANY)?).unwrap_or(usize::MAX);
                draft.config.limits.connections_per_server = Some(number).filter(|n| *n > 0);
                Ok(())
            },
            show: |draft| {
                let limit = draft.config.limits.connections_per_server;
                Some(limit.unwrap_or(0).to_string())
            },
            is_list: false,
        }),
    )),
    count(
        "max_connections_per_dsn",
        "The most that a client's DSN may ask for with pool_max_conns, unless max_connections is \
         larger.",
        1,
        |d| &mut d.config.limits.connections_per_tenant,
    ),
    fixed(SettingKey {
        default: Some("as many as file descriptors allow, at most 10000"),
        ..key(
            "max_client_connections",
            "The most client connections over gRPC.",
            SettingKind::Optional(1..=ANY, |d| &mut d.config.limits.client_connections),
        )
    }),
    fixed(SettingKey {
        default: Some("half of all"),
        ..key(
            "client_connections_per_address",
            "The most client connections from one address; 0 = no limit of its own.",
            SettingKind::Optional(0..=ANY, |d| &mut d.config.limits.client_connections_per_address),
        )
    }),
    fixed(count(
        "leases_per_caller",
        "Leases that one identity, or one client connection without an identity, may hold at a \
         tenant, if the tenant may have more connections than that; otherwise it may have all.",
        1,
        |d| &mut d.config.limits.leases_per_caller,
    )),
    key(
        "requests_per_second",
        "Requests that one identity may make a second, on all its connections together; 0 = no \
         limit. A stream is one request. Callers without an identity are not limited.",
        SettingKind::Small(0..=REQUEST_RATE_MAX, |d| &mut d.config.limits.requests_per_second),
    ),
    SettingKey {
        default: Some("those of one second"),
        ..key(
            "request_burst",
            "How many of them may come at once.",
            SettingKind::Optional(1..=REQUEST_RATE_MAX, |d| &mut d.config.limits.request_burst),
        )
    },
    count("max_waiters_per_tenant", "Requests that wait at one tenant.", 0, |d| {
        &mut d.config.limits.waiters_per_tenant
    }),
    fixed(count("max_waiters", "Requests that wait in the service.", 0, |d| {
        &mut d.config.limits.waiters
    })),
    fixed(key(
        "max_waiters_per_connection",
        "Requests of one client connection that wait; with more there would be no room for a \
         release.",
        SettingKind::Count(1..=192, |d| &mut d.config.limits.waiters_per_connection),
    )),
    count(
        "max_waiters_per_identity",
        "Requests of one identity that wait, on all its connections together; 0 = no limit.",
        0,
        |d| &mut d.config.limits.waiters_per_identity,
    ),
    count("max_opening_tenants", "Tenants whose first connection is being opened.", 1, |d| {
        &mut d.config.limits.opening_tenants
    }),
    clock(
        "unused_tenant_age",
        "How long a tenant that a client has registered may be unused before it is removed.",
        FOREVER_SECS,
        |d| &mut d.config.limits.unused_tenant_age,
    ),
    count("max_listeners_per_tenant", "Listen calls of one tenant.", 1, |d| {
        &mut d.config.limits.listening.listeners
    }),
    count("max_channels_per_tenant", "Channels of all its listeners.", 1, |d| {
        &mut d.config.limits.listening.channels
    }),
    key(
        "listen_pause",
        "The pause before another connection is asked for when that of the listeners is lost; each \
         further one is twice as long.",
        SettingKind::Time(LISTEN_PAUSE_LEAST..=MINUTE, |d| &mut d.config.limits.listening.pause),
    ),
    key(
        "listen_pause_max",
        "The longest of these pauses.",
        SettingKind::Time(LISTEN_PAUSE_LEAST..=MINUTE, |d| {
            &mut d.config.limits.listening.pause_max
        }),
    ),
    key(
        "request_timeout",
        "How long a request may take to arrive completely.",
        SettingKind::Time(secs(1, 3600), |d| &mut d.config.limits.request_timeout),
    ),
    key(
        "stall_timeout",
        "How long a client may read nothing of a streamed result before its statement is \
         cancelled; a call whose answer is not read for so long ends.",
        SettingKind::Time(secs(1, 86_400), |d| &mut d.config.limits.stall_timeout),
    ),
    fixed(size(
        "memory_limit",
        "Memory held for clients: waiting requests, unsent answers, notifications, data read \
         ahead; in bytes, or with KiB, MiB, GiB.",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes,
    )),
    fixed(size(
        "memory_per_tenant",
        "The most of it for one tenant.",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes_per_tenant,
    )),
    fixed(size(
        "memory_per_connection",
        "The most of it for one client connection.",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes_per_connection,
    )),
    size("max_result", "The largest result in one answer.", (1024, RESULT_MAX), |d| {
        &mut d.config.limits.result_bytes
    }),
    size("max_sql", "The longest text of one statement.", (1024, REQUEST_MAX), |d| {
        &mut d.config.limits.sql_bytes
    }),
    key(
        "max_statements",
        "Statements in one Execute.",
        SettingKind::Count(1..=100_000, |d| &mut d.config.limits.statements),
    ),
    fixed(key(
        "max_ended_leases",
        "Leases that have ended of which the service still knows how.",
        SettingKind::Count(1..=10_000_000, |d| &mut d.config.limits.tombstones),
    )),
    fixed(clock("ended_lease_age", "How long it knows that.", FOREVER_SECS, |d| {
        &mut d.config.limits.tombstone_age
    })),
    key(
        "wait",
        "How long a request waits for a connection that does not say so itself.",
        SettingKind::Time(secs(0, 300), |d| &mut d.config.limits.clocks.wait.usual),
    ),
    clock("max_wait", "The longest wait that a request may ask for.", 300, |d| {
        &mut d.config.limits.clocks.wait.most
    }),
    clock("lease_ttl", "How long a lease may be idle that does not say so itself.", 3600, |d| {
        &mut d.config.limits.clocks.ttl.usual
    }),
    clock("max_lease_ttl", "The longest time that it may ask for.", 3600, |d| {
        &mut d.config.limits.clocks.ttl.most
    }),
    clock(
        "idle_in_transaction",
        "How long a lease may be idle with an open transaction that does not say so itself.",
        3600,
        |d| &mut d.config.limits.clocks.idle_in_transaction.usual,
    ),
    clock("max_idle_in_transaction", "The longest time that it may ask for.", 3600, |d| {
        &mut d.config.limits.clocks.idle_in_transaction.most
    }),
    clock(
        "lease_lifetime",
        "How long a lease may last that does not say so itself.",
        86_400,
        |d| &mut d.config.limits.clocks.lifetime.usual,
    ),
    clock("max_lease_lifetime", "The longest time that it may ask for.", 86_400, |d| {
        &mut d.config.limits.clocks.lifetime.most
    }),
    clock(
        "statement_timeout",
        "How long statements may run that do not say so themselves.",
        86_400,
        |d| &mut d.config.limits.clocks.statement.usual,
    ),
    clock("max_statement_timeout", "The longest time that they may ask for.", 86_400, |d| {
        &mut d.config.limits.clocks.statement.most
    }),
    key(
        "cancel_grace",
        "How long a cancelled statement may take to stop before its connection is closed.",
        SettingKind::Time(GRACE_LEAST..=MINUTE, |d| &mut d.config.limits.clocks.cancel_grace),
    ),
];

const fn size(
    name: &'static str,
    help: &'static str,
    (least, most): (usize, usize),
    at: DraftPlace<usize>,
) -> SettingKey {
    key(name, help, SettingKind::Size(least..=most, at))
}
