//! The settings of a tenant's pool: the defaults of all tenants, and those of one in its table.

use std::time::Duration;

use super::kind::{secs, FOREVER_SECS};
use super::{Custom, Section, SettingKey, SettingKind};
use crate::config::{Reset, LEAST_LIFETIME};

/// A connection attempt of minutes would keep a caller waiting for a database that is away.
const LONGEST_CONNECT_SECS: u64 = 60;
/// More probes than ten a second are no help to a database that comes back.
const PROBE_LEAST: Duration = Duration::from_millis(100);

const HOUR: Duration = Duration::from_secs(3600);

/// The kernel takes no more.
const KEEPALIVE_MAX_SECS: u64 = 32_767;

/// Beyond these a server only remembers.
const MOST_CONNECTIONS: u64 = 100_000;

const fn key(
    name: &'static str,
    also: &'static [&'static str],
    help: &'static str,
    kind: SettingKind,
) -> SettingKey {
    SettingKey { name, table: Section::Defaults, also, help, default: None, live: true, kind }
}

pub(super) const KEYS: &[SettingKey] = &[
    SettingKey {
        default: Some("20, or those of all tenants if lower"),
        ..key(
            "max_connections",
            &["DB_MAX_CONNS", "GRPC_CONNECTION_POOL_SIZE"],
            "The most connections of a tenant, at most `--max-backends`.",
            SettingKind::Count(1..=MOST_CONNECTIONS, |d| &mut d.config.pool.max_connections),
        )
    },
    SettingKey {
        default: Some("5, or the maximum if lower"),
        ..key(
            "min_connections",
            &["DB_MIN_CONNS"],
            "Connections of a tenant that are kept open, leased ones included, as long as its \
             server has room.",
            SettingKind::Count(0..=MOST_CONNECTIONS, |d| &mut d.config.pool.min_connections),
        )
    },
    key(
        "max_lifetime",
        &["DB_MAX_CONN_LIFETIME"],
        "Lifetime of a connection: after that it is replaced, once it is not leased. The lifetime \
         of a lease is `max_lifetime` in the request.",
        SettingKind::Time(secs(LEAST_LIFETIME.as_secs(), FOREVER_SECS), |d| {
            &mut d.config.pool.max_lifetime
        }),
    ),
    key(
        "lifetime_jitter",
        &[],
        "The part of the lifetime by which it is shortened at most, at random, so that connections \
         opened together are not replaced together.",
        SettingKind::Fraction(0.0..=1.0, |d| &mut d.config.pool.lifetime_jitter),
    ),
    key(
        "idle_timeout",
        &["DB_MAX_CONN_IDLE_TIME"],
        "The time after which an idle connection above the minimum is closed.",
        SettingKind::Time(secs(LEAST_LIFETIME.as_secs(), FOREVER_SECS), |d| {
            &mut d.config.pool.idle_timeout
        }),
    ),
    key(
        "connect_timeout",
        &["DB_CONNECT_TIMEOUT", "GRPC_CONNECTION_TIMEOUT_SECS"],
        "How long an attempt to open a connection may take, over all its steps; a shorter \
         `connect_timeout` of the DSN wins.",
        SettingKind::Time(secs(1, LONGEST_CONNECT_SECS), |d| &mut d.config.pool.connect_timeout),
    ),
    key(
        "connect_retries",
        &[],
        "Further attempts after one that failed for a passing reason, while a caller waits.",
        SettingKind::Small(0..=20, |d| &mut d.config.pool.connect_retries),
    ),
    key(
        "connect_pause",
        &[],
        "The pause before the first further attempt; each later one is twice as long.",
        SettingKind::Time(secs(0, 60), |d| &mut d.config.pool.connect_pause),
    ),
    SettingKey {
        default: Some("5, or connect_pause if longer"),
        ..key(
            "connect_pause_max",
            &[],
            "The longest of these pauses.",
            SettingKind::Time(secs(0, 60), |d| &mut d.config.pool.connect_pause_max),
        )
    },
    key(
        "breaker_failures",
        &[],
        "Failed attempts in a row after which callers are answered at once and the database is \
         probed.",
        SettingKind::Small(1..=1000, |d| &mut d.config.pool.breaker_failures),
    ),
    key(
        "breaker_successes",
        &[],
        "Good probes in a row after which connections are opened again.",
        SettingKind::Small(1..=1000, |d| &mut d.config.pool.breaker_successes),
    ),
    key(
        "breaker_probe_interval",
        &[],
        "The pause between probes of a database that cannot be reached. After two minutes each is \
         twice as long as the one before.",
        SettingKind::Time(PROBE_LEAST..=HOUR, |d| &mut d.config.pool.breaker_probe),
    ),
    SettingKey {
        default: Some("30, or breaker_probe_interval if longer"),
        ..key(
            "breaker_probe_max",
            &[],
            "The longest of these pauses.",
            SettingKind::Time(PROBE_LEAST..=HOUR, |d| &mut d.config.pool.breaker_probe_max),
        )
    },
    key(
        "reset",
        &[],
        "What happens to a connection after a lease or one-shot: `clean` resets and reuses it, \
         `close` closes it.",
        SettingKind::Custom(Custom {
            value: "HOW",
            allowed: "clean, close",
            set: |draft, value| {
                let words = [("clean", Reset::Clean), ("close", Reset::Close)];
                draft.config.pool.reset = value.choice(&words)?;
                Ok(())
            },
            show: |draft| Some(draft.config.pool.reset.as_str().to_owned()),
            is_list: false,
        }),
    ),
    key(
        "statement_cache",
        &[],
        "Prepared statements that each connection keeps; 0 keeps none.",
        SettingKind::Count(0..=100_000, |d| &mut d.config.pool.statement_cache),
    ),
    key(
        "check_after_idle",
        &[],
        "A connection that was idle for longer is checked before it is leased.",
        SettingKind::Time(secs(0, 86_400), |d| &mut d.config.pool.check_after_idle),
    ),
    key(
        "check_timeout",
        &[],
        "How long that check, and a reset, may take.",
        SettingKind::Time(secs(1, 60), |d| &mut d.config.pool.check_timeout),
    ),
    key(
        "health_check_interval",
        &["DB_HEALTH_CHECK_PERIOD", "GRPC_HEALTH_CHECK_INTERVAL_SECS"],
        "How often each idle connection is checked; 0 = never.",
        SettingKind::Time(secs(0, 3600), |d| &mut d.config.pool.health_interval),
    ),
    key(
        "health_check_timeout",
        &[],
        "How long a check of a connection may take.",
        SettingKind::Time(secs(1, 300), |d| &mut d.config.pool.health_timeout),
    ),
    key(
        "ping_interval",
        &[],
        "The silence after which an idle connection, or that of the listeners, is pinged, so that \
         no firewall forgets it; 0 = never.",
        SettingKind::Time(secs(0, 3600), |d| &mut d.config.pool.ping_interval),
    ),
    key(
        "tcp_keepalive_idle",
        &[],
        "The silence after which TCP asks a server whether it is there, unless the DSN has \
         `keepalives_idle`.",
        SettingKind::Time(secs(1, KEEPALIVE_MAX_SECS), |d| &mut d.config.pool.tcp.idle),
    ),
    key(
        "tcp_keepalive_interval",
        &[],
        "The time between further such questions (`keepalives_interval`).",
        SettingKind::Time(secs(1, KEEPALIVE_MAX_SECS), |d| &mut d.config.pool.tcp.interval),
    ),
    key(
        "tcp_keepalive_probes",
        &[],
        "Unanswered ones after which the connection is lost (`keepalives_count`).",
        SettingKind::Small(1..=127, |d| &mut d.config.pool.tcp.probes),
    ),
    key(
        "tcp_user_timeout",
        &[],
        "How long a server may leave data unacknowledged before the connection is lost \
         (`tcp_user_timeout`); 0 = as long as the system has it.",
        SettingKind::Time(secs(0, 86_400), |d| &mut d.config.pool.tcp.user_timeout),
    ),
];
