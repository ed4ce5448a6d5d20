//! A stop with work under way: what may go on, what is refused, and what is left.

use crate::harness::sql::one_shot;
use crate::harness::{
    acquire_later, answer, code, eventually, execute_later, refused, request, tenant, Administered,
    Service, Tenant,
};
use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::admin::ReloadRequest;
use connection_pool_manager::proto::connection_pool::ReleaseOutcome;
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_request::Kind;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{ExecuteRequest, QueryRequest};
use rustix::process::Signal;

fn open(service: &Service, tenant: &Tenant) -> Session {
    service.client().open_session(request(tenant)).expect("a session").0
}

/// The next answer: the name of the request, and how it failed if it did.
#[track_caller]
fn executed(session: &mut Session) -> (u64, Option<CallError>) {
    match session.next().expect("an answer").and_then(|response| response.kind) {
        Some(Said::Executed(executed)) => match executed.outcome {
            Some(Outcome::Response(_)) => (executed.id, None),
            Some(Outcome::Error(status)) => (executed.id, Some(status.into())),
            other => panic!("{other:?}"),
        },
        other => panic!("not an answer: {other:?}"),
    }
}

#[track_caller]
fn run(session: &mut Session, statements: &[&str]) {
    session.execute(7, statements).unwrap();
    let (id, error) = executed(session);
    assert!(id == 7 && error.is_none(), "{statements:?}: {error:?}");
}

/// Ends it as a stream should end.
#[track_caller]
fn close(session: &mut Session) -> ReleaseOutcome {
    session.close().unwrap();
    let Some(Said::Closed(closed)) = session.next().unwrap().unwrap().kind else {
        panic!("not closed");
    };
    assert!(session.next().unwrap().is_none());
    closed.outcome.unwrap()
}

#[track_caller]
fn assert_draining(error: &CallError) {
    assert_eq!((error.code, error.reason.as_str()), (code::UNAVAILABLE, "DRAINING"), "{error}");
}

#[track_caller]
fn assert_ended_by_shutdown(error: CallError) {
    let said = (error.code, error.reason.as_str());
    assert_eq!(said, (code::FAILED_PRECONDITION, "LEASE_ENDED"), "{error}");
    assert_eq!(error.info.unwrap().metadata["end_reason"], "shutdown");
}

#[test]
fn streams_go_on_during_the_drain_and_the_process_ends_with_the_last() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant();
    tenant.sql("create table orders (n int); grant all on orders to public");
    let lock = service.lease(&tenant);
    lock.run(&["select pg_advisory_lock(7)"]);
    let (mut idle, mut writing) = (open(&service, &tenant), open(&service, &tenant));
    run(&mut writing, &["begin", "insert into orders values (1)"]);
    let mut busy = open(&service, &tenant);
    busy.execute(0, &["select pg_advisory_lock(7)"]).unwrap();
    for id in 1..40 {
        busy.execute(id, &["insert into orders values (2)"]).unwrap();
    }
    eventually("it waits for the lock", || tenant.running("pg_advisory_lock") == 1);
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");

    run(&mut idle, &["select 1"]);
    for id in 40..60 {
        busy.execute(id, &["insert into orders values (2)"]).unwrap();
    }
    lock.release();
    for id in 0..60 {
        let (answered, error) = executed(&mut busy);
        assert!(answered == id && error.is_none(), "{answered}: {error:?}");
    }
    run(&mut writing, &["insert into orders values (1)", "commit"]);
    for session in [&mut idle, &mut busy] {
        assert_eq!(close(session), ReleaseOutcome::RELEASE_OUTCOME_RELEASED);
    }
    run(&mut writing, &["begin", "insert into orders values (3)"]);
    assert_eq!(close(&mut writing), ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK);
    assert_eq!(service.wait().code(), Some(0));
    eventually("no backend is left", || tenant.backends() == 0);
    let counts = "select string_agg(n || ':' || c, ' ' order by n) \
                  from (select n, count(*) c from orders group by n) o";
    assert_eq!(tenant.sql(counts), "1:2 2:59");
    assert!(!service.log().text().contains("event=drain_timeout"));
}

