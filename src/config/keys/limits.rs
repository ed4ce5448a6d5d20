//! The limits of the service as a whole.

use std::time::Duration;

use super::kind::{secs, DraftPlace, ANY, FOREVER_SECS};
use super::{Custom, Section, SettingKey, SettingKind};
use crate::config::message_sizes::{REQUEST_MAX, RESULT_MAX};

/// More requests a second than a machine answers.
const REQUEST_RATE_MAX: u64 = 1_000_000;

/// More attempts than a hundred a second are no help to a database that comes back.
const LISTEN_PAUSE_LEAST: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) const fn key(name: &'static str, help: &'static str, kind: SettingKind) -> SettingKey {
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

pub(super) const fn clock(
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
         many as it accepts. See [Tenants of one server](tenants.md#tenants-of-one-server).",
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
        "The most that a DSN of a client may ask for with `pool_max_conns`, unless \
         `--max-connections` is larger.",
        1,
        |d| &mut d.config.limits.connections_per_tenant,
    ),
    fixed(SettingKey {
        default: Some("as many as file descriptors allow, at most 10000"),
        ..key(
            "max_client_connections",
            "The most client connections over gRPC; the newest beyond that are closed.",
            SettingKind::Optional(1..=ANY, |d| &mut d.config.limits.client_connections),
        )
    }),
    fixed(SettingKey {
        default: Some("half of all"),
        ..key(
            "client_connections_per_address",
            "The most client connections from one address; 0 = as many as in all, for a service \
             behind a proxy.",
            SettingKind::Optional(0..=ANY, |d| &mut d.config.limits.client_connections_per_address),
        )
    }),
    fixed(count(
        "leases_per_caller",
        "Leases that one identity, or one client connection without an identity, may hold at a \
         tenant, if the tenant may have more connections than that. Otherwise it may have them \
         all, and waits for the next.",
        1,
        |d| &mut d.config.limits.leases_per_caller,
    )),
    key(
        "requests_per_second",
        "Requests that one [identity](security.md#identities) may make a second, on all its \
         connections together; more are refused (`RATE_LIMITED`). 0 = no limit. A stream is one \
         request, whatever is sent on it. Callers without an identity are not limited: a new \
         connection costs them nothing.",
        SettingKind::Small(0..=REQUEST_RATE_MAX, |d| &mut d.config.limits.requests_per_second),
    ),
    SettingKey {
        default: Some("those of one second"),
        ..key(
            "request_burst",
            "How many requests of one identity may come at once.",
            SettingKind::Optional(1..=REQUEST_RATE_MAX, |d| &mut d.config.limits.request_burst),
        )
    },
    count("max_waiters_per_tenant", "Requests that wait at one tenant; more are refused.", 0, |d| {
        &mut d.config.limits.waiters_per_tenant
    }),
    fixed(count("max_waiters", "Requests that wait in the service.", 0, |d| {
        &mut d.config.limits.waiters
    })),
    fixed(key(
        "max_waiters_per_connection",
        "Requests of one client connection that wait. gRPC allows it 256 streams: the rest is for \
         releases and renewals.",
        SettingKind::Count(1..=192, |d| &mut d.config.limits.waiters_per_connection),
    )),
    count(
        "max_waiters_per_identity",
        "Requests of one [identity](security.md#identities) that wait, on all its connections and \
         at all tenants together; more are refused (`CALLER_LIMIT`), and served if they need not \
         wait. 0 = no limit.",
        0,
        |d| &mut d.config.limits.waiters_per_identity,
    ),
    count("max_opening_tenants", "Tenants whose first connection is being opened.", 1, |d| {
        &mut d.config.limits.opening_tenants
    }),
    clock(
        "unused_tenant_age",
        "How long a tenant that a client has registered may be without a lease, a one-shot, a \
         waiter or a listener before it is removed. Its next request registers it anew.",
        FOREVER_SECS,
        |d| &mut d.config.limits.unused_tenant_age,
    ),
    count(
        "max_listeners_per_tenant",
        "`Listen` calls of one tenant, which share one connection.",
        1,
        |d| &mut d.config.limits.listening.listeners,
    ),
    count("max_channels_per_tenant", "Channels of all listeners of one tenant.", 1, |d| {
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
        "The time within which a request must arrive completely; of a stream, its first message.",
        SettingKind::Time(secs(1, 3600), |d| &mut d.config.limits.request_timeout),
    ),
    key(
        "stall_timeout",
        "How long a client may take nothing of a `Query`, `CopyOut` or `Listen`, or send nothing \
         to a `CopyIn`, before its statement is cancelled. A call whose answer is not taken ends \
         after that time; a `Query`, `CopyOut` or `Listen` after twice that.",
        SettingKind::Time(secs(1, 86_400), |d| &mut d.config.limits.stall_timeout),
    ),
    fixed(size(
        "memory_limit",
        "Memory that is held for clients and servers, in bytes, or with `KiB`, `MiB`, `GiB`; see \
         [Limits](limits.md#memory).",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes,
    )),
    fixed(size(
        "memory_per_tenant",
        "What one tenant may have of that memory.",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes_per_tenant,
    )),
    fixed(size(
        "memory_per_connection",
        "What one client connection may have of that memory; at least 4 MiB, the largest request.",
        (REQUEST_MAX, usize::MAX),
        |d| &mut d.config.limits.memory_bytes_per_connection,
    )),
    size(
        "max_result",
        "The largest result in one answer; a client takes 4 MiB with all around it.",
        (1024, RESULT_MAX),
        |d| &mut d.config.limits.result_bytes,
    ),
    size("max_sql", "The longest text of one statement.", (1024, REQUEST_MAX), |d| {
        &mut d.config.limits.sql_bytes
    }),
    key(
        "max_statements",
        "Statements in one `Execute`.",
        SettingKind::Count(1..=100_000, |d| &mut d.config.limits.statements),
    ),
    fixed(key(
        "max_ended_leases",
        "Leases that have ended of which the service still knows how, to tell who asks.",
        SettingKind::Count(1..=10_000_000, |d| &mut d.config.limits.tombstones),
    )),
    fixed(clock(
        "ended_lease_age",
        "How long the service knows how a lease has ended.",
        FOREVER_SECS,
        |d| &mut d.config.limits.tombstone_age,
    )),
];

const fn size(
    name: &'static str,
    help: &'static str,
    (least, most): (usize, usize),
    at: DraftPlace<usize>,
) -> SettingKey {
    key(name, help, SettingKind::Size(least..=most, at))
}
