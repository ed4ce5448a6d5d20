//! Answers that nobody reads.

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::sql::{CopyOutRequest, ExecuteRequest, QueryRequest};
use protobuf::Message;

use super::{bystander, held, nothing_is_held, refused, victim};
use crate::harness::h2::{message, H2, SETTINGS};
use crate::harness::siege::Siege;
use crate::harness::{eventually, millis, tenant, Held, Service};

#[test]
fn a_caller_that_does_not_read_its_answers_is_refused_more() {
    const CALLS: usize = 60;
    let service = Service::with(&["--insecure", "--memory-per-connection", "8MiB"]);
    let victim = victim(&service);
    let siege = Siege::start(&service, bystander());
    let request = ExecuteRequest {
        tenant_id: victim.name.clone(),
        dsn: victim.dsn.clone(),
        statements: vec![statement("select repeat('x', 3500000)")],
        wait_timeout: millis(300_000),
        ..ExecuteRequest::default()
    };
    let bytes = message(&request.write_to_bytes().unwrap(), false);
    let mut attacker = H2::connect(service.port).unwrap();
    attacker.read_until(|frame| frame.kind == SETTINGS).unwrap();
    for _ in 0..CALLS {
        let call = attacker.call("/connectionpool.SqlService/Execute", &[]).unwrap();
        attacker.data(call, &bytes, true).unwrap();
    }
    eventually("the rest is refused", || {
        refused(&service, "connection", "unsent_answers") >= CALLS - 5
    });
    // Those that ran when the limit was reached may add one each.
    assert!((8 << 20..16 << 20).contains(&held(&service, "unsent_answers")));
    // Its tenant is served on other connections, and answers that are read are forgotten.
    let client = service.client();
    for _ in 0..5 {
        assert_eq!(client.execute(&request).unwrap().results.len(), 1);
    }
    siege.bystander_works(20);
    drop((attacker, client));
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn unread_streams_count_as_answers() {
    const STREAMS: usize = 3;
    let service = Service::with(&["--insecure", "--memory-per-connection", "8MiB"]);
    let victim = tenant().pool_of(2 * STREAMS + 1);
    let leases: Vec<_> = (0..=2 * STREAMS).map(|_| service.lease(&victim)).collect();
    leases.iter().for_each(Held::release);
    drop(leases);
    let siege = Siege::start(&service, bystander());
    let rows = "select repeat('x', 3000000) from generate_series(1, 1000)";
    let query = QueryRequest {
        tenant_id: victim.name.clone(),
        dsn: victim.dsn.clone(),
        statement: Some(statement(rows)).into(),
        ..QueryRequest::default()
    };
    let copy = CopyOutRequest {
        tenant_id: victim.name.clone(),
        dsn: victim.dsn.clone(),
        sql: format!("copy ({rows}) to stdout"),
        ..CopyOutRequest::default()
    };
    let mut attacker = H2::connect(service.port).unwrap();
    attacker.read_until(|frame| frame.kind == SETTINGS).unwrap();
    let mut ask = |path: &str, request: Vec<u8>| {
        let call = attacker.call(path, &[]).unwrap();
        attacker.data(call, &message(&request, false), true).unwrap();
    };
    for _ in 0..STREAMS {
        ask("/connectionpool.SqlService/CopyOut", copy.write_to_bytes().unwrap());
    }
    // Pieces of 64 kB: one on its way, and two that wait.
    eventually("data waits", || held(&service, "unsent_answers") > STREAMS * (128 << 10));
    for _ in 0..STREAMS {
        ask("/connectionpool.SqlService/Query", query.write_to_bytes().unwrap());
    }
    eventually("rows wait", || held(&service, "unsent_answers") > 8 << 20);
    // Whatever comes next is refused.
    ask("/connectionpool.SqlService/Query", query.write_to_bytes().unwrap());
    eventually("it is refused", || refused(&service, "connection", "unsent_answers") > 0);
    assert!(held(&service, "unsent_answers") < 64 << 20);
    siege.bystander_works(20);
    drop(attacker);
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}
