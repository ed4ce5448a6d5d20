//! Prepared statements that are kept: they spare a round trip and never change
//! what a text means.

use crate::harness;
use crate::harness::sql::{
    assert_error, atomic, on_lease, one_shot, tenant_of_one, value, with, work,
};
use crate::harness::{answer, code, eventually, execute_later, millis, refused, tenant, Service};
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::ExecuteRequest;

fn hits(service: &Service) -> u64 {
    service.metric("connpool_statement_cache_hits_total").unwrap_or(0.0) as u64
}

/// Counts PostgreSQL's own: what this session has prepared, but for the question.
const PREPARED: &str = "select count(*)::int from pg_prepared_statements where not from_sql";

#[test]
fn a_repeated_text_is_prepared_once_also_over_leases() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    for round in 0..3 {
        let lease = service.lease(&tenant);
        let before = hits(&service);
        for _ in 0..5 {
            assert_eq!(lease.value("select 42"), "42");
        }
        assert_eq!(hits(&service) - before, if round == 0 { 4 } else { 5 });
        lease.client.release(&lease.id).unwrap();
    }
}

#[test]
fn as_many_are_kept_as_configured() {
    for (size, kept) in [("0", 0), ("3", 3)] {
        let (service, tenant) = (Service::with(&["--statement-cache", size]), tenant());
        let lease = service.lease(&tenant);
        for n in 0..20 {
            lease.run(&[&format!("select {n}")]);
        }
        // The question itself is being kept, or is there for the moment.
        let prepared: usize = lease.value(PREPARED).parse().unwrap();
        assert_eq!(prepared.max(1), kept.max(1), "{size}");
        assert_eq!(lease.value("select 19"), "19");
        let before = hits(&service);
        assert_eq!(lease.value("select 19"), "19");
        assert_eq!(hits(&service) - before, u64::from(kept > 0));
    }
}

#[test]
fn a_table_that_changes_under_a_statement_is_seen() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)", "insert into t values (1)"]);
    let columns = || lease.run(&["select * from t"]).results[0].columns.len();
    assert_eq!((columns(), columns()), (1, 1));
    let other = service.lease(&tenant);
    other.run(&["alter table t add column m text"]);
    assert_eq!((columns(), columns()), (2, 2));
    // Inside a transaction the error has failed that, and is told.
    other.run(&["alter table t add column o text"]);
    lease.run(&["begin"]);
    let error = lease.fails(&["select * from t"]);
    assert_eq!(error.postgres.unwrap().sqlstate, "0A000");
    lease.run(&["rollback"]);
    assert_eq!(columns(), 3);
}

#[test]
fn settings_are_read_as_they_are_now() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let noon = "select extract(epoch from timestamptz '2024-07-01 12:00')::int8";
    let day = "select extract(month from date '01/02/2024')::int";
    let string = r"select length('a\\b')";
    let read = |lease: &harness::Held| (lease.value(noon), lease.value(day), lease.value(string));
    let usual = || ("1719835200".to_owned(), "1".to_owned(), "4".to_owned());
    let other = ("1719849600".to_owned(), "2".to_owned(), "3".to_owned());
    let lease = service.lease(&tenant);
    lease.run(&["set timezone = 'UTC'"]);
    assert_eq!((read(&lease), read(&lease)), (usual(), usual()));
    // By whatever way they change.
    for (change, back) in [
        (
            vec![
                "set timezone = 'America/New_York'",
                "set datestyle = 'ISO, DMY'",
                "set standard_conforming_strings = off",
            ],
            vec!["set timezone = 'UTC'", "reset datestyle", "reset standard_conforming_strings"],
        ),
        (
            vec![
                "begin",
                "select set_config('timezone', 'America/New_York', true), \
                 set_config('datestyle', 'ISO, DMY', true), \
                 set_config('standard_conforming_strings', 'off', true)",
            ],
            vec!["rollback"],
        ),
        (
            vec![
                "do $$ begin perform set_config('timezone', 'America/New_York', false); \
                 perform set_config('datestyle', 'ISO, DMY', false); \
                 perform set_config('standard_conforming_strings', 'off', false); end $$",
            ],
            vec!["set timezone = 'UTC'", "reset datestyle", "reset standard_conforming_strings"],
        ),
    ] {
        lease.run(&change);
        assert_eq!((read(&lease), read(&lease)), (other.clone(), other.clone()), "{change:?}");
        lease.run(&back);
        assert_eq!((read(&lease), read(&lease)), (usual(), usual()), "{back:?}");
    }
    lease.run(&["set timezone = 'America/New_York'", "set datestyle = 'ISO, DMY'"]);
    lease.run(&["set standard_conforming_strings = off"]);
    assert_eq!(read(&lease), other);
    lease.client.release(&lease.id).unwrap();
    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid);
    next.run(&["set timezone = 'UTC'"]);
    assert_eq!(read(&next), usual());
}

