//! Requests of a stream that are sent before those in front of them are answered.

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::session_response::Kind as Said;

use super::{answer, open, value};
use crate::harness::sql::work;
use crate::harness::{code, eventually, tenant, Held, Service, Tenant};

/// Requests that are sent ahead.
const AHEAD: u64 = 16;

/// Holds a table, so that the first request waits until it is let go.
fn hold(service: &Service, tenant: &Tenant) -> Held {
    let holder = service.lease(tenant);
    holder.run(&["begin", "lock table thing in access exclusive mode"]);
    holder
}

#[test]
fn each_of_many_requests_sent_ahead_is_answered_in_order_for_itself() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table thing (n int); grant all on thing to public");
    let holder = hold(&service, &tenant);
    let (mut session, opened) = open(&service, &tenant);
    let requests: [&[&str]; AHEAD as usize] = [
        &["insert into thing values (1)"],
        &["select 1/0"],
        &["select pg_backend_pid()"],
        &[],
        &["copy (select 1) to stdout"],
        &["listen news"],
        &["select pg_listening_channels()"],
        &["begin"],
        &["insert into thing values (2)", "selec"],
        &["select 10"],
        &["rollback"],
        &["create table never (n int)"],
        &["select 13"],
        &["copy thing from stdin"],
        &["unlisten *"],
        &["select count(*) from thing"],
    ];
    for (id, statements) in (1..).zip(requests) {
        session.execute(id, statements).unwrap();
    }
    eventually("the first waits", || tenant.running("insert into thing values (1)") == 1);
    session.cancel(12).unwrap();
    // What was cancelled before its turn has never run; the others hear nothing of it.
    holder.release();
    let wanted: [Result<&str, &str>; AHEAD as usize] = [
        Ok(""),
        Err("SQL_ERROR"),
        Ok(&opened.lease.backend_pid.to_string()),
        Err("INVALID_ARGUMENT"),
        Err("UNSUPPORTED"),
        Ok(""),
        Ok("news"),
        Ok(""),
        Err("SQL_ERROR"),
        Err("SQL_ERROR"),
        Ok(""),
        Err("CANCELLED"),
        Ok("13"),
        Err("UNSUPPORTED"),
        Ok(""),
        Ok("1"),
    ];
    for (id, wanted) in (1..).zip(wanted) {
        let (answered, outcome) = answer(&mut session);
        assert_eq!(answered, id);
        match (outcome, wanted) {
            (Ok(response), Ok(value)) => {
                if !value.is_empty() {
                    assert_eq!(text_at(&response, 0, 0, 0), value, "{id}");
                }
                let state = response.session.transaction_state.unwrap();
                let open = TransactionState::TRANSACTION_STATE_OPEN;
                assert_eq!(state == open, id == 8, "{id}: {state:?}");
            }
            (Err(error), Err(reason)) => {
                assert_eq!(error.reason, reason, "{id}: {error}");
                if id == 12 {
                    assert_eq!(work(&error), (Outcome::NOT_STARTED, 0, -1), "{error}");
                }
            }
            (outcome, wanted) => panic!("{id}: {outcome:?}, not {wanted:?}"),
        }
    }
    assert_eq!(tenant.sql("select to_regclass('never') is null"), "t");
}

#[test]
fn more_than_may_wait_are_taken_in_time_and_all_answered() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table thing (n int); grant all on thing to public");
    let holder = hold(&service, &tenant);
    let (mut session, _) = open(&service, &tenant);
    session.execute(0, &["select count(*) from thing"]).unwrap();
    for id in 1..=300 {
        session.execute(id, &[&format!("select {id}")]).unwrap();
    }
    eventually("the first waits", || tenant.running("select count(*) from thing") == 1);
    holder.release();
    for id in 0..=300 {
        assert_eq!(value(&mut session), id.to_string());
    }
    session.close().unwrap();
}

/// Sixteen requests, of which one sleeps.
fn send(session: &mut Session, first: u64, sleeps: u64) {
    for n in 0..AHEAD {
        let sql = match n == sleeps {
            true => "insert into thing select 99 from pg_sleep(3600)".to_owned(),
            false => format!("insert into thing values ({n})"),
        };
        session.execute(first + n, &[&sql]).unwrap();
    }
}

#[test]
fn a_cancel_hits_its_request_at_each_place_of_those_sent_ahead_and_no_other() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table thing (n int); grant all on thing to public");
    let (mut session, opened) = open(&service, &tenant);
    for sleeps in 0..AHEAD {
        let first = 100 * sleeps;
        send(&mut session, first, sleeps);
        eventually("it sleeps", || tenant.running("pg_sleep(3600)") == 1);
        // One that is over, the last while it waits, and the one that runs.
        session.cancel(first + sleeps.saturating_sub(1)).unwrap();
        let last = first + AHEAD - 1;
        session.cancel(last).unwrap();
        session.cancel(first + sleeps).unwrap();
        for n in 0..AHEAD {
            let (id, outcome) = answer(&mut session);
            assert_eq!(id, first + n);
            match outcome {
                Ok(_) => assert!(n != sleeps && id != last, "{id} was not cancelled"),
                Err(error) => {
                    assert!(n == sleeps || id == last, "{id}: {error}");
                    assert_eq!((error.code, &*error.reason), (code::CANCELLED, "CANCELLED"));
                    let wanted = match n == sleeps {
                        true => (Outcome::NOT_APPLIED, 0, 0),
                        false => (Outcome::NOT_STARTED, 0, -1),
                    };
                    assert_eq!(work(&error), wanted, "{id}");
                }
            }
        }
        let there: Vec<String> =
            (0..AHEAD - 1).filter(|n| *n != sleeps).map(|n| n.to_string()).collect();
        let rows = "select coalesce(string_agg(n::text, ' ' order by n), '') from thing";
        session.execute(1, &[rows, "delete from thing", "select pg_backend_pid()"]).unwrap();
        let (_, after) = answer(&mut session);
        let after = after.unwrap();
        assert_eq!(text_at(&after, 0, 0, 0), there.join(" "), "{sleeps}");
        assert_eq!(text_at(&after, 2, 0, 0), opened.lease.backend_pid.to_string());
    }
}

#[test]
fn responses_of_all_sizes_wait_for_a_late_reader_whole_and_in_order() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create sequence numbers; grant all on sequence numbers to public");
    let (mut session, _) = open(&service, &tenant);
    let sizes = [1, 10, 3_000, 30_000, 70_000, 300_000];
    let size = |id: u64| sizes[id as usize % sizes.len()];
    for id in 0..60 {
        let select = format!("select repeat('x', {}), nextval('numbers')", size(id));
        session.execute(id, &[&select]).unwrap();
    }
    // Those that were sent ahead run although nobody reads yet.
    let ran = || tenant.sql("select last_value from numbers").parse::<u64>().unwrap();
    eventually("some have run", || ran() > 1);
    for id in 0..60 {
        let (answered, outcome) = answer(&mut session);
        assert_eq!(answered, id);
        assert_eq!(text_at(&outcome.expect("it runs"), 0, 0, 0).len(), size(id), "{id}");
    }
    assert_eq!(ran(), 60);
    session.close().unwrap();
    assert!(matches!(session.next().unwrap().unwrap().kind, Some(Said::Closed(_))));
}
