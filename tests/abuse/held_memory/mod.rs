//! Memory that clients have the service hold for them, and leave there.

mod answers;
mod listeners;
mod requests;

use crate::harness::{eventually, tenant, Service, Tenant};

/// Who must not notice it. With more connections it would open another now and then,
/// and descriptors would not be as before.
fn bystander() -> Tenant {
    tenant().pool_of(1)
}

/// A tenant whose one connection is there already.
fn victim(service: &Service) -> Tenant {
    let victim = tenant().pool_of(1);
    service.lease(&victim).release();
    service.wait_quiet(&victim.name);
    victim
}

/// All that is held is given back.
#[track_caller]
fn nothing_is_held(service: &Service) {
    for of in ["requests", "unsent_answers", "notifications", "read_ahead", "partial_messages"] {
        eventually(of, || held(service, of) == 0);
    }
}

/// Bytes that are held for this.
fn held(service: &Service, of: &str) -> usize {
    let series = format!("connpool_memory_bytes{{use=\"{of}\"}}");
    service.metric(&series).expect("the metric is there") as usize
}

/// How often there was no room.
fn refused(service: &Service, level: &str, of: &str) -> usize {
    let series = format!("connpool_memory_refusals_total{{level=\"{level}\",use=\"{of}\"}}");
    service.metric(&series).expect("the metric is there") as usize
}
