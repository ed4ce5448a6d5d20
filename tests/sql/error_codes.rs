//! What a caller hears of an error of PostgreSQL, by its SQLSTATE.

use crate::harness::code::{
    ALREADY_EXISTS, DATA_LOSS, FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, NOT_FOUND,
    PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNKNOWN,
};
use crate::harness::sql::{assert_sqlstate, state_after, state_of, work, FAILED, NONE};
use crate::harness::{tenant, tenant_on, Held, Service};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::errors::work_outcome::Outcome;

/// What a statement must fail with: SQLSTATE and gRPC's code.
type Row = (&'static str, i32, &'static str);

/// Runs a statement that fails, and checks all that is said of it.
#[track_caller]
fn fails(lease: &Held, (sqlstate, code, sql): Row) -> CallError {
    let error = lease.fails(&[sql]);
    assert_sqlstate(&error, sqlstate, code);
    error
}

/// The same, and that the session goes on without a transaction.
#[track_caller]
fn fails_alone(lease: &Held, row: Row) {
    let error = fails(lease, row);
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{}", row.2);
    assert_eq!((state_after(&error), state_of(lease)), (NONE, NONE), "{}", row.2);
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

/// The same in a transaction that it makes fail.
#[track_caller]
fn fails_inside(lease: &Held, begin: &str, row: Row) {
    lease.run(&[begin]);
    let error = fails(lease, row);
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{}", row.2);
    assert_eq!((state_after(&error), state_of(lease)), (FAILED, FAILED), "{}", row.2);
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

const SETUP: &[&str] = &[
    "create table parent (n int primary key)",
    "create table child (n int not null references parent check (n < 10), s varchar(3))",
    "insert into parent values (1)",
    "create table booking (during int4range, exclude using gist (during with &&))",
    "insert into booking values ('[1,5)')",
    "create view two as select 1 as n union all select 2",
    "create view small as select n from parent where n < 5 with check option",
    "create type mood as enum ('sad')",
    "create sequence ticks",
    "create function complains() returns int language plpgsql as
         $$ begin raise exception 'no'; end $$",
    "create function commits() returns int language plpgsql as $$ begin commit; end $$",
    "create function finds(m int) returns int language plpgsql as
         $$ declare found int; begin select n into strict found from two where n > m;
         return found; end $$",
    "create function alters() returns int language plpgsql as
         $$ declare r record; begin for r in select * from parent loop
         alter table parent add column m int; end loop; return 0; end $$",
    "create function asserts() returns int language plpgsql as $$ begin assert false; end $$",
    "create function forgets() returns int language plpgsql as $$ begin end $$",
    "create function recurses() returns int language plpgsql as
         $$ begin return recurses() + 1; end $$",
    "create function widens() returns int language plpgsql as
         $$ begin execute 'create table wide (' || (select string_agg(format('c%s int', i), ',')
         from generate_series(1, 1601) i) || ')'; return 0; end $$",
    "create function fills_the_disk() returns int language plpgsql as
         $$ begin raise exception 'full' using errcode = 'disk_full'; end $$",
    "create function is_strange() returns int language plpgsql as
         $$ begin raise exception 'strange' using errcode = 'ZZ999'; end $$",
];

/// These fail alone as well as in a transaction.
const ROWS: &[Row] = &[
    ("23505", ALREADY_EXISTS, "insert into parent values (1)"),
    ("42P06", ALREADY_EXISTS, "create schema public"),
    ("42P07", ALREADY_EXISTS, "create table parent (n int)"),
    ("42701", ALREADY_EXISTS, "create table thing (n int, n int)"),
    ("42710", ALREADY_EXISTS, "create type mood as enum ('sad')"),
    ("42723", ALREADY_EXISTS, "create function complains() returns int return 1"),
    ("23503", FAILED_PRECONDITION, "insert into child values (2)"),
    ("23P01", FAILED_PRECONDITION, "insert into booking values ('[4,9)')"),
    ("2D000", FAILED_PRECONDITION, "select commits()"),
    ("55000", FAILED_PRECONDITION, "select currval('ticks')"),
    ("55006", FAILED_PRECONDITION, "select alters()"),
    ("2BP01", FAILED_PRECONDITION, "drop table parent"),
    ("P0001", FAILED_PRECONDITION, "select complains()"),
    ("42P01", NOT_FOUND, "select * from nothing"),
    ("42704", NOT_FOUND, "drop type nothing"),
    ("3F000", NOT_FOUND, "create table nowhere.thing (n int)"),
    ("34000", NOT_FOUND, "fetch from nothing"),
    ("P0002", NOT_FOUND, "select finds(2)"),
    ("42501", PERMISSION_DENIED, "select * from pg_authid"),
    ("21000", INVALID_ARGUMENT, "select (select n from two)"),
    ("22000", INVALID_ARGUMENT, "select '[5,1)'::int4range"),
    ("22001", INVALID_ARGUMENT, "insert into child values (1, 'long')"),
    ("22003", INVALID_ARGUMENT, "select 3000000000::int"),
    ("22007", INVALID_ARGUMENT, "select 'noon'::date"),
    ("22008", INVALID_ARGUMENT, "select '2024-02-30'::date"),
    ("22012", INVALID_ARGUMENT, "select 1 / 0"),
    ("22021", INVALID_ARGUMENT, "select convert_from('\\xff', 'UTF8')"),
    ("22023", INVALID_ARGUMENT, "set work_mem = '1kB'"),
    ("2201B", INVALID_ARGUMENT, "select 'a' ~ '('"),
    ("22P02", INVALID_ARGUMENT, "select 'x'::int"),
    ("23502", INVALID_ARGUMENT, "insert into child values (null)"),
    ("23514", INVALID_ARGUMENT, "insert into child values (11)"),
    ("42601", INVALID_ARGUMENT, "selec 1"),
    ("42703", INVALID_ARGUMENT, "select nothing"),
    ("42803", INVALID_ARGUMENT, "select n, count(*) from two"),
    ("42804", INVALID_ARGUMENT, "insert into parent values (true)"),
    ("42846", INVALID_ARGUMENT, "select 1::date"),
    ("42883", INVALID_ARGUMENT, "select nothing()"),
    ("54000", INVALID_ARGUMENT, "select repeat('x', 2000000000)"),
    ("54001", INVALID_ARGUMENT, "select recurses()"),
    ("54011", INVALID_ARGUMENT, "select widens()"),
    // The disk of a test is not to be filled.
    ("53100", RESOURCE_EXHAUSTED, "select fills_the_disk()"),
    ("0A000", UNIMPLEMENTED, "select * from elsewhere.public.thing"),
    ("2F005", UNKNOWN, "select forgets()"),
    ("44000", UNKNOWN, "insert into small values (7)"),
    ("55P02", UNKNOWN, "set port = 1"),
    ("P0003", UNKNOWN, "select finds(0)"),
    ("P0004", UNKNOWN, "select asserts()"),
    ("ZZ999", UNKNOWN, "select is_strange()"),
];

#[test]
fn an_error_has_the_code_of_its_sqlstate_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(SETUP);
    for row in ROWS {
        fails_alone(&lease, *row);
        fails_inside(&lease, "begin", *row);
    }
    // The backend is fit for another lease, too.
    lease.release();
    service.wait_quiet(&tenant.name);
    assert!(tenant.backend_pids().contains(&lease.pid));
}

#[test]
fn what_is_wrong_only_outside_of_a_transaction_fails_there() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql(&format!("alter role {} createdb", tenant.name));
    let lease = service.lease(&tenant);
    fails_alone(&lease, ("42P04", ALREADY_EXISTS, "create database template1"));
    fails_alone(&lease, ("3D000", UNKNOWN, "drop database nothing"));
    fails_alone(&lease, ("25P01", FAILED_PRECONDITION, "savepoint a"));
    let own: &'static str = format!("drop database {}", tenant.name).leak();
    fails_alone(&lease, ("55006", FAILED_PRECONDITION, own));
    lease.run(&["set default_transaction_read_only = on"]);
    fails_alone(&lease, ("25006", FAILED_PRECONDITION, "create table thing (n int)"));
}