#[test]
fn a_temporary_table_hides_another_at_once() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let first = service.lease(&tenant);
    first.run(&["create table t (n int)", "insert into t values (1)", "select n from t"]);
    assert_eq!(first.value("select n from t"), "1");
    // From now on the session has a place for temporary tables.
    first.run(&["create temp table unused (n int)", "drop table unused"]);
    assert_eq!(
        (first.value("select n from t"), first.value("select n from t")),
        ("1".into(), "1".into())
    );
    first.run(&["begin", "create temp table t (n int)", "insert into t values (2)"]);
    assert_eq!(
        (first.value("select n from t"), first.value("select n from t")),
        ("2".into(), "2".into())
    );
    first.run(&["rollback"]);
    assert_eq!(first.value("select n from t"), "1");
    first.run(&["select 3 as n into temp t"]);
    assert_eq!(first.value("select n from t"), "3");
    first.client.release(&first.id).unwrap();
    let next = service.lease(&tenant);
    assert_eq!((next.pid, next.value("select n from t")), (first.pid, "1".to_owned()));
}

#[test]
fn a_cursor_of_the_same_name_is_read_as_what_it_is_now() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let first = service.lease(&tenant);
    let fetch = |lease: &harness::Held, query: &str| {
        let declare = format!("declare c cursor for {query}");
        let answer = lease.run(&["begin", &declare, "fetch c", "rollback"]);
        (answer.results[2].columns.len(), format!("{:?}", answer.results[2].rows[0]))
    };
    let row = |lease: &harness::Held, sql| format!("{:?}", lease.run(&[sql]).results[0].rows[0]);
    // Nothing to fetch from.
    first.fails(&["fetch c"]);
    assert_eq!(fetch(&first, "select 7::int4"), (1, row(&first, "select 7::int4")));
    let text = "select 'abcd'::text";
    assert_eq!(fetch(&first, text), (1, row(&first, text)));
    first.client.release(&first.id).unwrap();
    let next = service.lease(&tenant);
    assert_eq!(next.pid, first.pid);
    let two = "select 'abc'::text, 1";
    assert_eq!(fetch(&next, two), (2, row(&next, two)));
    // So is a statement of the user's own.
    next.run(&["prepare p as select 7::int4"]);
    assert_eq!(next.value("execute p"), "7");
    next.run(&["deallocate p", "prepare p as select 'abcd'::text"]);
    assert_eq!(next.value("execute p"), "abcd");
}

#[test]
fn back_at_a_savepoint_texts_mean_what_they_meant_there() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table u (n int)", "insert into u values (1)"]);
    lease.run(&["create temp table unused (n int)", "begin", "savepoint a"]);
    lease.run(&["create temp table u (x text)", "insert into u values ('temporary')"]);
    assert_eq!(lease.value("select * from u"), "temporary");
    lease.run(&["rollback to a"]);
    assert_eq!(lease.value("select * from u"), "1");
    lease.run(&["commit"]);
    assert_eq!(lease.value("select * from u"), "1");
}

#[test]
fn a_stale_plan_inside_a_function_fails_once_and_nothing_is_run_again() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)", "create sequence tries"]);
    lease.run(&["create function f(n int) returns int language plpgsql as $$ begin \
         perform nextval('tries'); execute 'execute mine'; return n; end $$"]);
    lease.run(&["prepare mine as select * from t"]);
    let call = "select f(n) from generate_series(1, 3) n";
    lease.run(&[call]);
    assert_eq!(tenant.sql("select last_value from tries"), "3");
    tenant.sql("alter table t add column m text");
    let error = lease.fails(&[call]);
    assert_eq!(error.postgres.unwrap().sqlstate, "0A000");
    assert_eq!(tenant.sql("select last_value from tries"), "4");
}

#[test]
fn a_session_of_another_encoding_garbles_nothing() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    assert_eq!(lease.value("select length('ä')"), "1");
    lease.run(&["set client_encoding = 'LATIN1'"]);
    let error = lease.fails(&["select length('ä')"]);
    assert_eq!(error.reason, "UNSUPPORTED");
    assert!(error.message.contains("client_encoding"), "{error}");
    lease.run(&["reset client_encoding"]);
    assert_eq!(lease.value("select length('ä')"), "1");
    lease.run(&["begin", "set local client_encoding = 'LATIN1'"]);
    lease.fails(&["select 1"]);
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select length('ä')"), "1");
    // Rows may be in either encoding when it changes on their way.
    let error = lease.fails(&["select 'ä', set_config('client_encoding', 'LATIN1', false), 'ä'"]);
    assert!(error.message.contains("has changed client_encoding"), "{error}");
    lease.client.release(&lease.id).unwrap();
    let next = service.lease(&tenant);
    assert_eq!((next.pid, next.value("select length('ä')")), (lease.pid, "1".to_owned()));
}

