//! Settings that are put in force at tenants.

use std::collections::BTreeMap;

use super::*;
use crate::config::dsn::Dsn;
use crate::config::tenants::Tenants;
use crate::config::TenantPoolConfig;
use crate::core::gate::GateState;
use crate::core::testing::Xorshift;
use crate::pool::context::Context;

/// A tenant as the model knows it: its size, whom it logs in as, and how long what it has may idle.
type Model = BTreeMap<String, (usize, usize, u64)>;

fn settings(model: &Model, max_waiters: usize) -> ServerConfig {
    let of = |(name, (max, user, idle)): (&String, &(usize, usize, u64))| {
        let id = TenantId::parse(name).unwrap();
        // Nobody listens there.
        let dsn = format!("host=127.0.0.1 port=1 user=u{user} password=p");
        let pool = TenantPoolConfig {
            max_connections: *max,
            min_connections: 0,
            idle_timeout: std::time::Duration::from_secs(*idle),
            ..TenantPoolConfig::default()
        };
        (
            id.clone(),
            TenantConfig { id, dsn: Dsn::parse(&dsn).unwrap(), pool, own: BTreeMap::new() },
        )
    };
    let tenants = Arc::new(model.iter().map(of).collect::<Tenants>());
    let mut config = ServerConfig { tenants, ..ServerConfig::default() };
    config.limits.waiters_per_tenant = max_waiters;
    config.limits.max_backends = 60;
    config
}

fn random(random: &mut Xorshift) -> Model {
    let mut model = Model::new();
    for name in ["a", "b", "c", "d", "e"] {
        let mut below = |most: u64| random.below(most);
        if below(3) > 0 {
            let tenant = (1 + below(6) as usize, below(2) as usize, 60 + below(2));
            model.insert(name.to_owned(), tenant);
        }
    }
    model
}

/// What is in force in fact.
fn in_force(registry: &Registry) -> (Model, Vec<usize>) {
    let (mut model, mut waiters) = (Model::new(), Vec::new());
    for tenant in registry.named() {
        let setup = tenant.setup();
        let (settings, user) = (&setup.backends.settings, &setup.backends.origin.dsn.user);
        assert_eq!(
            (tenant.figures().max, tenant.figures().state),
            (setup.permits, GateState::Active)
        );
        assert!(!setup.backends.is_retired() && tenant.configured);
        let (user, idle) = (user[1..].parse().unwrap(), settings.idle_timeout.as_secs());
        model.insert(tenant.id().to_string(), (setup.permits, user, idle));
        waiters.push(setup.waiters);
    }
    (model, waiters)
}

#[test]
fn after_each_of_random_reloads_in_force_is_what_is_configured_and_no_more_is_reserved() {
    let mut numbers = Xorshift::new(11);
    let first = settings(&random(&mut numbers), 1000);
    let registry = Registry::new(&Context::new(first.clone())).unwrap();
    registry.take_up(Catalog::of(&first)).unwrap();
    let mut old = in_force(&registry).0;
    let mut kept = 0;
    for _ in 0..200 {
        let (new, waiters) = (random(&mut numbers), numbers.below(3) as usize);
        let before = registry.named();
        let reloaded = registry.put_in_force(settings(&new, waiters));
        assert!(reloaded.refused.is_empty(), "{:?}", reloaded.refused);
        let (found, queues) = in_force(&registry);
        assert_eq!(found, new);
        assert!(queues.iter().all(|queue| *queue == waiters), "{queues:?}");
        assert_eq!(registry.reserved(), new.values().map(|(max, ..)| max).sum::<usize>());
        // Who was and is configured is the same tenant, with its leases and its queue.
        for tenant in &before {
            let same = registry.find(tenant.id()).is_some_and(|found| Arc::ptr_eq(&found, tenant));
            assert_eq!(same, new.contains_key(&tenant.id().to_string()));
            kept += usize::from(same);
        }
        let differs = |name: &&str| old.get(*name) != new.get(*name);
        let names = ["a", "b", "c", "d", "e"].into_iter().filter(differs);
        let mut told: Vec<&String> =
            reloaded.applied.iter().filter(|key| key.starts_with("tenants.")).collect();
        told.sort();
        assert!(told.into_iter().map(|key| &key[8..]).eq(names));
        old = new;
    }
    assert!(kept > 100);
}

#[test]
fn a_configured_tenant_gets_its_name_and_its_connections_whoever_has_them() {
    let mut numbers = Model::new();
    let registry = Registry::new(&Context::new(settings(&numbers, 9))).unwrap();
    let by = crate::core::callers::CallerId::new("somebody");
    let dsn = "host=127.0.0.1 port=1 user=x password=p pool_max_conns=60";
    let target = |name| super::super::Target {
        tenant: TenantId::parse(name).unwrap(),
        dsn: Some(registry.dsns.of("ipv4:192.0.2.1:7").parse(dsn).unwrap()),
    };
    let (target, other) = (target("a"), target("z"));
    let squatter = registry.tenant(&target, &by).unwrap();
    registry.tenant(&other, &by).unwrap();
    numbers.insert("a".to_owned(), (5, 0, 60));
    assert!(registry.put_in_force(settings(&numbers, 9)).refused.is_empty());
    assert!(squatter.has_ended());
    assert!(registry.find(&target.tenant).unwrap().configured);
    assert_eq!(registry.reserved(), 5);
    // By its name alone, as from now on no DSN of a client may.
    assert_eq!(registry.tenant(&target, &by).map(drop).unwrap_err().as_str(), "dsn_mismatch");
    numbers.insert("a".to_owned(), (50, 0, 60));
    assert!(registry.put_in_force(settings(&numbers, 9)).refused.is_empty());
    assert_eq!(registry.reserved(), 50);
    let gone = registry.find(&target.tenant).unwrap();
    numbers.clear();
    registry.put_in_force(settings(&numbers, 9));
    assert!(gone.has_ended() && registry.find(&target.tenant).is_none());
    assert_eq!(registry.reserved(), 0);
}
