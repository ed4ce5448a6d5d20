//! What an operator sees of tenants, leases and backends, in pages.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use protobuf::{EnumOrUnknown, Message};

use super::fields::{duration, timestamp, unix_timestamp};
use super::health::{breaker, number, tenant_state};
use super::lease::lease;
use crate::clock;
use crate::config::TenantPoolConfig;
use crate::core::access::TenantUsers;
use crate::core::gate::Pause;
use crate::core::ids::TenantId;
use crate::core::lease_table::{LeaseView, Via};
use crate::error::RequestError;
use crate::pool::admin::looks::{ListedTenant, Page, ShownTenant, TenantSource};
use crate::pool::store::ListedBackend;
use crate::proto::admin as wire;

/// The entries of a page, if its request does not say.
const PAGE_SIZE: usize = 100;
const PAGE_SIZES: RangeInclusive<i32> = 1..=500;
/// A page has no more bytes, but for its first entry: clients take 4 MiB by default.
const PAGE_BYTES: u64 = 1 << 20;

/// A parsed `page_size`.
pub(in crate::rpc) fn page_size(size: i32) -> Result<usize, RequestError> {
    match usize::try_from(size) {
        Ok(0) => Ok(PAGE_SIZE),
        Ok(entries) if PAGE_SIZES.contains(&size) => Ok(entries),
        _ => {
            let (least, most) = (PAGE_SIZES.start(), PAGE_SIZES.end());
            Err(RequestError::invalid("page_size", format!("page_size must be {least} to {most}")))
        }
    }
}

/// The key behind which a page goes on; `None` for the first page.
pub(in crate::rpc) fn after<K: FromStr>(token: &str) -> Result<Option<K>, RequestError> {
    let foreign = || {
        RequestError::invalid("page_token", "page_token must be a next_page_token of the same list")
    };
    match token {
        "" => Ok(None),
        token => {
            token.strip_prefix(TOKEN).and_then(|key| key.parse().ok()).map(Some).ok_or_else(foreign)
        }
    }
}

/// A parsed `page_token` of the list of tenants.
pub(in crate::rpc) fn after_tenant(token: &str) -> Result<Option<TenantId>, RequestError> {
    let name: Option<String> = after(token)?;
    let parsed = name.map(|name| TenantId::parse(&name)).transpose();
    parsed.map_err(|_| RequestError::invalid("page_token", "page_token is not of this list"))
}

/// The tenant whose leases are listed; `None` for all.
pub(in crate::rpc) fn tenant_or_all(text: &str) -> Result<Option<TenantId>, RequestError> {
    Ok((!text.is_empty()).then(|| TenantId::parse(text)).transpose()?)
}

/// How each token begins, so that it is not taken for what it holds.
const TOKEN: &str = "after:";

/// The messages of a page, and the token of the next.
fn filled<K: Display, T, M: Message>(
    page: Page<K, T>,
    convert: impl Fn(T) -> M,
) -> (Vec<M>, String) {
    let Page { entries, mut more } = page;
    let (mut messages, mut bytes, mut last) = (Vec::with_capacity(entries.len()), 0, None);
    for (key, entry) in entries {
        let message = convert(entry);
        bytes += message.compute_size();
        if bytes > PAGE_BYTES && !messages.is_empty() {
            more = true;
            break;
        }
        messages.push(message);
        last = Some(key);
    }
    let next = last.filter(|_| more).map(|key| format!("{TOKEN}{key}"));
    (messages, next.unwrap_or_default())
}

pub(in crate::rpc) fn tenants(page: Page<TenantId, ListedTenant>) -> wire::ListTenantsResponse {
    let (tenants, next_page_token) = filled(page, |listed| summary(&listed));
    wire::ListTenantsResponse { tenants, next_page_token, ..wire::ListTenantsResponse::default() }
}

pub(in crate::rpc) fn summary(listed: &ListedTenant) -> wire::TenantSummary {
    let (now, figures) = (&listed.now, &listed.now.figures);
    wire::TenantSummary {
        tenant_id: now.tenant.to_string(),
        state: tenant_state(figures).into(),
        status: now.level.as_str().to_owned(),
        breaker_state: breaker(figures.breaker).into(),
        max_connections: number(figures.max),
        in_use: number(figures.used),
        open_connections: number(figures.open),
        idle_connections: number(figures.idle),
        opening: number(figures.opening),
        waiting: number(figures.waiting),
        leases: number(now.leases),
        paused: EnumOrUnknown::new(match figures.paused {
            None => wire::PauseMode::PAUSE_MODE_UNSPECIFIED,
            Some(Pause::Wait) => wire::PauseMode::PAUSE_MODE_WAIT,
            Some(Pause::Refuse) => wire::PauseMode::PAUSE_MODE_REFUSE,
        }),
        source: EnumOrUnknown::new(match listed.source {
            TenantSource::Client => wire::TenantSource::TENANT_SOURCE_CLIENT,
            TenantSource::File => wire::TenantSource::TENANT_SOURCE_FILE,
            TenantSource::Operator => wire::TenantSource::TENANT_SOURCE_ADMIN,
        }),
        changed: listed.is_changed,
        identities: identities(&listed.users),
        anonymous: listed.users.anonymous,
        ..wire::TenantSummary::default()
    }
}