#[test]
fn what_is_wrong_only_inside_of_a_transaction_fails_there() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    fails_inside(&lease, "begin", ("25001", FAILED_PRECONDITION, "vacuum"));
    fails_inside(&lease, "begin", ("3B001", UNKNOWN, "rollback to nothing"));
    let write = ("25006", FAILED_PRECONDITION, "create table thing (n int)");
    fails_inside(&lease, "begin read only", write);
    let block = ("2D000", FAILED_PRECONDITION, "do $$ begin commit; end $$");
    fails_inside(&lease, "begin", block);
    lease.run(&["begin"]);
    lease.fails(&["select 1 / 0"]);
    let error = fails(&lease, ("25P02", FAILED_PRECONDITION, "select 1"));
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 0, 0), FAILED));
}

#[test]
fn a_limit_of_postgresql_has_another_code_than_a_mistake_of_the_caller() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql(&format!("alter role {} set temp_file_limit = '64kB'", tenant.name));
    let lease = service.lease(&tenant);
    lease.run(&["set work_mem = '64kB'"]);
    let sorts = "select max(n) from (select n from generate_series(1, 100000) n order by -n) s";
    fails_alone(&lease, ("53400", RESOURCE_EXHAUSTED, sorts));
    fails_inside(&lease, "begin", ("53400", RESOURCE_EXHAUSTED, sorts));
}

