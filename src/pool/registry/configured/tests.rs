use std::time::Duration;

use super::*;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::ids::TenantId;
use crate::pool::context::Context;
use crate::pool::tenant::Disuse;

fn config(name: &str, max: usize) -> TenantConfig {
    TenantConfig {
        id: TenantId::parse(name).unwrap(),
        dsn: Dsn::parse("host=127.0.0.1 port=1 user=u password=p").unwrap(),
        pool: TenantPoolConfig {
            max_connections: max,
            min_connections: 0,
            ..TenantPoolConfig::default()
        },
        own: Default::default(),
    }
}

fn registry(tenants: &[TenantConfig]) -> Arc<Registry> {
    let of = |one: &TenantConfig| (one.id.clone(), one.clone());
    let tenants = Arc::new(tenants.iter().map(of).collect::<Tenants>());
    let config = ServerConfig { tenants, ..ServerConfig::default() };
    let registry = Registry::new(&Context::new(config.clone())).unwrap();
    registry.take_up(Catalog::of(&config)).unwrap();
    registry
}

#[test]
fn a_configured_tenant_stays_when_nobody_uses_it_and_its_connections_with_it() {
    let registry = registry(&[config("a", 7), config("b", 3)]);
    assert_eq!(registry.reserved(), 10);
    let later = clock::now() + Duration::from_secs(30 * 86_400);
    for tenant in registry.named() {
        tenant.maintain(later);
        // One of a client goes.
        assert!(Disuse(&tenant).since(later, Duration::ZERO).is_some());
    }
    assert_eq!((registry.named().len(), registry.reserved()), (2, 10));
    // Nor does it give way to another.
    let by = CallerId::new("somebody");
    let limit = registry.context().config.limits.max_backends;
    assert!(registry.expect_room(&by, limit - 10).is_ok());
    assert!(registry.expect_room(&by, limit - 9).is_err());
}

#[test]
fn what_is_unknown_is_told_by_what_would_make_it_known() {
    let target = |dsn: Option<&str>| {
        let dsn = dsn.map(|dsn| Dsn::parse(dsn).unwrap());
        Target { tenant: TenantId::parse("x").unwrap(), dsn: dsn.map(|dsn| Arc::new(dsn.into())) }
    };
    let registry = registry(&[]);
    let by = CallerId::new("somebody");
    let of = |target: &Target| registry.tenant(target, &by).map(drop).unwrap_err().as_str();
    assert_eq!(of(&target(None)), "invalid_argument");
    *registry.catalog.lock() =
        Arc::new(Catalog { takes_dsns: false, ..Catalog::of(&ServerConfig::default()) });
    assert_eq!(of(&target(None)), "tenant_not_found");
    assert_eq!(of(&target(Some("host=h user=u"))), "dsn_not_taken");
}
