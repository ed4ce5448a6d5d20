//! Many clients that do everything at once. Only counts are asserted, no times.

use std::sync::atomic::Ordering;

use crate::harness::traffic::{Counts, Traffic};
use crate::harness::{tenant, Service};

/// Backends of a tenant, few enough that most requests wait.
const POOL: usize = 5;
const TENANTS: usize = 4;
const CLIENTS: usize = 200;
/// Rounds of all clients together; a few seconds.
const ROUNDS: u64 = 3_000;

#[test]
fn two_hundred_clients_lose_no_answer_no_row_no_permit_and_no_backend() {
    let service = Service::start();
    let tenants: Vec<_> = (0..TENANTS).map(|_| tenant().pool_of(POOL)).collect();
    let traffic = Traffic { service: &service, tenants: &tenants, clients: CLIENTS };
    traffic.prepare();
    let (counts, looking) = (Counts::default(), service.client());
    let mut most = 0;
    traffic.run(&counts, |counts| {
        for tenant in &tenants {
            // It is unknown before its first request.
            let Ok(figures) = looking.stats(&tenant.name) else { continue };
            assert!(figures.total_connections <= POOL as i32, "{figures:?}");
            assert!(figures.active_connections <= POOL as i32, "{figures:?}");
            most = most.max(figures.waiting);
        }
        counts.begun.load(Ordering::SeqCst) >= ROUNDS || !counts.failures.lock().unwrap().is_empty()
    });
    assert!(most > POOL as i32, "at most {most} waited for a tenant");
    traffic.assert_adds_up(&counts);
}