/// These put the backend in doubt.
const DOUBTS: &[Row] = &[
    ("XX000", INTERNAL, "select pg_describe_object(99999, 1, 0)"),
    ("58P01", INTERNAL, "load '$libdir/plugins/nothing'"),
    // A disk that fails cannot be had here.
    ("58030", INTERNAL, "select fails_to_write()"),
];

#[test]
fn a_backend_in_doubt_serves_its_lease_and_no_other() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    tenant.sql(
        "create function fails_to_write() returns int language plpgsql as
         $$ begin raise exception 'input/output' using errcode = 'io_error'; end $$",
    );
    for row in DOUBTS {
        for begin in [None, Some("begin")] {
            let lease = service.lease(&tenant);
            match begin {
                None => fails_alone(&lease, *row),
                Some(begin) => fails_inside(&lease, begin, *row),
            }
            lease.release();
            let next = service.lease(&tenant);
            assert_ne!(next.pid, lease.pid, "{}", row.0);
            next.release();
        }
    }
}

/// Writes over the first page of a file of PostgreSQL.
fn spoil(postgres: &Embedded, path: &str, byte: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(postgres.data_dir().join(path)).unwrap();
    file.write_all_at(&[byte; 8192], 0).unwrap();
}

#[test]
fn corrupted_data_fails_as_such_and_the_backend_is_closed() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let tenant = tenant_on(&postgres).pool_of(1);
    let sql = |sql: &str| postgres.sql(&tenant.name, sql).unwrap().trim().to_owned();
    sql("create table thing as select 1 as n; grant select on thing to public; checkpoint;
         create table other (n int primary key); grant select on other to public;
         insert into other values (1); checkpoint");
    let paths = [
        sql("select pg_relation_filepath('thing')"),
        sql("select pg_relation_filepath('other_pkey')"),
    ];
    postgres.stop(StopMode::Fast).unwrap();
    spoil(&postgres, &paths[0], 0xff);
    spoil(&postgres, &paths[1], 0);
    postgres.start_again().unwrap();

    let service = Service::start();
    for row in [
        ("XX001", DATA_LOSS, "select n from thing"),
        ("XX002", DATA_LOSS, "select n from other where n = 1"),
    ] {
        let lease = service.lease(&tenant);
        lease.run(&["set enable_seqscan = off"]);
        fails_alone(&lease, row);
        fails_inside(&lease, "begin", row);
        lease.release();
        let next = service.lease(&tenant);
        assert_ne!(next.pid, lease.pid, "{}", row.0);
        next.release();
    }
}

#[test]
fn a_lost_connection_of_a_foreign_server_is_no_loss_of_the_backend() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create extension dblink");
    let lease = service.lease(&tenant);
    let far = "select dblink_connect('host=127.0.0.1 port=1 user=u password=p')";
    fails_alone(&lease, ("08001", UNKNOWN, far));
    fails_inside(&lease, "begin", ("08001", UNKNOWN, far));
}

#[test]
fn a_block_that_fails_may_have_committed_before() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)", "insert into thing values (1)"]);
    let block = "do $$ begin delete from thing; commit; perform 1 / 0; end $$";
    let error = fails(&lease, ("22012", INVALID_ARGUMENT, block));
    assert_eq!((work(&error), state_after(&error)), ((Outcome::UNKNOWN, 0, 0), NONE));
    assert_eq!(lease.value("select count(*) from thing"), "0");
}
