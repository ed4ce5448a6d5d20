//! SQL over leases and one-shots: results, limits, failures.

use crate::harness::sql::{
    assert_error, on_lease, one_shot, state, state_after, state_of, tenant_of_one, work, FAILED,
    NONE, OPEN,
};
use crate::harness::{code, refused, tenant, Service};
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

#[test]
fn one_call_answers_with_the_results_of_all_its_statements() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let answer = lease.run(&[
        "create table thing (n int, s text)",
        "insert into thing values (1, 'a'), (2, 'b')",
        "update thing set s = 'c' where n = 1",
        "select n, s, n * 2 as twice from thing order by n",
        "",
        "delete from thing returning n",
        "drop table thing",
    ]);
    let said: Vec<(&str, i64, usize)> = answer
        .results
        .iter()
        .map(|r| (r.command_tag.as_str(), r.rows_affected, r.rows.len()))
        .collect();
    assert_eq!(
        said,
        [
            ("CREATE TABLE", 0, 0),
            ("INSERT 0 2", 2, 0),
            ("UPDATE 1", 1, 0),
            ("SELECT 2", 2, 2),
            ("", 0, 0),
            ("DELETE 2", 2, 2),
            ("DROP TABLE", 0, 0),
        ]
    );
    let columns = &answer.results[3].columns;
    let named: Vec<_> = columns.iter().map(|c| (&*c.name, c.type_oid, &*c.type_name)).collect();
    assert_eq!(named, [("n", 23, "int4"), ("s", 25, "text"), ("twice", 23, "int4")]);
    assert!(columns[0].table_oid > 0 && columns[2].table_oid == 0);
    assert_eq!((text_at(&answer, 3, 0, 1), text_at(&answer, 3, 1, 2)), ("c".into(), "4".into()));
}

#[test]
fn copy_behind_a_carriage_return_is_refused_too() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let error = lease.fails(&["-- a\rcopy (select 1) to stdout"]);
    assert_error(&error, code::UNIMPLEMENTED, "UNSUPPORTED");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_one_shot_needs_no_lease() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let request =
        one_shot(&tenant, &["create table thing as select 7 as n", "select n from thing"]);
    let answer = client.execute(&request).unwrap();
    assert_eq!((text_at(&answer, 1, 0, 0), state(&answer)), ("7".into(), NONE));
    let pid = client.execute(&one_shot(&tenant, &["select pg_backend_pid()"])).unwrap();
    assert!(tenant.backend_pids().contains(&text_at(&pid, 0, 0, 0).parse().unwrap()));
    assert_eq!(service.wait_quiet(&tenant.name).leases, 0);
}

#[test]
fn the_session_of_a_one_shot_does_not_leak_into_the_next() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let client = service.client();
    let looks = [
        "select pg_backend_pid()",
        "show timezone",
        "select count(*) from pg_locks where locktype = 'advisory' \
         and database = (select oid from pg_database where datname = current_database())",
        "select count(*) from pg_listening_channels()",
        "select count(*) from pg_prepared_statements where from_sql",
        "select to_regclass('pg_temp.mine') is null",
        "select count(*) from pg_cursors where is_holdable",
        "select current_setting('my.secret', true)",
    ];
    let before = client.execute(&one_shot(&tenant, &looks)).unwrap();
    let leaves = [
        "set timezone to 'Asia/Tokyo'",
        "select pg_advisory_lock(1)",
        "listen gossip",
        "prepare mine as select 1",
        "create temp table mine (n int)",
        "declare held cursor with hold for select 1",
        "set my.secret to 'hunter2'",
    ];
    client.execute(&one_shot(&tenant, &leaves)).unwrap();
    let after = client.execute(&one_shot(&tenant, &looks)).unwrap();
    for (i, look) in looks.iter().enumerate() {
        let (before, after) = (text_at(&before, i, 0, 0), text_at(&after, i, 0, 0));
        // Whether an unknown setting reads as NULL or as empty says nothing.
        let plain = |text: String| if text == "NULL" { String::new() } else { text };
        assert_eq!(plain(after), plain(before), "{look}");
    }
}