/// The answer to a GetTenant.
pub(in crate::rpc) fn tenant(shown: ShownTenant) -> wire::GetTenantResponse {
    let now = &shown.listed.now;
    let (error, at) = now.last_error.clone().unzip();
    wire::GetTenantResponse {
        tenant: Some(summary(&shown.listed)).into(),
        settings: Some(settings(&shown.settings)).into(),
        last_check: now.last_check.map(unix_timestamp).into(),
        last_error: error.unwrap_or_default(),
        last_error_at: at.map(unix_timestamp).into(),
        since: Some(timestamp(shown.since)).into(),
        servers: shown.servers,
        database: shown.database,
        user: shown.user,
        sslmode: shown.sslmode.to_owned(),
        identities: identities(&shown.listed.users),
        anonymous: shown.listed.users.anonymous,
        ..wire::GetTenantResponse::default()
    }
}

fn identities(users: &TenantUsers) -> Vec<String> {
    users.identities.iter().map(|one| one.as_str().to_owned()).collect()
}

fn settings(pool: &TenantPoolConfig) -> wire::TenantSettings {
    wire::TenantSettings {
        max_connections: number(pool.max_connections),
        min_connections: number(pool.min_connections),
        max_lifetime: Some(duration(pool.max_lifetime)).into(),
        idle_timeout: Some(duration(pool.idle_timeout)).into(),
        connect_timeout: Some(duration(pool.connect_timeout)).into(),
        health_check_interval: Some(duration(pool.health_interval)).into(),
        reset: pool.reset.as_str().to_owned(),
        ..wire::TenantSettings::default()
    }
}

pub(in crate::rpc) fn leases(page: Page<u64, LeaseView>) -> wire::ListLeasesResponse {
    let (leases, next_page_token) = filled(page, |view| wire::LeaseEntry {
        lease: Some(lease(&view)).into(),
        on_stream: view.facts.via == Via::Stream,
        identity: view
            .facts
            .identity
            .as_ref()
            .map(|identity| identity.as_str().to_owned())
            .unwrap_or_default(),
        ..wire::LeaseEntry::default()
    });
    wire::ListLeasesResponse { leases, next_page_token, ..wire::ListLeasesResponse::default() }
}

pub(in crate::rpc) fn backends(page: Page<u64, ListedBackend>) -> wire::ListBackendsResponse {
    let (backends, next_page_token) = filled(page, |listed| backend(&listed));
    wire::ListBackendsResponse {
        backends,
        next_page_token,
        ..wire::ListBackendsResponse::default()
    }
}

fn backend(listed: &ListedBackend) -> wire::BackendEntry {
    let since = |at| duration(clock::now().saturating_duration_since(at));
    let state = match listed.rests {
        Some(_) => wire::BackendState::BACKEND_STATE_IDLE,
        None => wire::BackendState::BACKEND_STATE_IN_USE,
    };
    wire::BackendEntry {
        pid: listed.opened.pid,
        state: EnumOrUnknown::new(state),
        age: Some(since(listed.opened.born)).into(),
        idle: listed.rests.map(|(idle_since, _)| since(idle_since)).into(),
        last_answer: listed.rests.map(|(_, answered_at)| timestamp(answered_at)).into(),
        replaced: listed.opened.is_replaced(),
        ..wire::BackendEntry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_is_within_its_range_or_the_default() {
        assert_eq!(page_size(0).unwrap(), PAGE_SIZE);
        assert_eq!((page_size(1).unwrap(), page_size(500).unwrap()), (1, 500));
        for size in [-1, 501, i32::MAX, i32::MIN] {
            assert!(page_size(size).is_err(), "{size}");
        }
    }

    #[test]
    fn a_token_leads_behind_the_last_entry_and_a_foreign_one_is_refused() {
        let page = |more| Page { entries: vec![(7_u64, ()), (9, ())], more };
        let message = |()| wire::BackendEntry::default();
        assert_eq!(filled(page(false), message).1, "");
        let token = filled(page(true), message).1;
        assert_eq!(after::<u64>(&token).unwrap(), Some(9));
        assert_eq!(after::<u64>("").unwrap(), None);
        for foreign in ["9", "after:", "after:x", "after:-1", "before:9"] {
            assert!(after::<u64>(foreign).is_err(), "{foreign}");
        }
        assert_eq!(after_tenant("after:acme").unwrap().unwrap().as_str(), "acme");
        for foreign in ["acme", "after:", "after:a b"] {
            assert!(after_tenant(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_page_ends_before_it_has_too_many_bytes() {
        let long = "x".repeat(300 << 10);
        let entries = (0..10).map(|n| (n, long.clone())).collect();
        let message = |text| wire::TenantSummary { status: text, ..wire::TenantSummary::default() };
        let (messages, next) = filled(Page { entries, more: false }, message);
        assert_eq!((messages.len(), next.as_str()), (3, "after:2"));
        let one = Page { entries: vec![(5, "x".repeat(2 << 20))], more: false };
        let (messages, next) = filled(one, message);
        assert_eq!((messages.len(), next.as_str()), (1, ""));
    }
}
