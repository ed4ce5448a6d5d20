//! What those who wait cost the others. Prints it; no time is asserted.

use std::time::Duration;

use crate::harness::fake::Fake;
use crate::harness::{acquire_later, eventually, millis, now, request, tenant, Service};
use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::QueryRequest;

const TENANTS: usize = 300;
const WAITERS: usize = 34;
/// What one client connection may have waiting.
const CONNECTION: usize = 192;
/// Rows that are sent 20 ms after one another, each alone in its batch.
const ROWS: usize = 500;
/// The cost is looked at after so many batches. In one such part an alarm of each waiting
/// call rings, ten seconds after it has come, and is not set again.
const PART: usize = 50;

/// What the thread of this name has used of a processor.
fn used_by(service: &Service, name: &str) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    let nanos = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path();
        let is_it = std::fs::read_to_string(path.join("comm")).ok()?.trim() == name;
        let text = is_it.then(|| std::fs::read_to_string(path.join("schedstat")).ok()).flatten()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanos).sum())
}

fn waiting(service: &Service) -> f64 {
    let (_, page) = service.get("/metrics");
    let lines = page.lines().filter(|line| line.starts_with("connpool_waiters{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
#[ignore = "a measurement of half a minute"]
fn what_ten_thousand_waiters_cost_the_reaper_while_a_client_streams_slowly() {
    let service = Service::start();
    let postgres = Fake::start(|_, _| false);
    let holder = service.client();
    let tenants: Vec<_> = (0..TENANTS).map(|n| postgres.tenant(&format!("w{n}"), 1)).collect();
    for tenant in &tenants {
        holder
            .acquire_with(&ConnectionRequest { ttl: millis(3_600_000), ..request(tenant) })
            .unwrap();
    }
    let asks: Vec<_> = (0..WAITERS).flat_map(|_| &tenants).collect();
    let calls: Vec<_> = asks
        .chunks(CONNECTION)
        .map(|asks| {
            let client = service.client();
            let later = |tenant| {
                let wait_timeout = millis(300_000);
                acquire_later(&client, &ConnectionRequest { wait_timeout, ..request(tenant) })
            };
            let calls: Vec<_> = asks.iter().map(|tenant| later(tenant)).collect();
            (client, calls)
        })
        .collect();
    let all = (TENANTS * WAITERS) as f64;
    eventually("all wait", || waiting(&service) == all);

    let streaming = tenant();
    let sql = format!("select repeat('x', 9000), pg_sleep(0.02) from generate_series(1, {ROWS})");
    let request = QueryRequest {
        tenant_id: streaming.name.clone(),
        dsn: streaming.dsn.clone(),
        statement: Some(statement(&sql)).into(),
        ..QueryRequest::default()
    };
    let client = service.client();
    let mut query = client.query(&request).unwrap();
    let (mut batches, mut begun) = (0, (now(), used_by(&service, "reaper")));
    let mut shares = Vec::new();
    while let Some(message) = query.next().unwrap() {
        let Some(Kind::Batch(_)) = message.kind else { continue };
        batches += 1;
        if batches % PART == 0 {
            let ended = (now(), used_by(&service, "reaper"));
            shares.push((ended.1 - begun.1).as_secs_f64() / (ended.0 - begun.0).as_secs_f64());
            begun = ended;
        }
    }
    shares.sort_by(f64::total_cmp);
    let (median, most) = (100.0 * shares[shares.len() / 2], 100.0 * shares[shares.len() - 1]);
    println!("{batches} batches: the reaper used {median:.2} % of a core, {most:.2} % at most");
    assert_eq!(waiting(&service), all);
    assert!(batches > ROWS / 2, "{batches} batches");
    drop(calls);
}
