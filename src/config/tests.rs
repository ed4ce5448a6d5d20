use super::message_sizes::REQUEST_MAX;
use super::pool::FOREVER;
use super::*;

#[test]
fn a_dsn_overrides_the_pool_and_never_asks_for_a_minimum_above_the_maximum() {
    let keys = dsn::PoolKeys { max_conns: Some(3), ..dsn::PoolKeys::default() };
    let pool = TenantPoolConfig::default().with(&keys);
    assert_eq!((pool.max_connections, pool.min_connections), (3, 3));
    assert!(pool.check().is_ok());
}

#[test]
fn a_dsn_says_how_often_its_own_connections_are_checked_within_reason() {
    let of = |period, service| {
        let keys = dsn::PoolKeys { health_check_period: period, ..dsn::PoolKeys::default() };
        let pool = TenantPoolConfig { health_interval: service, ..TenantPoolConfig::default() };
        pool.with(&keys).health_interval
    };
    let secs = Duration::from_secs;
    assert_eq!(of(None, secs(30)), secs(30));
    assert_eq!(of(Some(secs(9)), secs(30)), secs(9));
    assert_eq!(of(Some(Duration::from_nanos(1)), secs(30)), secs(1));
    assert_eq!(of(Some(Duration::MAX), secs(30)), FOREVER);
    // Off for the others, it is on for who asks.
    assert_eq!(of(Some(secs(9)), Duration::ZERO), secs(9));
}

#[test]
fn a_dsn_lets_no_connection_live_or_rest_for_less_than_a_second() {
    let of = |own: Duration| {
        let keys = dsn::PoolKeys {
            max_conn_lifetime: Some(own),
            max_conn_idle_time: Some(own),
            ..dsn::PoolKeys::default()
        };
        TenantPoolConfig::default().with(&keys)
    };
    let secs = Duration::from_secs;
    for (own, lasts) in [
        (Duration::from_nanos(1), secs(1)),
        (secs(1), secs(1)),
        (secs(9), secs(9)),
        (Duration::MAX, FOREVER),
    ] {
        let pool = of(own);
        assert_eq!((pool.max_lifetime, pool.idle_timeout), (lasts, lasts));
    }
    // What means nothing is an error, and not a second.
    assert!(of(Duration::ZERO).check().is_err_and(|e| e.contains("lifetime")));
}

#[test]
fn contradictions_are_named() {
    let check = |limits: &Limits| Contradiction::all(&limits.contradictions());
    let zero = TenantPoolConfig { max_connections: 0, ..TenantPoolConfig::default() };
    assert!(zero.check().is_err_and(|e| e.contains("max connections")));
    let none = Limits { leases_per_caller: 0, ..Limits::default() };
    assert!(check(&none).is_err_and(|e| e.contains("--leases-per-caller")));
    let none = Limits { client_connections: Some(0), ..Limits::default() };
    assert!(check(&none).is_err_and(|e| e.contains("--max-client-connections")));
    assert!(check(&Limits::default()).is_ok());
    let memory = |connection, tenant, all| Limits {
        memory_bytes_per_connection: connection,
        memory_bytes_per_tenant: tenant,
        memory_bytes: all,
        ..Limits::default()
    };
    let least = REQUEST_MAX;
    assert!(check(&memory(least, least, least)).is_ok());
    for (limits, flag) in [
        (memory(least - 1, least, least), "--memory-per-connection"),
        (memory(least + 1, least, least), "--memory-per-tenant"),
        (memory(least, least + 1, least), "--memory-limit"),
    ] {
        assert!(check(&limits).is_err_and(|e| e.contains(flag)), "{flag}");
    }
    let wrong = TenantPoolConfig { min_connections: 21, ..TenantPoolConfig::default() };
    assert!(wrong.check().is_err_and(|e| e.contains("min connections")));
}
