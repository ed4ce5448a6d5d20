//! What is too much, too long or too strange, and what it may cost: one
//! statement, one lease, and nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness;
use crate::harness::{code, refused, tenant, Service, PATIENCE};
use connection_pool_manager::client::service::{statement, text_at};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

#[test]
fn a_request_body_that_never_arrives_harms_neither_health_nor_the_process() {
    let service = Service::start();
    let mut held = Vec::new();
    for length in ["100000000000000", "5000", "5000", "5000"] {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
        held.push(stream);
    }
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    assert!(service.stop().success());
}

#[test]
fn an_endless_request_head_is_refused() {
    let service = Service::start();
    let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let line = [b'x'; 1000];
    // The service stops reading; then writing fails, which is as good an end.
    let sent = (0..1000).take_while(|_| stream.write_all(&line).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    assert!(sent < 1000 || !answer.is_empty());
    assert_eq!(service.get("/health").0, 200);
}

#[test]
fn a_row_beyond_measure_costs_its_statement_and_not_the_memory() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let error = refused(client.run(&lease.connection_id, &["select repeat('a', 200000000)"]));
    assert_eq!(
        (error.code, error.reason.as_str()),
        (code::FAILED_PRECONDITION, "RESULT_TOO_LARGE")
    );
    let answer = client.run(&lease.connection_id, &["select pg_backend_pid()"]).unwrap();
    assert_eq!(text_at(&answer, 0, 0, 0), lease.lease.backend_pid.to_string());
    assert!(service.proc_status("VmHWM:") < 60_000, "kB at the most");
    client.release(&lease.connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn unread_notifications_do_not_pile_up() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let id = &lease.connection_id;
    client.run(id, &["listen x"]).unwrap();
    let flood =
        "select count(pg_notify('x', i || repeat('a', 7000))) from generate_series(1, 1000) i";
    for _ in 0..20 {
        client.run(id, &[flood]).unwrap();
    }
    assert!(service.proc_status("VmHWM:") < 120_000, "kB at the most");
    client.release(id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_long_error_text_arrives_with_its_details() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let raise = "do $$ begin raise exception '%', repeat('ä', 20000) \
                 using detail = repeat('d', 20000), hint = repeat('h', 20000); end $$";
    let error = refused(client.run(&lease.connection_id, &[raise]));
    assert_eq!((error.code, error.reason.as_str()), (code::FAILED_PRECONDITION, "SQL_ERROR"));
    let postgres = error.postgres.expect("PostgreSQL's words");
    assert_eq!(postgres.sqlstate, "P0001");
    assert!(postgres.message.ends_with('…') && postgres.detail.ends_with('…'));
    client.run(&lease.connection_id, &["select 1"]).unwrap();
}

#[test]
fn an_error_of_another_server_does_not_end_the_lease() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    for sqlstate in ["08006", "57P01"] {
        let raise =
            format!("do $$ begin raise exception 'no' using errcode = '{sqlstate}'; end $$");
        let error = refused(client.run(&lease.connection_id, &[&raise]));
        assert_eq!(error.reason, "SQL_ERROR");
        assert_eq!(error.postgres.expect("words").sqlstate, sqlstate);
    }
    let answer = client.run(&lease.connection_id, &["select pg_backend_pid()"]).unwrap();
    assert_eq!(text_at(&answer, 0, 0, 0), lease.lease.backend_pid.to_string());
}

#[test]
fn what_was_committed_on_the_way_is_never_called_not_applied() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let id = &lease.connection_id;
    client.run(id, &["create table kept (i int)"]).unwrap();
    let chain = ["begin", "insert into kept values (1)", "commit and chain", "select 1/0"];
    let error = refused(client.run(id, &chain));
    let work = error.work.expect("an outcome");
    assert_eq!(work.outcome, Outcome::APPLIED.into());
    client.run(id, &["rollback"]).unwrap();
    let block = "do $$ begin insert into kept values (2); commit; raise exception 'late'; end $$";
    let error = refused(client.run(id, &[block]));
    assert_eq!(error.work.expect("an outcome").outcome, Outcome::UNKNOWN.into());
    assert_eq!(tenant.sql("select count(*) from kept"), "2");
    // It leaves an index that is not valid.
    client.run(id, &["insert into kept values (2)"]).unwrap();
    let index = "create unique index concurrently once on kept (i)";
    let error = refused(client.run(id, &[index]));
    assert_eq!(error.work.expect("an outcome").outcome, Outcome::UNKNOWN.into());
    assert_eq!(tenant.sql("select count(*) from pg_index where not indisvalid"), "1");
}

#[test]
fn a_dsn_cannot_ask_for_the_whole_budget() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let dsn = format!("{} pool_max_conns=2000", tenant.dsn);
    let error = refused(client.execute(&ExecuteRequest {
        tenant_id: tenant.name.clone(),
        dsn,
        statements: vec![statement("select 1")],
        ..ExecuteRequest::default()
    }));
    assert_eq!(error.code, code::INVALID_ARGUMENT);
    assert!(error.message.contains("pool_max_conns must be at most 100"), "{error}");
}

#[test]
fn an_array_of_many_nothings_costs_no_more_than_it_may_have() {
    let (service, tenant) = (Service::start(), harness::tenant());
    let lease = service.lease(&tenant);
    let before = service.proc_status("VmHWM:");
    let error = lease.fails(&["select array_fill(null::int, array[15000000])"]);
    assert_eq!(error.reason, "RESULT_TOO_LARGE");
    let grown = service.proc_status("VmHWM:") - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(lease.value("select 1"), "1");
}