#[test]
fn waiting_and_new_calls_of_every_kind_fail_during_the_drain() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant().pool_of(1);
    let mut held = open(&service, &tenant);
    let client = service.client();
    let lease = acquire_later(&client, &request(&tenant));
    let shot = execute_later(&client, &one_shot(&tenant, &["select 1"]));
    let mut stream = client.session().unwrap();
    stream.send(Kind::Open(request(&tenant))).unwrap();
    service.wait_stats(&tenant.name, "all stand", |stats| stats.waiting == 3);
    service.signal(Signal::TERM);
    assert_draining(&refused(answer(lease)));
    assert_draining(&refused(answer(shot)));
    assert_draining(&refused(stream.next()));
    // The process stays for the stream that is left.
    assert_draining(&refused(client.acquire(&tenant.name, &tenant.dsn)));
    assert_draining(&refused(client.execute(&one_shot(&tenant, &["select 1"]))));
    assert_draining(&refused(client.open_session(request(&tenant)).map(drop)));
    run(&mut held, &["select 1"]);
    close(&mut held);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_stream_that_breaks_during_the_drain_does_not_keep_the_process() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant();
    let mut session = open(&service, &tenant);
    session.execute(1, &["select pg_sleep(600)"]).unwrap();
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");
    drop(session);
    assert_eq!(service.wait().code(), Some(0));
    eventually("no backend is left", || tenant.backends() == 0);
}

#[test]
fn work_that_outlasts_the_drain_is_cancelled_and_rolled_back_and_fails() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let tenant = tenant();
    tenant.sql("create table orders (n int); grant all on orders to public");
    let (mut idle, mut writing) = (open(&service, &tenant), open(&service, &tenant));
    run(&mut writing, &["begin", "insert into orders values (1)"]);
    let mut busy = open(&service, &tenant);
    busy.execute(1, &["insert into orders values (2)"]).unwrap();
    busy.execute(2, &["begin", "insert into orders values (3)", "select pg_sleep(600)"]).unwrap();
    for id in 3..10 {
        busy.execute(id, &["insert into orders values (4)"]).unwrap();
    }
    // Its answers do not fit on the way, and nobody reads them.
    let mut lazy = open(&service, &tenant);
    for id in 0..20 {
        lazy.execute(id, &["select repeat('x', 3000000)"]).unwrap();
    }
    let lease = service.lease(&tenant);
    lease.run(&["begin", "insert into orders values (5)"]);
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    service.signal(Signal::TERM);
    assert_eq!(executed(&mut busy).0, 1);
    let (id, error) = executed(&mut busy);
    let error = error.expect("it was cancelled");
    assert_eq!((id, error.code, error.reason.as_str()), (2, code::ABORTED, "CANCELLED"));
    assert_eq!(error.info.unwrap().metadata["cause"], "shutdown");
    for session in [&mut idle, &mut writing, &mut busy] {
        assert_ended_by_shutdown(refused(session.next()));
    }
    assert_eq!(service.wait().code(), Some(0));
    eventually("no backend is left", || tenant.backends() == 0);
    assert_eq!(tenant.sql("select string_agg(n::text, ' ') from orders"), "2");
    service.log().wait_for("event=drain_timeout leases=5");
    service.log().wait_for("event=stopped ");
    assert!(!service.log().text().contains("event=connections_left"));
    drop(lazy);
}

#[test]
fn one_shots_that_outlast_the_drain_are_cancelled_and_told_what_became_of_their_work() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let tenant = tenant();
    tenant.sql("create table orders (n int); grant all on orders to public");
    let client = service.client();
    let statements = ["insert into orders values (1)", "select pg_sleep(600)"];
    let whole = ExecuteRequest { atomic: true, ..one_shot(&tenant, &statements) };
    let whole = execute_later(&client, &whole);
    let streamed = QueryRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statement: Some(statement("select pg_sleep(600)")).into(),
        ..QueryRequest::default()
    };
    let mut streamed = client.query(&streamed).unwrap();
    eventually("they sleep", || tenant.running("pg_sleep") == 2);
    service.signal(Signal::TERM);
    for error in [refused(answer(whole)), refused(streamed.next())] {
        assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"), "{error}");
        assert_eq!(error.info.as_ref().unwrap().metadata["cause"], "shutdown");
        assert!(error.work.is_some(), "{error:?}");
    }
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(tenant.sql("select count(*) from orders"), "0");
}

#[test]
fn a_reload_during_the_drain_is_told_that_the_service_stops() {
    let (service, tenant) = (Administered::with(&["--drain-timeout", "600"], ""), tenant());
    let ops = service.operator("ops");
    let lease = service.lease(&tenant);
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");
    let reload = ReloadRequest::default();
    assert_draining(&refused(ops.ask(|stub, option| stub.reload(&reload, option))));
    lease.release();
}
