//! The clocks of requests and leases.

use std::time::Duration;

use super::kind::secs;
use super::limits::{clock, key};
use super::{SettingKey, SettingKind};

/// The first cancel may find the statement between two steps; the second follows after this time.
const GRACE_LEAST: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) const KEYS: &[SettingKey] = &[
    key(
        "wait",
        "How long a request waits for a connection if it does not say so.",
        SettingKind::Time(secs(0, 300), |d| &mut d.config.limits.clocks.wait.usual),
    ),
    clock(
        "max_wait",
        "The longest `wait_timeout` that holds; a longer one is shortened.",
        300,
        |d| &mut d.config.limits.clocks.wait.most,
    ),
    clock("lease_ttl", "How long a lease may be idle if its request does not say so.", 3600, |d| {
        &mut d.config.limits.clocks.ttl.usual
    }),
    clock("max_lease_ttl", "The longest `ttl` that holds.", 3600, |d| {
        &mut d.config.limits.clocks.ttl.most
    }),
    clock(
        "idle_in_transaction",
        "How long a lease may be idle with an open transaction if its request does not say so.",
        3600,
        |d| &mut d.config.limits.clocks.idle_in_transaction.usual,
    ),
    clock("max_idle_in_transaction", "The longest `idle_in_transaction` that holds.", 3600, |d| {
        &mut d.config.limits.clocks.idle_in_transaction.most
    }),
    clock(
        "lease_lifetime",
        "How long a lease may last if its request does not say so; a streamed one-shot lasts no \
         longer either.",
        86_400,
        |d| &mut d.config.limits.clocks.lifetime.usual,
    ),
    clock(
        "max_lease_lifetime",
        "The longest `max_lifetime` of a request that holds.",
        86_400,
        |d| &mut d.config.limits.clocks.lifetime.most,
    ),
    clock(
        "statement_timeout",
        "How long statements may run if their request does not say so.",
        86_400,
        |d| &mut d.config.limits.clocks.statement.usual,
    ),
    clock("max_statement_timeout", "The longest `timeout` that holds.", 86_400, |d| {
        &mut d.config.limits.clocks.statement.most
    }),
    key(
        "cancel_grace",
        "How long a cancelled statement may take to stop before its connection is closed; a \
         release and the end of the service wait for so long.",
        SettingKind::Time(GRACE_LEAST..=MINUTE, |d| &mut d.config.limits.clocks.cancel_grace),
    ),
];
