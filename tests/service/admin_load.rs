//! Tenants that an operator changes while many clients use them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

use crate::admin_actions::{reconnect, resize};
use crate::harness::{eventually, parked, tenant, Administered, Tenant};

const CLIENTS: usize = 16;
const CHANGES: usize = 50;

/// Has clients lease, query and release all the while that `change` is called again and again,
/// each time after somebody was served since the time before. No request may fail.
fn under_load(service: &Administered, tenant: &Tenant, mut change: impl FnMut(usize)) {
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                /// Those who wait for the others see that one has failed.
                struct Ends<'a>(&'a AtomicBool);
                impl Drop for Ends<'_> {
                    fn drop(&mut self) {
                        self.0.store(true, Ordering::SeqCst);
                    }
                }
                let _ends = Ends(&done);
                let client = service.client();
                while !done.load(Ordering::SeqCst) {
                    let lease = client.acquire_with(&parked(tenant)).expect("a lease");
                    client.run(&lease.connection_id, &["select 1"]).expect("it runs");
                    client.release(&lease.connection_id).expect("it is released");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for n in 0..CHANGES {
            let before = served.load(Ordering::SeqCst);
            eventually("somebody is served", || {
                done.load(Ordering::SeqCst) || served.load(Ordering::SeqCst) > before
            });
            if done.load(Ordering::SeqCst) {
                break;
            }
            change(n);
        }
        done.store(true, Ordering::SeqCst);
    });
    service.wait_quiet(&tenant.name);
    // What is over the limit now may still be closed meanwhile.
    eventually("PostgreSQL has what the service counts", || {
        let stats = service.client().stats(&tenant.name).expect("stats");
        let limit = stats.max_connections as usize;
        let backends = tenant.backends();
        backends == stats.total_connections as usize && backends <= limit
    });
}

#[test]
fn no_request_fails_while_the_connections_are_replaced_again_and_again() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(4));
    let ops = service.operator("ops");
    under_load(&service, &tenant, |_| drop(reconnect(&ops, &tenant).expect("it is done")));
    let stats = service.client().stats(&tenant.name).unwrap();
    assert_eq!((stats.max_connections, stats.leases, stats.waiting), (4, 0, 0));
}

#[test]
fn no_request_fails_while_the_limit_of_connections_changes_in_both_directions() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(4));
    let ops = service.operator("ops");
    let sizes = [1, 8, 3, 16, 2];
    under_load(&service, &tenant, |n| {
        let size = sizes[n % sizes.len()];
        let after = resize(&ops, &tenant, size).expect("it is done");
        assert_eq!(after.max_connections, size);
    });
    let last = sizes[(CHANGES - 1) % sizes.len()];
    let stats = service.client().stats(&tenant.name).unwrap();
    assert_eq!((stats.max_connections, stats.leases, stats.waiting), (last, 0, 0));
    eventually("no more is reserved than the limit", || {
        service.metric("connpool_service_connections_reserved") == Some(f64::from(last))
    });
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival_while_the_connections_are_replaced() {
    const WAITERS: usize = 12;
    let (service, tenant) = (Administered::start(), tenant().pool_of(1));
    let ops = service.operator("ops");
    let client = service.client();
    let held = client.acquire_with(&parked(&tenant)).expect("a lease");
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..WAITERS {
            let (service, tenant, order) = (&service, &tenant, &order);
            scope.spawn(move || {
                let client = service.client();
                let lease = client.acquire_with(&parked(tenant)).expect("a lease");
                // The next one is served only after this one has released.
                order.lock().unwrap().push(n);
                client.run(&lease.connection_id, &["select 1"]).expect("it runs");
                client.release(&lease.connection_id).expect("it is released");
            });
            // So that they arrive one after the other.
            service.wait_stats(&tenant.name, "it waits", |stats| stats.waiting == n as i32 + 1);
            drop(reconnect(&ops, tenant).expect("it is done"));
        }
        client.release(&held.connection_id).expect("it is released");
        for served in 1..WAITERS {
            drop(reconnect(&ops, &tenant).expect("it is done"));
            eventually("the next is served", || order.lock().unwrap().len() >= served);
        }
    });
    assert_eq!(order.into_inner().unwrap(), (0..WAITERS).collect::<Vec<_>>());
    eventually("one connection is left", || {
        service.wait_quiet(&tenant.name).total_connections <= 1
    });
}
