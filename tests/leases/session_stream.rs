//! A Session stream: a lease that lives as long as the stream.

mod ahead;
mod pipelined;

use crate::harness;
use crate::harness::{code, eventually, refused, request, tenant, Service, Tenant};
use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{text_at, CallError};
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, LeaseEndReason, ReleaseOutcome, RenewRequest, TransactionState,
};
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_request::Kind;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{ExecuteResponse, SessionExecute, SessionOpened};

fn open(service: &Service, tenant: &Tenant) -> (Session, SessionOpened) {
    service.client().open_session(request(tenant)).expect("a session")
}

/// The next answer to an execute, and its name.
#[track_caller]
fn answer(session: &mut Session) -> (u64, Result<ExecuteResponse, CallError>) {
    match session.next().expect("an answer").and_then(|response| response.kind) {
        Some(Said::Executed(executed)) => {
            let outcome = match executed.outcome.expect("an outcome") {
                Outcome::Response(response) => Ok(response),
                Outcome::Error(status) => Err(status.into()),
                other => panic!("{other:?}"),
            };
            (executed.id, outcome)
        }
        other => panic!("not an answer: {other:?}"),
    }
}

#[track_caller]
fn value(session: &mut Session) -> String {
    text_at(&answer(session).1.expect("it runs"), 0, 0, 0)
}

/// How the stream ended, after all answers.
fn end(session: &mut Session) -> Option<CallError> {
    loop {
        match session.next() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn running(tenant: &Tenant, part: &str) -> bool {
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and query like '%{part}%' \
         and pid <> pg_backend_pid() and datname = current_database()"
    );
    tenant.sql(&sql) != "0"
}

#[test]
fn requests_are_answered_in_their_order_on_one_backend_and_close_ends_the_lease() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, opened) = open(&service, &tenant);
    // All is sent before anything is read.
    session.execute(1, &["create temp table t (n int)", "begin"]).unwrap();
    for n in 2..50 {
        session.execute(n, &[&format!("insert into t values ({n}) returning n")]).unwrap();
    }
    session.execute(50, &["commit", "select pg_backend_pid()", "select count(*) from t"]).unwrap();
    session.close().unwrap();
    assert_eq!(answer(&mut session).0, 1);
    for n in 2..50 {
        let (id, answered) = answer(&mut session);
        assert_eq!((id, text_at(&answered.unwrap(), 0, 0, 0)), (n, n.to_string()));
    }
    let last = answer(&mut session).1.unwrap();
    assert_eq!(text_at(&last, 1, 0, 0), opened.lease.backend_pid.to_string());
    assert_eq!(text_at(&last, 2, 0, 0), "48");
    let Some(Said::Closed(closed)) = session.next().unwrap().unwrap().kind else {
        panic!("not closed");
    };
    assert_eq!(closed.outcome.unwrap(), ReleaseOutcome::RELEASE_OUTCOME_RELEASED);
    assert!(session.next().unwrap().is_none());
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_failed_statement_does_not_stop_those_that_follow() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, _) = open(&service, &tenant);
    session.execute(1, &["select 1/0"]).unwrap();
    session.execute(2, &[]).unwrap();
    session.execute(3, &["select 3"]).unwrap();
    let failed = answer(&mut session).1.unwrap_err();
    assert_eq!((failed.code, failed.reason.as_str()), (code::INVALID_ARGUMENT, "SQL_ERROR"));
    assert_eq!(failed.postgres.unwrap().sqlstate, "22012");
    let invalid = answer(&mut session).1.unwrap_err();
    assert_eq!(invalid.reason, "INVALID_ARGUMENT");
    assert!(invalid.message.starts_with("statements must be"));
    assert_eq!(value(&mut session), "3");
}

#[test]
fn an_execute_on_the_stream_takes_all_that_execute_takes() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, _) = open(&service, &tenant);
    let execute = |id, sql: &[&str]| SessionExecute {
        id,
        statements: sql
            .iter()
            .map(|s| connection_pool_manager::client::service::statement(s))
            .collect(),
        ..SessionExecute::default()
    };
    session
        .send(Kind::Execute(SessionExecute {
            max_rows: 2,
            ..execute(1, &["select generate_series(1, 5)"])
        }))
        .unwrap();
    session
        .send(Kind::Execute(SessionExecute {
            atomic: true,
            ..execute(2, &["create table kept (n int)", "select 1/0"])
        }))
        .unwrap();
    session
        .send(Kind::Execute(SessionExecute {
            timeout: harness::millis(20),
            ..execute(3, &["select pg_sleep(60)"])
        }))
        .unwrap();
    session.execute(4, &["select to_regclass('kept') is null"]).unwrap();
    let cut = answer(&mut session).1.unwrap();
    assert!(cut.results[0].truncated && cut.results[0].rows.len() == 2);
    assert_eq!(answer(&mut session).1.unwrap_err().reason, "SQL_ERROR");
    assert_eq!(answer(&mut session).1.unwrap_err().reason, "STATEMENT_TIMEOUT");
    assert_eq!(value(&mut session), "true");
}

