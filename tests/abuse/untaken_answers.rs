//! Answers that nobody takes, of calls of every shape: none stays for ever, and neither
//! does what it holds.

use crate::harness::h2::{message, H2, HEADERS, RST_STREAM};
use crate::harness::siege::Siege;
use crate::harness::sql::one_shot;
use crate::harness::{request, tenant, Held, Service, Tenant};
use connection_pool_manager::proto::connection_pool::StatsRequest;
use connection_pool_manager::proto::health::HealthCheckRequest;
use connection_pool_manager::proto::sql::session_request::Kind as Asked;
use connection_pool_manager::proto::sql::{
    copy_in_request::Kind as Copy, CopyInFinish, CopyInRequest, CopyInStart, CopyOutRequest,
    ListenRequest, QueryRequest, SessionRequest,
};
use protobuf::Message;

/// A call, and what its client sends.
struct Asking {
    path: &'static str,
    messages: Vec<Vec<u8>>,
    /// Nothing more is sent.
    ends: bool,
    /// But this, once an answer is on its way.
    later: Option<Vec<u8>>,
}

fn one(path: &'static str, request: &impl Message) -> Asking {
    Asking { path, messages: vec![request.write_to_bytes().unwrap()], ends: true, later: None }
}

fn query(tenant: &Tenant, sql: &str) -> Asking {
    let request = QueryRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statement: Some(connection_pool_manager::client::service::statement(sql)).into(),
        ..QueryRequest::default()
    };
    one("/connectionpool.SqlService/Query", &request)
}

fn copy_out(tenant: &Tenant, sql: &str) -> Asking {
    let request = CopyOutRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        sql: sql.to_owned(),
        ..CopyOutRequest::default()
    };
    one("/connectionpool.SqlService/CopyOut", &request)
}

fn copy_in(tenant: &Tenant) -> Asking {
    let start = CopyInStart {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        sql: "copy t from stdin".to_owned(),
        ..CopyInStart::default()
    };
    let all = [Copy::Start(start), Copy::Data(b"1\n".into()), Copy::Finish(CopyInFinish::new())];
    let said = |kind| CopyInRequest { kind: Some(kind), ..CopyInRequest::default() };
    let messages = all.map(|kind| said(kind).write_to_bytes().unwrap()).into();
    Asking { path: "/connectionpool.SqlService/CopyIn", messages, ends: false, later: None }
}

fn session(tenant: &Tenant) -> Asking {
    let open =
        SessionRequest { kind: Some(Asked::Open(request(tenant))), ..SessionRequest::default() };
    let messages = vec![open.write_to_bytes().unwrap()];
    Asking { path: "/connectionpool.SqlService/Session", messages, ends: false, later: None }
}

/// A stream that is ended for what it says, while it has yet to take an answer.
fn broken_session(tenant: &Tenant) -> Asking {
    let session = session(tenant);
    Asking { later: session.messages.first().cloned(), ..session }
}

fn listen(tenant: &Tenant) -> Asking {
    let request = ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: vec!["a".to_owned()],
        ..ListenRequest::default()
    };
    one("/connectionpool.SqlService/Listen", &request)
}

/// Asks without room for an answer, and waits until the call is broken off.
fn ask(service: &Service, asking: &Asking) {
    let mut h2 = H2::connect(service.port).unwrap();
    h2.take_nothing().unwrap();
    let call = h2.call(asking.path, &[]).unwrap();
    let last = asking.messages.len() - 1;
    for (i, bytes) in asking.messages.iter().enumerate() {
        h2.data(call, &message(bytes, false), i == last && asking.ends).unwrap();
    }
    if let Some(bytes) = &asking.later {
        h2.read_until(|frame| frame.kind == HEADERS && frame.stream == call).unwrap();
        h2.data(call, &message(bytes, false), false).unwrap();
    }
    let ended = h2.read_until(|frame| frame.kind == RST_STREAM && frame.stream == call);
    assert!(ended.is_some(), "{}: the connection has ended", asking.path);
}

/// Calls among those below that have a connection of their tenant each.
const CONNECTIONS: usize = 11;

#[test]
fn an_unread_answer_of_any_call_is_freed_with_what_it_holds() {
    let service = Service::with(&["--insecure", "--stall-timeout", "1"]);
    let hostile = tenant().pool_of(CONNECTIONS);
    let leases: Vec<_> = (0..CONNECTIONS).map(|_| service.lease(&hostile)).collect();
    leases[0].run(&["create table t (a int)"]);
    leases.iter().for_each(Held::release);
    let siege = Siege::start(&service, tenant().pool_of(1));
    let stats = StatsRequest { tenant_id: hostile.name.clone(), ..StatsRequest::default() };
    let rows = "select repeat('x', 1000) from generate_series(1, 100000)";
    let calls = [
        one("/connectionpool.ConnectionPoolService/GetConnection", &request(&hostile)),
        one("/connectionpool.SqlService/Execute", &one_shot(&hostile, &["select 1"])),
        query(&hostile, "select 1"),
        query(&hostile, rows),
        // What has come of the answer stands before its error.
        query(&hostile, "select 1 / (2 - n) from generate_series(1, 2) n"),
        copy_out(&hostile, "copy (select 1) to stdout"),
        copy_out(&hostile, &format!("copy ({rows}) to stdout")),
        copy_in(&hostile),
        session(&hostile),
        broken_session(&hostile),
        listen(&hostile),
        one("/connectionpool.ConnectionPoolService/GetPoolStats", &stats),
        one("/grpc.health.v1.Health/Check", &HealthCheckRequest::default()),
        one("/grpc.health.v1.Health/Watch", &HealthCheckRequest::default()),
    ];
    std::thread::scope(|threads| {
        for asking in &calls {
            threads.spawn(|| ask(&service, asking));
        }
    });
    service.wait_quiet(&hostile.name);
    siege.bystander_works(10);
    siege.end();
}
