//! What the service asks PostgreSQL's catalogue by itself, about types that are
//! not built in: it asks once a tenant, its failures are told as the service's own, and
//! they never cost more than the statement they were for.

use crate::harness::code::{ABORTED, DEADLINE_EXCEEDED, FAILED_PRECONDITION, UNAVAILABLE, UNKNOWN};
use crate::harness::sql::{
    assert_error, assert_same_backend, assert_sqlstate, atomic, on_lease, one_shot, query_on,
    state_after, state_of, tenant_of_one, work, FAILED, NONE, OPEN,
};
use crate::harness::{
    answer, eventually, execute_later, millis, postgres, refused, request, Held, Service, Tenant,
};
use connection_pool_manager::client::service::{text_at, CallError};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::session_executed::Outcome as Executed;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::ExecuteRequest;

/// Its value needs no look at pg_enum, neither by the service nor by PostgreSQL itself.
const MOOD: &str = "select null::mood as mood";

/// A tenant with one backend, and with types that are not built in.
fn tenant_with_types() -> Tenant {
    let tenant = tenant_of_one();
    tenant.sql(
        "create type mood as enum ('sad', 'glad'); create type anger as enum ('mild', 'wild'); \
         create domain small as int check (value < 9); create type pair as (a int, b text); \
         create type span as range (subtype = float8); create table trace (n int); \
         grant all on trace to public",
    );
    tenant
}

/// A look-up that failed, what is said of it, and that its statement was not run.
#[track_caller]
fn assert_lookup(error: &CallError, sqlstate: &str, code: i32) {
    assert_error(error, code, "LOOKUP_FAILED");
    assert_eq!(error.info.as_ref().expect("an ErrorInfo").metadata["sqlstate"], sqlstate);
    assert!(error.postgres.is_none(), "{error}");
    assert!(error.message.contains("the service"), "{error}");
    assert!(error.message.contains(&format!("SQLSTATE {sqlstate}")), "{error}");
    assert_eq!(work(error).0, Outcome::NOT_STARTED, "{error}");
}

fn query(lease: &Held, sql: &str) -> CallError {
    let mut query = lease.client.query(&query_on(lease, sql)).expect("a call");
    loop {
        match query.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{sql} succeeded"),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_catalogue_that_the_role_may_not_read_is_no_fault_of_the_statement() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let statements = [
        MOOD,
        "select array[1::small]",
        "select null::pair",
        "select null::span",
        "select $1::mood",
    ];
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let lease = service.lease(&tenant);
    for sql in statements {
        let error = lease.fails(&[sql]);
        assert_lookup(&error, "42501", FAILED_PRECONDITION);
        assert!(error.message.contains("pg_type"), "{error}");
        assert_eq!((work(&error).2, state_after(&error)), (0, NONE));
        assert_lookup(&query(&lease, sql), "42501", FAILED_PRECONDITION);
    }
    assert_same_backend(&lease);
    // The way out that the error tells of.
    assert_eq!(lease.value("select 'sad'::mood::text"), "sad");
    // As soon as the catalogue may be read, the same session does.
    tenant.sql("grant select on pg_catalog.pg_type to public");
    lease.run(&statements[..4]);
    lease.release();
    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid, "the backend was closed without need");
    next.run(&[MOOD]);
}

#[test]
fn nothing_else_of_the_catalogue_is_asked_for() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    for table in ["pg_range", "pg_enum", "pg_attribute", "pg_namespace", "pg_proc"] {
        tenant.sql(&format!("revoke select on pg_catalog.{table} from public"));
    }
    let lease = service.lease(&tenant);
    let answer = lease
        .run(&["select 'sad'::mood, array[null::mood], array[1::small], null::pair, null::span, \
         null::span_multirange"]);
    let columns = &answer.results[0].columns;
    let names: Vec<&str> = columns.iter().map(|column| &*column.type_name).collect();
    assert_eq!(names, ["mood", "_mood", "_small", "pair", "span", "span_multirange"]);
}