#[test]
fn close_rolls_an_open_transaction_back() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table kept (n int); grant all on kept to public");
    let (mut session, _) = open(&service, &tenant);
    session.execute(1, &["begin", "insert into kept values (1)"]).unwrap();
    session.close().unwrap();
    let open = answer(&mut session).1.unwrap();
    assert_eq!(open.session.transaction_state.unwrap(), TransactionState::TRANSACTION_STATE_OPEN);
    let Some(Said::Closed(closed)) = session.next().unwrap().unwrap().kind else {
        panic!("not closed");
    };
    assert_eq!(closed.outcome.unwrap(), ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK);
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from kept"), "0");
}

#[test]
fn cancel_hits_what_runs_or_waits_under_its_name_and_nothing_else() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, _) = open(&service, &tenant);
    session.execute(1, &["select pg_sleep(600)"]).unwrap();
    session.execute(2, &["create table never (n int)"]).unwrap();
    session.execute(3, &["select 3"]).unwrap();
    eventually("the first runs", || running(&tenant, "pg_sleep(600)"));
    session.cancel(2).unwrap();
    session.cancel(99).unwrap();
    session.cancel(1).unwrap();
    for id in [1, 2] {
        let (answered, error) = answer(&mut session);
        let error = error.unwrap_err();
        assert_eq!((answered, error.reason.as_str()), (id, "CANCELLED"));
        assert_eq!(error.code, code::CANCELLED);
    }
    assert_eq!(value(&mut session), "3");
    assert_eq!(tenant.sql("select to_regclass('never') is null"), "t");
}

#[test]
fn calls_on_the_lease_of_a_stream_fail_and_later_return_how_it_ended() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, opened) = open(&service, &tenant);
    let (client, id) = (service.client(), opened.connection_id.clone());
    let renew = RenewRequest { connection_id: id.clone(), ..RenewRequest::default() };
    for error in [
        refused(client.run(&id, &["select 1"])),
        refused(client.release(&id)),
        refused(client.release_with(&id, true)),
        refused(client.renew(&renew)),
    ] {
        assert_eq!(
            (error.code, error.reason.as_str()),
            (code::FAILED_PRECONDITION, "LEASE_ON_STREAM")
        );
    }
    session.execute(1, &["select 1"]).unwrap();
    assert_eq!(value(&mut session), "1");
    drop(session);
    service.wait_quiet(&tenant.name);
    let late = refused(client.run(&id, &["select 1"]));
    assert_eq!(late.reason, "LEASE_ENDED");
    assert_eq!(late.info.unwrap().metadata["end_reason"], "stream_lost");
    let released = client.release(&id).unwrap();
    assert_eq!(released.end_reason.unwrap(), LeaseEndReason::LEASE_END_REASON_STREAM_LOST);
}

#[test]
fn a_stream_without_close_was_broken_and_releases_at_once() {
    let (service, tenant) = (Service::start(), tenant());
    // Idle in a transaction, busy, with work that waits, and half closed.
    let (mut idle, _) = open(&service, &tenant);
    idle.execute(1, &["begin"]).unwrap();
    answer(&mut idle).1.unwrap();
    let (mut busy, _) = open(&service, &tenant);
    busy.execute(1, &["select pg_sleep(600)"]).unwrap();
    busy.execute(2, &["create table never (n int)"]).unwrap();
    eventually("it runs", || running(&tenant, "pg_sleep(600)"));
    let (mut half, opened) = open(&service, &tenant);
    half.execute(1, &["begin"]).unwrap();
    answer(&mut half).1.unwrap();
    // The service may be quicker with its answer than gRPC with the end of the sending.
    let error = match half.half_close() {
        Ok(()) => end(&mut half).expect("an error"),
        Err(error) => error,
    };
    assert_eq!(error.code, code::INVALID_ARGUMENT);
    assert!(error.message.contains("without close"), "{error}");
    drop(idle);
    drop(busy);
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select to_regclass('never') is null"), "t");
    let ended = service.metric(&format!(
        "connpool_leases_ended_total{{reason=\"stream_lost\",tenant=\"{}\"}}",
        tenant.name
    ));
    assert_eq!(ended, Some(3.0));
    let late = refused(service.client().run(&opened.connection_id, &["select 1"]));
    assert_eq!(late.info.unwrap().metadata["end_reason"], "stream_lost");
}

