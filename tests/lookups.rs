//! What the service asks PostgreSQL's catalogue by itself, about types that are
//! not built in: its failures are told as the service's own, and never cost more
//! than the statement they were for.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod harness;

use connection_pool_manager::client::{statement, text_at, CallError};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::session_executed::Outcome as Executed;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::QueryRequest;
use harness::code::{ABORTED, DEADLINE_EXCEEDED, FAILED_PRECONDITION, UNAVAILABLE, UNKNOWN};
use harness::sql::{
    assert_error, assert_sqlstate, atomic, on_lease, one_shot, state_after, state_of,
    tenant_of_one, work, FAILED, NONE, OPEN,
};
use harness::{
    answer, eventually, execute_later, millis, postgres, refused, request, Held, Service, Tenant,
};

/// Its value needs no look at pg_enum by PostgreSQL itself.
const MOOD: &str = "select null::mood as mood";

/// A tenant with one backend, and with types that no driver knows.
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

#[track_caller]
fn assert_same_backend(lease: &Held) {
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

fn query(lease: &Held, sql: &str) -> CallError {
    let request = QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement(sql)).into(),
        ..QueryRequest::default()
    };
    let mut query = lease.client.query(&request).expect("a call");
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
    let service = Service::start();
    for (table, statements) in [
        ("pg_type", &[MOOD, "select array[1::small]", "select null::pair"][..]),
        ("pg_range", &["select null::span"]),
        ("pg_enum", &[MOOD, "select array[null::mood]"]),
        ("pg_attribute", &["select null::pair"]),
    ] {
        let tenant = tenant_with_types();
        tenant.sql(&format!("revoke select on pg_catalog.{table} from public"));
        let lease = service.lease(&tenant);
        for sql in statements {
            let error = lease.fails(&[sql]);
            assert_lookup(&error, "42501", FAILED_PRECONDITION);
            assert!(error.message.contains(table), "{error}");
            assert_eq!((work(&error).2, state_after(&error)), (0, NONE));
            assert_lookup(&query(&lease, sql), "42501", FAILED_PRECONDITION);
        }
        assert_same_backend(&lease);
        // The way out that the error tells of.
        assert_eq!(lease.value("select 'sad'::mood::text"), "sad");
        // As soon as the catalogue may be read, the same session does.
        tenant.sql(&format!("grant select on pg_catalog.{table} to public"));
        for sql in statements {
            lease.run(&[sql]);
        }
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!(next.pid, lease.pid, "the backend was closed without need");
        next.run(&[MOOD]);
    }
}

#[test]
fn a_failed_look_up_leaves_the_transaction_as_it_says() {
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
fn a_stream_hears_of_a_failed_look_up_and_goes_on() {
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
fn failures_without_end_cost_the_backend_after_its_lease_and_a_few_do_not() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    tenant.sql("revoke select on pg_catalog.pg_type from public");
    let mut pids = Vec::new();
    for failures in [20, 20] {
        let lease = service.lease(&tenant);
        (0..failures)
            .for_each(|_| assert_lookup(&lease.fails(&[MOOD]), "42501", FAILED_PRECONDITION));
        assert_same_backend(&lease);
        pids.push(lease.pid);
        lease.release();
    }
    pids.push(service.lease(&tenant).pid);
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[1], pids[2]);
}

/// Drops all prepared statements where nobody can see it from outside.
const HIDDEN: &str = "create function drop_all() returns void language plpgsql as \
                      $$ begin execute 'deallocate all'; end $$; \
                      create function run_nothing() returns void language plpgsql as \
                      $$ begin execute 'execute nothing'; end $$";

#[test]
fn what_the_session_itself_takes_away_is_told_and_the_lease_goes_on() {
    let service = Service::start();
    for take_away in
        ["discard all", "deallocate all", "do $$ begin execute 'deallocate all'; end $$"]
    {
        let tenant = tenant_with_types();
        let lease = service.lease(&tenant);
        lease.run(&[MOOD]);
        lease.run(&[take_away]);
        // What was learnt before is still known.
        lease.run(&[MOOD, "select 'glad'::mood"]);
        let error = lease.fails(&["select null::anger"]);
        assert_lookup(&error, "26000", FAILED_PRECONDITION);
        assert!(error.message.contains("DISCARD ALL"), "{error}");
        assert_eq!(state_after(&error), NONE);
        assert_lookup(&query(&lease, "select null::anger"), "26000", FAILED_PRECONDITION);
        lease.run(&["select 'wild'::anger::text", MOOD]);
        assert_same_backend(&lease);
        lease.release();
        let next = service.lease(&tenant);
        assert_ne!(next.pid, lease.pid, "{take_away}");
        next.run(&["select null::anger"]);
    }
}

#[test]
fn a_kept_statement_that_was_taken_away_is_prepared_anew_or_told_of() {
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
    assert_eq!(state_after(&error), FAILED);
    lease.run(&["rollback", insert]);
    assert_eq!(tenant.sql("select count(*) from trace"), "3");
    // A name that the user's own statement lacks is that statement's error.
    for begin in ["select 1", "begin"] {
        lease.run(&[begin]);
        assert_sqlstate(&lease.fails(&["select run_nothing()"]), "26000", UNKNOWN);
    }
    lease.release();
    assert_ne!(service.lease(&tenant).pid, lease.pid);
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
fn a_search_path_that_misleads_look_ups_misleads_its_own_lease_at_most() {
    let service = Service::start();
    for says in ["false", "true"] {
        let tenant = tenant_with_types();
        shadow(&tenant, says);
        let lease = service.lease(&tenant);
        lease.run(&["set search_path = shadow, pg_catalog, public"]);
        if says == "false" {
            assert_lookup(&lease.fails(&[MOOD]), "42704", FAILED_PRECONDITION);
            assert_eq!(state_of(&lease), NONE);
        } else {
            // Whatever it makes of it; it has asked for nonsense.
            let _ = lease.client.run(&lease.id, &["select 'sad'::mood"]);
        }
        assert_same_backend(&lease);
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!(next.pid, lease.pid, "the backend was closed without need");
        let answer = next.run(&["select 'sad'::mood as mood"]);
        assert_eq!(answer.results[0].columns[0].type_name, "mood");
        assert_eq!(text_at(&answer, 0, 0, 0), "sad");
    }
}

/// Keeps everybody from pg_enum until it is dropped.
struct Locked(Held);

impl Locked {
    fn enums_of(service: &Service, tenant: &Tenant) -> Locked {
        let name = format!("super-{}", tenant.name);
        let dsn = postgres().superuser_dsn(&tenant.name);
        let superuser = Tenant { name, password: String::new(), dsn };
        let lease = service.lease(&superuser);
        lease.run(&["begin", "lock table pg_catalog.pg_enum in access exclusive mode"]);
        Locked(lease)
    }
}

/// What can end a wait for the lock, and what is said then.
#[test]
fn a_look_up_that_is_cut_short_is_told_by_what_cut_it() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let lease = service.lease(&tenant);
    let locked = Locked::enums_of(&service, &tenant);
    let blocked = || eventually("a look-up waits", || tenant.running("enumlabel") == 1);
    let over = || eventually("no look-up waits", || tenant.running("enumlabel") == 0);

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
    let locked = Locked::enums_of(&service, &tenant);
    lease.release();
    let lease = service.lease(&tenant);
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