#[test]
fn release_after_ends_the_lease_also_when_a_statement_fails() {
    let (service, tenant) = (Service::start(), tenant());
    for (sql, works) in [("select 1", true), ("select 1/0", false)] {
        let lease = service.lease(&tenant);
        let request = ExecuteRequest { release_after: true, ..on_lease(&lease, &[sql]) };
        match lease.client.execute(&request) {
            Ok(answer) => assert!(works && answer.session.lease_ended),
            Err(error) => {
                assert!(!works);
                assert_error(&error, code::INVALID_ARGUMENT, "SQL_ERROR");
            }
        }
        assert_error(&lease.fails(&["select 1"]), code::FAILED_PRECONDITION, "LEASE_ENDED");
    }
    service.wait_quiet(&tenant.name);
    let ended =
        format!("connpool_leases_ended_total{{reason=\"released\",tenant=\"{}\"}}", tenant.name);
    assert_eq!(service.metric(&ended), Some(2.0));
}

#[test]
fn notices_come_with_the_answer_that_caused_them() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let answer =
        lease.run(&["do $$ begin raise notice 'hello %', 1; raise warning 'careful'; end $$"]);
    let notices = &answer.session.notices;
    let said: Vec<_> = notices.iter().map(|n| (&*n.severity, &*n.sqlstate, &*n.message)).collect();
    assert_eq!(said, [("NOTICE", "00000", "hello 1"), ("WARNING", "01000", "careful")]);
    assert!(lease.run(&["select 1"]).session.notices.is_empty());
    let many =
        lease.run(&["do $$ begin for i in 1..150 loop raise notice '%', i; end loop; end $$"]);
    assert_eq!(many.session.notices.len(), 100);
}

/// 4 MB, more than one answer may have.
const LARGE: &str = "select repeat('x', 100000) from generate_series(1, 42)";

#[test]
fn a_result_too_large_is_refused_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let error = lease.fails(&["create table thing (n int)", LARGE]);
    assert_error(&error, code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
    // It ran: had it been an INSERT … RETURNING, it would have to be repeated by nobody.
    assert_eq!(work(&error), (Outcome::APPLIED, 2, 1));
    assert!(error.info.unwrap().metadata["limit"].parse::<u64>().unwrap() < 4 << 20);
    // Read to its end, the statement costs no transaction.
    lease.run(&["begin", "insert into thing values (1)"]);
    assert_error(&lease.fails(&[LARGE]), code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
    assert_eq!(state_of(&lease), OPEN);
    assert_eq!(lease.value("select n from thing"), "1");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    // Two that fit one by one do not fit together.
    let half = "select repeat('x', 100000) from generate_series(1, 20)";
    assert_error(&lease.fails(&[half, half]), code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
    assert_eq!(lease.run(&[half]).results[0].rows.len(), 20);
}

#[test]
fn an_endless_result_is_cancelled_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let endless = "select generate_series(1, 1000000000), repeat('x', 1000)";
    let error = lease.fails(&[endless]);
    assert_error(&error, code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
    assert!(error.message.contains("cancelled"), "{}", error.message);
    assert_eq!(state_of(&lease), NONE);
    lease.run(&["begin"]);
    lease.fails(&[endless]);
    assert_eq!(state_of(&lease), FAILED);
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    let cancels = "connpool_cancel_requests_total{cause=\"result_too_large\",result=\"sent\"}";
    assert_eq!(service.metric(cancels), Some(2.0));
}

#[test]
fn max_rows_cuts_a_result_and_says_so() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let ask = |max_rows| {
        let request = on_lease(&lease, &["select generate_series(1, 10)", "select 1"]);
        let answer = lease.client.execute(&ExecuteRequest { max_rows, ..request }).unwrap();
        answer.results.iter().map(|r| (r.rows.len(), r.truncated)).collect::<Vec<_>>()
    };
    assert_eq!(ask(3), [(3, true), (1, false)]);
    assert_eq!(ask(10), [(10, false), (1, false)]);
    assert_eq!(ask(0), [(10, false), (1, false)]);
}

#[test]
fn a_query_is_left_after_max_rows_and_what_writes_runs_to_its_end() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)", "begin"]);
    let ask = |sql: &str| {
        let request = ExecuteRequest { max_rows: 3, ..on_lease(&lease, &[sql]) };
        let mut answer = lease.client.execute(&request).unwrap();
        assert_eq!(state(&answer), OPEN, "{sql}");
        let result = answer.results.remove(0);
        (result.rows.len(), result.truncated, result.rows_affected, result.command_tag)
    };
    let cut = |affected, tag: &str| (3, true, affected, tag.to_owned());
    // Without an end. Twice: the second time it is prepared already.
    let endless = "with recursive a as (select 1 as n union all select n + 1 from a) table a";
    for _ in 0..2 {
        assert_eq!(ask(endless), cut(3, "SELECT 3"));
    }
    assert_eq!(ask("values (1), (2), (3)"), (3, false, 3, "SELECT 3".to_owned()));
    let write = "insert into thing select generate_series(1, 10) returning n";
    assert_eq!(ask(write), cut(10, "INSERT 0 10"));
    let both = format!("with written as ({write}) select * from written");
    assert_eq!(ask(&both), cut(10, "SELECT 10"));
    assert_eq!(lease.value("select count(*) from thing"), "20");
    // The limit was for those statements only.
    assert_eq!(lease.run(&["select generate_series(1, 5)"]).results[0].rows.len(), 5);
}

