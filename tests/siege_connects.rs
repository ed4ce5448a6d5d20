//! Attacks by way of connecting: by servers that never come to an end, and by clients
//! that try passwords.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod harness;

use harness::proxy::Proxy;
use harness::siege::Siege;
use harness::{eventually, postgres, tenant, Held, Service, Tenant};

/// The tenant, reached over a proxy.
fn over(proxy: &Proxy, tenant: Tenant) -> Tenant {
    Tenant { dsn: format!("{} port={}", tenant.dsn, proxy.port), ..tenant }
}

#[test]
fn a_server_that_drips_on_cancels_keeps_no_thread_and_no_descriptor() {
    const CANCELS: usize = 20;
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(2));
    let proxy = Proxy::to(postgres().port());
    let tenant = over(&proxy, tenant().pool_of(CANCELS));
    let leases: Vec<Held> = (0..CANCELS).map(|_| service.lease(&tenant)).collect();
    let calls: Vec<_> =
        leases.iter().map(|lease| lease.run_later("select pg_sleep(600)")).collect();
    eventually("they run", || tenant.running("pg_sleep") == CANCELS);
    proxy.drip();
    let before = proxy.taken();
    drop(calls);
    eventually("each is cancelled", || proxy.taken() >= before + CANCELS);
    eventually("none obeys", || service.client().stats(&tenant.name).unwrap().leases == 0);
    drop(leases);
    siege.end();
}