#[test]
fn a_stream_ends_as_soon_as_its_lease_does() {
    let (service, tenant) = (Service::start(), tenant());
    let short = ConnectionRequest { ttl: harness::millis(1000), ..request(&tenant) };
    let (mut session, _) = service.client().open_session(short).unwrap();
    let error = end(&mut session).expect("an error");
    assert_eq!((error.code, error.reason.as_str()), (code::FAILED_PRECONDITION, "LEASE_ENDED"));
    assert_eq!(error.info.unwrap().metadata["end_reason"], "ttl");

    let (mut killed, opened) = open(&service, &tenant);
    killed.execute(1, &["select pg_sleep(600)"]).unwrap();
    killed.execute(2, &["select 2"]).unwrap();
    eventually("it runs", || running(&tenant, "pg_sleep(600)"));
    tenant.sql(&format!("select pg_terminate_backend({})", opened.lease.backend_pid));
    let lost = answer(&mut killed).1.unwrap_err();
    assert_eq!((lost.code, lost.reason.as_str()), (code::UNKNOWN, "BACKEND_LOST"));
    let error = end(&mut killed).expect("an error");
    assert_eq!(error.info.unwrap().metadata["end_reason"], "backend_lost");
    service.wait_quiet(&tenant.name);
}

#[test]
fn what_does_not_belong_on_a_stream_ends_it_with_the_rule() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let execute = || Kind::Execute(SessionExecute::default());
    let refusals = |kinds: Vec<Option<Kind>>| {
        let mut session = client.session().unwrap();
        for kind in kinds {
            // The stream may be over already.
            let _ = session.send(kind);
        }
        end(&mut session).expect("an error")
    };
    let named = ConnectionRequest { request_id: vec![7; 16], ..request(&tenant) };
    let wrong = ConnectionRequest { dsn: "host=".to_owned(), ..request(&tenant) };
    for (kinds, part) in [
        (vec![None], "kind is required"),
        (vec![Some(execute())], "the first message must be open"),
        (vec![Some(Kind::Open(request(&tenant))), Some(Kind::Open(request(&tenant)))], "only that"),
        (vec![Some(Kind::Open(named))], "request_id must be empty"),
        (vec![Some(Kind::Open(ConnectionRequest::default()))], "tenant_id is required"),
        (vec![Some(Kind::Open(wrong))], "dsn"),
    ] {
        let error = refusals(kinds);
        assert_eq!(error.code, code::INVALID_ARGUMENT, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
    eventually("no lease is left", || {
        service.metric("connpool_leases{state=\"idle\"").is_none_or(|n| n == 0.0)
    });
}

#[test]
fn a_stream_that_waits_for_its_lease_leaves_the_queue_when_it_breaks() {
    let service = Service::with(&["--max-connections", "1", "--min-connections", "0"]);
    let tenant = tenant();
    let held = service.lease(&tenant);
    let mut session = service.client().session().unwrap();
    session.send(Kind::Open(request(&tenant))).unwrap();
    let client = service.client();
    eventually("it waits", || client.stats(&tenant.name).unwrap().waiting == 1);
    drop(session);
    eventually("it left", || client.stats(&tenant.name).unwrap().waiting == 0);
    held.client.release(&held.id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn no_more_is_read_while_much_is_waiting() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, _) = open(&service, &tenant);
    session.execute(0, &["select pg_sleep(600)"]).unwrap();
    eventually("it runs", || running(&tenant, "pg_sleep(600)"));
    // 3 MiB each: gRPC's own window takes some, the service two of them.
    let big = format!("select length('{}')", "x".repeat(3_000_000));
    let before = service.proc_status("VmRSS:");
    let (tell, told) = crossbeam_channel::bounded::<()>(0);
    let (sent, got) = crossbeam_channel::unbounded();
    #[allow(clippy::disallowed_methods)] // Ended by the end of the stream.
    let sender = std::thread::spawn(move || {
        for n in 1..=100 {
            if session.execute(n, &[&big]).is_err() {
                break;
            }
            sent.send(n).unwrap();
        }
        drop(tell);
        session
    });
    // It comes to a stop long before all is sent.
    let mut last = 0;
    while let Ok(n) = got.recv_timeout(std::time::Duration::from_secs(3)) {
        last = n;
    }
    assert!((1..30).contains(&last), "{last} were taken");
    let grown = service.proc_status("VmRSS:").saturating_sub(before);
    assert!(grown < 100_000, "{grown} KiB");
    tenant.sql("select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid() and datname = current_database()");
    assert!(told.recv().is_err());
    let mut session = sender.join().unwrap();
    session.close().unwrap();
    for n in 0..=100 {
        assert_eq!(answer(&mut session).0, n);
    }
}