#[test]
fn the_columns_of_results_without_rows_count_as_well() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let columns: Vec<_> = (0..200).map(|n| format!("column_number_{n} int")).collect();
    lease.run(&[&format!("create table wide ({})", columns.join(", "))]);
    assert_eq!(lease.run(&["table wide"; 10]).results.len(), 10);
    let error = lease.fails(&["table wide"; 1000]);
    assert_error(&error, code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
    assert_eq!(state_of(&lease), NONE);
}

#[test]
fn release_after_with_an_open_transaction_is_no_success() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)", "begin"]);
    let insert = on_lease(&lease, &["insert into thing values (1)"]);
    let error = refused(lease.client.execute(&ExecuteRequest { release_after: true, ..insert }));
    assert_error(&error, code::FAILED_PRECONDITION, "TRANSACTION_LEFT_OPEN");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 1, -1));
    assert_eq!(state_after(&error), TransactionState::TRANSACTION_STATE_UNSPECIFIED);
    assert_error(&lease.fails(&["select 1"]), code::FAILED_PRECONDITION, "LEASE_ENDED");
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
    let other = service.lease(&tenant);
    let failed = on_lease(&other, &["begin", "select 1/0"]);
    let error = refused(other.client.execute(&ExecuteRequest { release_after: true, ..failed }));
    assert_eq!(state_after(&error), TransactionState::TRANSACTION_STATE_UNSPECIFIED);
}

#[test]
fn an_error_has_every_field_of_postgresqls_error() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (number int not null, constraint once unique (number))"]);
    lease.run(&["insert into thing values (1)"]);
    let twice = lease.fails(&["insert into thing values (1)"]).postgres.unwrap();
    assert_eq!((&*twice.schema, &*twice.table, &*twice.constraint), ("public", "thing", "once"));
    assert_eq!((&*twice.severity, &*twice.detail), ("ERROR", "Key (number)=(1) already exists."));
    let null = lease.fails(&["insert into thing values (null)"]).postgres.unwrap();
    assert_eq!((&*null.table, &*null.column), ("thing", "number"));
    let typo = lease.fails(&["select numbe from thing"]).postgres.unwrap();
    assert_eq!(typo.position, 8);
    assert!(typo.hint.contains("thing.number"), "{}", typo.hint);
    let raised = lease
        .fails(&["do $$ begin raise exception 'said' using detail = 'd', hint = 'h', \
        column = 'c', constraint = 'k', datatype = 'y', table = 't', schema = 's'; end $$"]);
    let said = raised.postgres.unwrap();
    let fields = [
        &said.message,
        &said.detail,
        &said.hint,
        &said.column,
        &said.constraint,
        &said.datatype,
        &said.table,
        &said.schema,
    ];
    assert_eq!(fields, ["said", "d", "h", "c", "k", "y", "t", "s"]);
    assert!(said.context.contains("inline_code_block"), "{}", said.context);
}

#[test]
fn copy_is_refused_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    for copy in [
        "copy thing from stdin",
        "COPY (select 1) TO STDOUT",
        "/* a */ -- b\n copy thing to stdout",
    ] {
        let error = lease.fails(&["insert into thing values (1)", copy]);
        assert_error(&error, code::UNIMPLEMENTED, "UNSUPPORTED");
        assert_eq!(work(&error), (Outcome::APPLIED, 1, 1));
        assert!(error.message.contains("COPY"), "{}", error.message);
    }
    assert_eq!(lease.value("select count(*) from thing"), "3");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_statement_is_one_command_only() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let error = lease.fails(&["create table thing (n int); select 1"]);
    assert_error(&error, code::INVALID_ARGUMENT, "SQL_ERROR");
    assert!(error.message.contains("multiple commands"), "{}", error.message);
    assert_eq!(lease.value("select to_regclass('thing') is null"), "true");
    assert_eq!(lease.value("select 1;"), "1");
}