#[test]
fn types_that_one_backend_has_looked_up_are_known_to_its_tenant_only() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let tenant = Tenant { dsn: tenant.dsn.replace("max_conns=1", "max_conns=2"), ..tenant };
    let leases = [service.lease(&tenant), service.lease(&tenant)];
    assert_ne!(leases[0].pid, leases[1].pid);
    let mood = "select 'sad'::mood as mood, array['glad'::mood]";
    leases[0].run(&[mood]);
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let answer = leases[1].run(&[mood]);
    assert_eq!(answer.results[0].columns[0].type_name, "mood");
    assert_eq!(text_at(&answer, 0, 0, 0), "sad");
    // What it is not known for is asked for.
    assert_lookup(&leases[1].fails(&["select null::anger"]), "42501", FAILED_PRECONDITION);
    // Another tenant has the same numbers for other types, or may not see them.
    let name = format!("{}-other", tenant.name);
    let other = Tenant { name, password: String::new(), dsn: tenant.dsn.clone() };
    assert_lookup(&service.lease(&other).fails(&[mood]), "42501", FAILED_PRECONDITION);
}

#[test]
fn a_failed_look_up_leaves_the_transaction_in_the_returned_state() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let lease = service.lease(&tenant);
    // What came before it in the call, outside a transaction, has been applied.
    let error =
        lease.fails(&["insert into trace values (1)", MOOD, "insert into trace values (2)"]);
    assert_error(&error, FAILED_PRECONDITION, "LOOKUP_FAILED");
    assert_eq!(work(&error), (Outcome::APPLIED, 1, 1));
    assert_eq!(tenant.sql("select sum(n) from trace"), "1");
    // All or nothing is nothing.
    let error = refused(atomic(&lease, &["insert into trace values (3)", MOOD]));
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 1, 1), NONE));
    // Inside a transaction PostgreSQL has failed that.
    lease.run(&["begin", "insert into trace values (4)"]);
    let error = lease.fails(&[MOOD]);
    assert_lookup(&error, "42501", FAILED_PRECONDITION);
    assert_eq!(state_after(&error), FAILED);
    // From now on it is the transaction, and PostgreSQL sees the statement only.
    let error = lease.fails(&[MOOD]);
    assert_sqlstate(&error, "25P02", FAILED_PRECONDITION);
    lease.run(&["rollback"]);
    // With a savepoint it goes on.
    lease.run(&["begin", "insert into trace values (5)", "savepoint s"]);
    assert_lookup(&lease.fails(&[MOOD]), "42501", FAILED_PRECONDITION);
    lease.run(&["rollback to s", "commit"]);
    assert_eq!(tenant.sql("select sum(n) from trace"), "6");
    assert_same_backend(&lease);
    lease.release();
    let error = refused(service.client().execute(&one_shot(&tenant, &[MOOD])));
    assert_lookup(&error, "42501", FAILED_PRECONDITION);
    assert_eq!(service.lease(&tenant).pid, lease.pid);
}

#[test]
fn a_failed_look_up_fails_its_request_and_the_stream_continues() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let (mut session, opened) = service.client().open_session(request(&tenant)).unwrap();
    session.execute(1, &[MOOD]).unwrap();
    session.execute(2, &["select pg_backend_pid()"]).unwrap();
    let mut outcome = || match session.next().unwrap().unwrap().kind {
        Some(Said::Executed(executed)) => executed.outcome.unwrap(),
        other => panic!("{other:?}"),
    };
    let Executed::Error(error) = outcome() else { panic!("the look-up succeeded") };
    assert_lookup(&CallError::from(error), "42501", FAILED_PRECONDITION);
    let Executed::Response(response) = outcome() else { panic!("the stream did not go on") };
    assert_eq!(text_at(&response, 0, 0, 0), opened.lease.backend_pid.to_string());
}

#[test]
fn failures_without_end_leave_nothing_behind_and_cost_nothing() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let prepared = "select count(*)::int from pg_catalog.pg_prepared_statements";
    let first = service.lease(&tenant);
    assert_eq!(first.value(prepared), first.value(prepared));
    first.release();
    let lease = service.lease(&tenant);
    assert_eq!(lease.pid, first.pid);
    let before: i32 = lease.value(prepared).parse().unwrap();
    (0..100).for_each(|_| assert_lookup(&lease.fails(&[MOOD]), "42501", FAILED_PRECONDITION));
    let after: i32 = lease.value(prepared).parse().unwrap();
    // The last one, until the next comes, and that of the look-ups.
    assert!(after <= before + 2, "{before} statements have become {after}");
    lease.release();
    assert_eq!(service.lease(&tenant).pid, lease.pid);
}

