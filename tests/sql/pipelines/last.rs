//! The last statement of a session's use, which PostgreSQL gets together with the reset: it
//! is a transaction of its own all the same, and what it leaves is taken back.

use connection_pool_manager::client::service::{statement, text_at, Client};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::{ExecuteRequest, QueryRequest};

use crate::harness::sql::{assert_sqlstate, on_lease, one_shot, tenant_of_one, work};
use crate::harness::{code, refused, Service, Tenant};

/// A service, its client, and a tenant whose only backend has the steps of a reset prepared.
fn scene(sql: &str) -> (Service, Client, Tenant) {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql(sql);
    let client = service.client();
    run(&client, &tenant, "select 1");
    (service, client, tenant)
}

/// The first value of a one-shot.
fn run(client: &Client, tenant: &Tenant, sql: &str) -> String {
    let answer = client.execute(&one_shot(tenant, &[sql])).unwrap();
    text_at(&answer, 0, 0, 0)
}

const PID: &str = "select pg_backend_pid()::text";

#[test]
fn deferred_triggers_run_before_the_settings_go_back() {
    let (_service, client, tenant) = scene(
        "create table thing (n int); create table log (who text);
         create function marks(who text) returns int language plpgsql as
             $$ begin perform set_config('shop.who', who, false); return 1; end $$;
         create function logs() returns trigger language plpgsql as
             $$ begin insert into log values (current_setting('shop.who', true)); return null; end $$;
         create constraint trigger later after insert on thing deferrable initially deferred
             for each row execute function logs();
         grant all on thing, log to public",
    );
    let pid = run(&client, &tenant, PID);
    for who in ["ada", "bob", "eve"] {
        let insert = format!("insert into thing select marks('{who}') returning n::text");
        assert_eq!(run(&client, &tenant, &insert), "1");
        let left = run(&client, &tenant, "select coalesce(current_setting('shop.who', true), '')");
        assert_eq!(left, "", "the setting of {who} stays");
    }
    let log = "select string_agg(who, ' ' order by who) from log";
    assert_eq!(run(&client, &tenant, log), "ada bob eve");
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn what_a_function_listens_to_prepares_and_opens_is_taken_back() {
    let (_service, client, tenant) = scene(
        "create function leaves(what text) returns int language plpgsql as
             $$ begin execute what; return 1; end $$",
    );
    let pid = run(&client, &tenant, PID);
    let cases = [
        ("listen news", "select count(*)::text from pg_listening_channels()"),
        (
            "prepare mine as select 1",
            "select count(*)::text from pg_prepared_statements where from_sql",
        ),
        (
            "declare mine cursor with hold for select 1",
            "select count(*)::text from pg_cursors where is_holdable",
        ),
        (
            "create temp table mine (n int)",
            "select count(*)::text from pg_class where relname = 'mine'",
        ),
        (
            "set timezone = 'Etc/GMT+4'",
            "select (current_setting('timezone') = 'Etc/GMT+4')::int::text",
        ),
    ];
    for (what, look) in cases {
        let leaves = format!("select leaves($${what}$$)::text");
        for _ in 0..3 {
            assert_eq!(run(&client, &tenant, &leaves), "1", "{what}");
            assert_eq!(run(&client, &tenant, look), "0", "{what}");
        }
    }
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn a_plan_of_a_function_does_not_keep_the_time_zone_that_a_function_has_set() {
    let (_service, client, tenant) = scene(
        "create function noon() returns float8 language plpgsql as
             $$ begin return extract(hour from timestamptz '2024-07-01 12:00' at time zone 'UTC'); end $$;
         create function elsewhere() returns float8 language plpgsql as
             $$ begin perform set_config('timezone', 'Etc/GMT+4', false); return noon(); end $$",
    );
    let pid = run(&client, &tenant, PID);
    assert_eq!(run(&client, &tenant, "select elsewhere()::text"), "16");
    assert_eq!(run(&client, &tenant, "select noon()::text"), "12");
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn a_commit_that_fails_is_an_error_of_the_statement_and_leaves_nothing() {
    let (_service, client, tenant) = scene(
        "create table thing (n int unique deferrable initially deferred);
         insert into thing values (1); grant all on thing to public",
    );
    let pid = run(&client, &tenant, PID);
    for _ in 0..3 {
        let insert = one_shot(&tenant, &["insert into thing values (1) returning n"]);
        let error = refused(client.execute(&insert));
        assert_sqlstate(&error, "23505", code::ALREADY_EXISTS);
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0));
        assert_eq!(run(&client, &tenant, "select count(*)::text from thing"), "1");
    }
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn a_statement_that_fails_leaves_the_rest_of_the_reset_to_be_done() {
    let (service, client, tenant) = scene(
        "create table thing (n int check (n > 0)); grant all on thing to public;
         create function noon() returns float8 language plpgsql as
             $$ begin return extract(hour from timestamptz '2024-07-01 12:00' at time zone 'UTC'); end $$",
    );
    let pid = run(&client, &tenant, PID);
    let fails = "insert into thing values (0)";
    for _ in 0..3 {
        let lease = service.lease(&tenant);
        assert_eq!(lease.pid.to_string(), pid);
        // The plan holds 16 o'clock, and the lease ends with a failure.
        lease.run(&["set timezone = 'Etc/GMT+4'", "select pg_advisory_lock(42)", "select noon()"]);
        let request = ExecuteRequest { release_after: true, ..on_lease(&lease, &[fails]) };
        assert_sqlstate(&refused(lease.client.execute(&request)), "23514", code::INVALID_ARGUMENT);
        assert_eq!(run(&client, &tenant, "select noon()::text"), "12");
        let locks = "select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
        assert_eq!(run(&client, &tenant, locks), "0");
        assert_sqlstate(
            &refused(client.execute(&one_shot(&tenant, &[fails]))),
            "23514",
            code::INVALID_ARGUMENT,
        );
    }
    assert_eq!(run(&client, &tenant, PID), pid);
}

/// Like an extension's function that is not to run between BEGIN and COMMIT.
const REFUSES: &str = "create sequence runs; grant all on runs to public;
     create function refuses() returns int language plpgsql as $$ begin
         raise notice 'it runs';
         if nextval('runs') % 2 = 1 then
             raise exception 'not in a transaction' using errcode = '25001';
         end if;
         return 1; end $$";

#[test]
fn a_statement_that_refuses_a_transaction_runs_alone() {
    let (_service, client, tenant) = scene(REFUSES);
    // One that is prepared, and one that is too long to be kept.
    let long = format!("select refuses()::text /* {} */", "x".repeat(20_000));
    let sqls = ["select refuses()::text", "select refuses()::text", &long, &long];
    for (sql, runs) in sqls.into_iter().zip([2, 4, 6, 8]) {
        let answer = client.execute(&one_shot(&tenant, &[sql])).unwrap();
        assert_eq!(text_at(&answer, 0, 0, 0), "1");
        let notices: Vec<&str> = answer.session.notices.iter().map(|n| &*n.message).collect();
        assert_eq!(notices, ["it runs"], "those of the run that was undone are dropped");
        assert_eq!(tenant.sql("select last_value from runs"), runs.to_string());
    }
}

#[test]
fn a_stream_whose_rows_have_been_read_does_not_begin_anew() {
    let (_service, client, tenant) = scene(REFUSES);
    // More rows than are sent in one piece.
    let sql =
        "select case when n = 20000 then refuses() else n end from generate_series(1, 20000) n";
    let request = QueryRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statement: Some(statement(sql)).into(),
        ..QueryRequest::default()
    };
    let mut query = client.query(&request).unwrap();
    let mut headers = 0;
    let error = loop {
        match query.next() {
            Ok(Some(response)) => headers += usize::from(response.has_header()),
            Ok(None) => panic!("it has succeeded"),
            Err(error) => break error,
        }
    };
    assert_sqlstate(&error, "25001", code::FAILED_PRECONDITION);
    assert_eq!(headers, 1);
    assert_eq!(tenant.sql("select last_value from runs"), "1");
}

#[test]
fn a_statement_runs_although_a_function_has_deallocated_begin() {
    let (service, client, tenant) = scene(
        "create function deallocates(what text) returns int language plpgsql as
             $$ begin execute 'deallocate ' || what; return 1; end $$",
    );
    let pid = run(&client, &tenant, PID);
    // It goes unnoticed by the reset, and the next statement is not prepared yet.
    run(&client, &tenant, "select deallocates('\"connpool.begin\"')::text");
    assert_eq!(run(&client, &tenant, "select 'new'"), "new");
    run(&client, &tenant, "select deallocates('\"connpool.begin\"')::text");
    assert_eq!(run(&client, &tenant, "select 'new'"), "new", "it is prepared");
    let long = format!("select 'long' /* {} */", "x".repeat(20_000));
    for last in ["select 'last'", &long] {
        let lease = service.lease(&tenant);
        lease.run(&["select deallocates('all')"]);
        let request = ExecuteRequest { release_after: true, ..on_lease(&lease, &[last]) };
        let answer = lease.client.execute(&request).unwrap();
        assert_eq!(text_at(&answer, 0, 0, 0), &last[8..12]);
    }
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn statements_of_the_service_are_closed_although_a_function_has_deallocated_one() {
    let (_service, client, tenant) = scene(
        "create function deallocates() returns int language plpgsql as $$ begin
             execute (select format('deallocate %I', name) from pg_prepared_statements
                 where statement like 'select ''victim%');
             return 1; end $$",
    );
    let pid = run(&client, &tenant, PID);
    let count = "select count(*)::text from pg_prepared_statements where statement like '%kept%'";
    for round in 0..3 {
        for n in 0..5 {
            run(&client, &tenant, &format!("select 'kept {round} {n}'"));
        }
        run(&client, &tenant, "select 'victim'");
        run(&client, &tenant, "select deallocates()::text");
        run(&client, &tenant, "select 'victim'");
    }
    let left = run(&client, &tenant, count);
    assert!(left == "0" || left == "1", "{left} are left");
    assert_eq!(run(&client, &tenant, PID), pid);
}

#[test]
fn a_statement_that_deallocates_everything_has_run_once() {
    let (_service, client, tenant) = scene(
        "create table thing (n int); grant all on thing to public;
         create function forgets() returns int language plpgsql as
             $$ begin execute 'deallocate all'; return 1; end $$",
    );
    for rows in 1..4 {
        let insert = "insert into thing select forgets() returning n::text";
        assert_eq!(run(&client, &tenant, insert), "1");
        assert_eq!(run(&client, &tenant, "select count(*)::text from thing"), rows.to_string());
    }
}