#[test]
fn a_statement_that_is_not_kept_finds_its_own_types() {
    let (service, tenant) = (Service::with(&["--statement-cache", "0"]), tenant_of_one());
    tenant.sql("create type mood as enum ('sad', 'glad')");
    let lease = service.lease(&tenant);
    // The look-up comes between its preparation and its run.
    for _ in 0..2 {
        assert_eq!(lease.value("select 'glad'::mood"), "glad");
    }
}

#[test]
fn an_atomic_call_runs_although_a_table_has_changed_under_its_statements() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql("create table t (n int); insert into t values (7); grant all on t to public");
    let client = service.client();
    let statements = ["insert into t values (8)", "select * from t", "select * from t where n = 7"];
    let (mut columns, mut rows) = (1, 1);
    for (leased, max_rows) in [(false, 0), (false, 9), (true, 0), (true, 9)] {
        let lease = leased.then(|| service.lease(&tenant));
        let call = || {
            let place = match &lease {
                Some(lease) => on_lease(lease, &statements),
                None => one_shot(&tenant, &statements),
            };
            client.execute(&ExecuteRequest { atomic: true, max_rows, ..place }).unwrap()
        };
        // From the third time on they are sent together.
        for _ in 0..4 {
            call();
        }
        tenant.sql("alter table t add column more int");
        tenant.sql(&format!("alter table t rename column more to more{rows}"));
        let answer = call();
        (columns, rows) = (columns + 1, rows + 5);
        for at in [1, 2] {
            assert_eq!(answer.results[at].columns.len(), columns, "{leased} {max_rows}");
        }
        if let Some(lease) = lease {
            lease.client.release(&lease.id).unwrap();
        }
    }
    assert_eq!(tenant.sql("select count(*) from t"), rows.to_string());
}

#[test]
fn an_atomic_call_runs_although_a_function_has_deallocated_its_statements() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    lease.run(&["create function forgets() returns int language plpgsql as $$ \
         begin execute 'deallocate all'; return 1; end $$"]);
    let statements = ["insert into t values (8)", "select count(*) from t"];
    let mut rows = 0;
    for max_rows in [0, 9] {
        for round in 0..8 {
            if round > 3 {
                lease.run(&["select forgets()"]);
            }
            rows += 1;
            let call = on_lease(&lease, &statements);
            let call = ExecuteRequest { atomic: true, max_rows, ..call };
            let answer = lease.client.execute(&call).unwrap();
            assert_eq!(text_at(&answer, 1, 0, 0), rows.to_string());
        }
    }
    assert_eq!(lease.value("select count(*) from t"), rows.to_string());
}

#[test]
fn the_second_run_of_an_atomic_call_has_its_time_limit_too() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql("create table t (n int); insert into t values (0); grant all on t to public");
    let lease = service.lease(&tenant);
    lease.run(&["create function deaf() returns int language plpgsql as $$ begin \
         while (select max(n) > 0 from t) loop begin perform pg_sleep(3600); \
         exception when query_canceled then end; end loop; return 1; end $$"]);
    let statements = ["select * from t", "select deaf()"];
    for _ in 0..4 {
        atomic(&lease, &statements).unwrap();
    }
    tenant.sql("alter table t add column more int");
    tenant.sql("update t set n = 1");
    let call = ExecuteRequest { timeout: millis(100), ..on_lease(&lease, &statements) };
    let error = refused(lease.client.execute(&ExecuteRequest { atomic: true, ..call }));
    assert_eq!(error.reason, "STATEMENT_TIMEOUT", "{error}");
    service.log().wait_for("event=backend_aborted");
}

#[test]
fn an_outdated_atomic_call_that_is_to_end_says_who_ended_it() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    lease.run(&["create function hears(n int) returns int language plpgsql as $$ begin \
         perform pg_sleep(n); return n; exception when query_canceled then return 7; end $$"]);
    let call = |n: i32| {
        let (hears, select) = ("select hears($1::int)", "select * from t");
        let statements = vec![with(hears, &[value(Kind::Int(n.into()))]), with(select, &[])];
        ExecuteRequest { atomic: true, statements, ..on_lease(&lease, &[]) }
    };
    lease.client.execute(&call(0)).unwrap();
    tenant.sql("alter table t add column more int");
    let sleeps = execute_later(&lease.client, &call(3600));
    eventually("it sleeps", || tenant.running("hears") == 1);
    lease.client.release_with(&lease.id, true).unwrap();
    let error = answer(sleeps).unwrap_err();
    assert_error(&error, code::ABORTED, "CANCELLED");
    assert_eq!(work(&error).0, Outcome::NOT_APPLIED);
}

#[test]
fn what_a_function_has_deallocated_is_prepared_anew_also_in_a_transaction() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create function forgets() returns int language plpgsql as $$ \
         begin execute 'deallocate all'; return 1; end $$"]);
    lease.run(&["select 42"]);
    // They are prepared before the first of them runs.
    let answer = atomic(&lease, &["select forgets()", "select 43"]).unwrap();
    assert_eq!(text_at(&answer, 1, 0, 0), "43");
    lease.run(&["begin"]);
    assert_eq!(lease.value("select 42"), "42");
}