#[track_caller]
fn query_runs(lease: &Held, sql: &str) {
    let mut query = lease.client.query(&query_on(lease, sql)).expect("a call");
    while query.next().unwrap_or_else(|error| panic!("{sql}: {error}")).is_some() {}
}

/// Drops all prepared statements where nobody can see it from outside.
const HIDDEN: &str = "create function drop_all() returns void language plpgsql as \
                      $$ begin execute 'deallocate all'; end $$; \
                      create function run_nothing() returns void language plpgsql as \
                      $$ begin execute 'execute nothing'; end $$";

#[test]
fn what_the_session_itself_takes_away_is_there_again_when_it_is_needed() {
    let service = Service::start();
    for take_away in [
        "discard all",
        "deallocate all",
        "DEALLOCATE PREPARE ALL",
        "do $$ begin execute 'deallocate all'; end $$",
        "select drop_all()",
    ] {
        let tenant = tenant_with_types();
        tenant.sql(HIDDEN);
        let first = service.lease(&tenant);
        first.run(&[MOOD, "select null::anger"]);
        first.release();
        let lease = service.lease(&tenant);
        lease.run(&[MOOD]);
        lease.run(&[take_away]);
        // What is known, what was prepared, and what is neither.
        lease.run(&[MOOD, "select 'glad'::mood", "select null::span"]);
        query_runs(&lease, "select null::pair");
        lease.run(&["begin", MOOD, "commit"]);
        assert_same_backend(&lease);
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!((next.pid, lease.pid), (first.pid, first.pid), "{take_away}");
        next.run(&[MOOD, "select null::anger"]);
    }
}

#[test]
fn a_lost_prepared_statement_is_prepared_again_or_fails() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    tenant.sql(HIDDEN);
    let lease = service.lease(&tenant);
    let insert = "insert into trace values (1)";
    lease.run(&[insert, "select drop_all()", insert]);
    assert_eq!(tenant.sql("select count(*) from trace"), "2");
    // In a transaction the error has failed that.
    lease.run(&["begin", insert, "select drop_all()"]);
    assert_eq!(state_of(&lease), OPEN);
    let error = lease.fails(&[insert]);
    assert_lookup(&error, "26000", FAILED_PRECONDITION);
    assert!(error.message.contains("DEALLOCATE ALL"), "{error}");
    assert_eq!(state_after(&error), FAILED);
    lease.run(&["rollback", insert]);
    assert_eq!(tenant.sql("select count(*) from trace"), "3");
    // A name that the user's own statement lacks is that statement's error.
    for begin in ["select 1", "begin"] {
        lease.run(&[begin]);
        assert_sqlstate(&lease.fails(&["select run_nothing()"]), "26000", UNKNOWN);
    }
    lease.release();
    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid);
    next.run(&[insert, MOOD]);
}

/// Hides PostgreSQL's own equality of oids behind one that says always the same.
fn shadow(tenant: &Tenant, says: &str) {
    tenant.sql(&format!(
        "create schema shadow; grant usage on schema shadow to public; \
         create function shadow.same(oid, oid) returns bool language sql as 'select {says}'; \
         create operator shadow.= (leftarg = oid, rightarg = oid, function = shadow.same)"
    ));
}

#[test]
fn a_search_path_does_not_mislead_a_look_up() {
    let service = Service::start();
    for says in ["false", "true"] {
        let tenant = tenant_with_types();
        shadow(&tenant, says);
        let lease = service.lease(&tenant);
        lease.run(&["set search_path = shadow, pg_catalog, public"]);
        // What is not qualified is misled.
        let equal = "select 1::oid = 2::oid";
        assert_eq!(lease.value(equal), says);
        let answer = lease.run(&["select 'sad'::mood as mood, array['glad'::mood]"]);
        assert_eq!(answer.results[0].columns[0].type_name, "mood");
        assert_eq!(text_at(&answer, 0, 0, 0), "sad");
        assert_same_backend(&lease);
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!(next.pid, lease.pid, "the backend was closed without need");
        assert_eq!(next.value(equal), "false");
        assert_eq!(next.value("select 'wild'::anger"), "wild");
    }
}

/// Keeps everybody from pg_type, but for what their backends have looked at before.
struct Locked(Held);

impl Locked {
    fn types_of(service: &Service, tenant: &Tenant) -> Locked {
        let name = format!("super-{}", tenant.name);
        let dsn = postgres().superuser_dsn(&tenant.name);
        let superuser = Tenant { name, password: String::new(), dsn };
        let lease = service.lease(&superuser);
        lease.run(&["begin", "lock table pg_catalog.pg_type in access exclusive mode"]);
        Locked(lease)
    }
}

#[test]
fn a_table_that_changes_between_a_look_up_and_its_statement_is_seen() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let lease = service.lease(&tenant);
    // The backend knows these types, and the service does not.
    lease.run(&["select 'sad'::mood::text, 'mild'::anger::text"]);
    let (lone, two) =
        (["select * from moods"], ["insert into trace values (1)", "select * from angers"]);
    for (table, of, statements) in [("moods", "mood", &lone[..]), ("angers", "anger", &two)] {
        tenant.sql(&format!("create table {table} (a {of}); grant all on {table} to public"));
        let locked = Locked::types_of(&service, &tenant);
        let atomic = statements.len() > 1;
        let call = ExecuteRequest { atomic, ..on_lease(&lease, statements) };
        let call = execute_later(&lease.client, &call);
        eventually("a look-up waits", || tenant.running("typbasetype") == 1);
        locked.0.run(&[&format!("alter table {table} add column more int"), "commit"]);
        let answer = answer(call).expect("it runs");
        assert_eq!(answer.results.last().unwrap().columns.len(), 2, "{table}");
    }
    assert_eq!(tenant.sql("select count(*) from trace"), "1");
    assert_same_backend(&lease);
}

/// What can end a wait for the lock, and what is said then.
#[test]
fn a_look_up_that_is_cut_short_fails_with_what_cut_it() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let lease = service.lease(&tenant);
    // From now on the backend knows these types without a look at pg_type, and the
    // service knows nothing of them.
    lease.run(&["select 'sad'::mood::text, 'mild'::anger::text", "select 1"]);
    assert_same_backend(&lease);
    let locked = Locked::types_of(&service, &tenant);
    let blocked = || eventually("a look-up waits", || tenant.running("typbasetype") == 1);
    let over = || eventually("no look-up waits", || tenant.running("typbasetype") == 0);

    // The statement's own time.
    let mut request = on_lease(&lease, &[MOOD]);
    request.timeout = millis(200);
    let error = refused(lease.client.execute(&request));
    assert_error(&error, DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_STARTED, 0, 0), NONE));

    // The session's own limits.
    for (limit, sqlstate) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
        lease.run(&[&format!("set {limit} = '50ms'")]);
        assert_lookup(&lease.fails(&[MOOD]), sqlstate, ABORTED);
        lease.run(&[&format!("reset {limit}")]);
    }

    // The caller, and somebody at PostgreSQL.
    let call = lease.run_later(MOOD);
    blocked();
    drop(call);
    over();
    eventually("the lease is free again", || lease.client.run(&lease.id, &["select 1"]).is_ok());
    let call = lease.run_later(MOOD);
    blocked();
    // From another database: a new connection to this one may need what is locked.
    let cancel = format!("select pg_cancel_backend({})", lease.pid);
    postgres().sql("postgres", &cancel).unwrap();
    assert_lookup(&refused(answer(call)), "57014", ABORTED);
    assert_same_backend(&lease);

    // Nothing at all: it was only late.
    let call = lease.run_later(MOOD);
    blocked();
    locked.0.run(&["rollback"]);
    answer(call).expect("the look-up goes on");

    // The end of the lease, and that of the backend.
    lease.release();
    let lease = service.lease(&tenant);
    let locked = Locked::types_of(&service, &tenant);
    let call = lease.run_later("select null::anger");
    blocked();
    lease.client.release_with(&lease.id, true).unwrap();
    let error = refused(answer(call));
    assert_error(&error, ABORTED, "CANCELLED");
    assert_eq!(work(&error).0, Outcome::NOT_STARTED);
    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid);
    let call = execute_later(&next.client, &on_lease(&next, &["select null::anger"]));
    blocked();
    let terminate = format!("select pg_terminate_backend({})", next.pid);
    postgres().sql("postgres", &terminate).unwrap();
    let error = refused(answer(call));
    assert_error(&error, UNAVAILABLE, "BACKEND_LOST");
    assert_eq!(work(&error), (Outcome::NOT_STARTED, 0, 0));
    drop(locked);
}
