//! COPY that is not to be.

use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::copy_in_request::Kind;
use connection_pool_manager::proto::sql::{CopyInFinish, CopyInStart, CopyOutRequest};

use super::{all, assert_usable, begun, out, put, start, take};
use crate::harness::{code, refused, tenant, Service};

#[test]
fn what_postgresql_refuses_costs_neither_the_lease_nor_its_order() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table foreign_one (n int)");
    let lease = service.lease(&tenant);
    lease.run(&[
        "create table t (n int primary key)",
        "create table child (n int references t deferrable initially deferred)",
        "create view v as select 1 as n",
        "create table guarded (n int)",
        "create function no() returns trigger language plpgsql as \
         $$ begin raise exception 'not today'; end $$",
        "create trigger no before insert on guarded for each statement execute function no()",
        "create table late (n int)",
        "create trigger no after insert on late for each statement execute function no()",
    ]);
    // Before any data is read, after that has begun, in the midst of it, behind
    // its end, and with the commit.
    let cases: &[(&str, &[u8], &str)] = &[
        ("copy nowhere from stdin", b"1\n", "42P01"),
        ("copy t (nothing) from stdin", b"1\n", "42703"),
        ("copy foreign_one from stdin", b"1\n", "42501"),
        ("copy t from stdin (format nonsense)", b"1\n", "22023"),
        ("copy t frm stdin", b"1\n", ""),
        ("copy v from stdin", b"1\n", "42809"),
        ("copy guarded from stdin", b"1\n", "P0001"),
        ("copy t from stdin", b"1\nx\n2\n", "22P02"),
        ("copy t from stdin", b"1\n1\n", "23505"),
        ("copy t from stdin (format csv)", b"1,2,3\n", "22P04"),
        ("copy t from stdin (format binary)", b"no such thing", "22P04"),
        ("copy t from stdin", b"\xff\xfe\n", "22021"),
        ("copy late from stdin", b"1\n", "P0001"),
        ("copy child from stdin", b"77\n", "23503"),
    ];
    for (sql, data, sqlstate) in cases {
        let error = refused(put(&lease, sql, &[data]));
        match &error.postgres {
            Some(words) => assert_eq!(words.sqlstate, *sqlstate, "{sql}: {error}"),
            None => assert_eq!((*sqlstate, error.code), ("", code::INVALID_ARGUMENT), "{error}"),
        }
        if let Some(work) = error.work {
            assert_eq!(work.outcome.unwrap(), Outcome::NOT_APPLIED, "{sql}");
        }
        assert_usable(&lease);
        assert_eq!(put(&lease, "copy t from stdin", &[b"50\n"]).unwrap().rows_affected, 1, "{sql}");
        assert_eq!(lease.value("select count(*) from t"), "1", "{sql}");
        lease.run(&["delete from t"]);
    }
    let told = refused(put(&lease, "copy t from stdin", &[b"1\nx\n"])).postgres.unwrap();
    assert!(told.context.contains("line 2"), "{told:?}");
    let told = refused(put(&lease, "copy child from stdin", &[b"7\n"])).postgres.unwrap();
    assert_eq!((told.constraint.as_str(), told.table.as_str()), ("child_n_fkey", "child"));
}

#[test]
fn a_refused_read_costs_nothing_either() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[
        "create table t (n int primary key)",
        "create table child (n int references t deferrable initially deferred)",
    ]);
    for (sql, sqlstate) in [
        ("copy nowhere to stdout", "42P01"),
        ("copy (select 1 / (n - 500) from generate_series(1, 1000) n) to stdout", "22012"),
        ("copy (insert into child values (1) returning n) to stdout", "23503"),
    ] {
        let taken = take(&lease, &out(&lease, sql));
        assert!(taken.trailer.is_none());
        let error = taken.error.expect("an error");
        assert_eq!(error.postgres.unwrap().sqlstate, sqlstate, "{sql}");
        assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
        assert_usable(&lease);
    }
    let (data, _) = all(&lease, "copy (insert into t values (9) returning n) to stdout");
    assert_eq!(data, b"9\n");
}

#[test]
fn only_a_copy_of_the_right_direction_is_taken() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    for sql in ["", "select 1", "copy t to stdout", "copy t from '/etc/passwd'", "copy\0 t"] {
        let error = refused(put(&lease, sql, &[]));
        assert_eq!(
            (error.code, error.reason.as_str()),
            (code::INVALID_ARGUMENT, "INVALID_ARGUMENT")
        );
        assert_eq!(error.info.unwrap().metadata["field"], "sql", "{sql}");
    }
    for sql in ["", "select 1", "copy t from stdin", "copy t to program 'cat'"] {
        let error = take(&lease, &out(&lease, sql)).error.expect("an error");
        assert_eq!(
            (error.code, error.reason.as_str()),
            (code::INVALID_ARGUMENT, "INVALID_ARGUMENT")
        );
        assert_eq!(error.info.unwrap().metadata["field"], "sql", "{sql}");
    }
    let nowhere =
        CopyInStart { connection_id: String::new(), ..start(&lease, "copy t from stdin") };
    let copy = lease.client.copy_in(nowhere).unwrap();
    assert_eq!(refused(copy.finish()).info.unwrap().metadata["field"], "connection_id");
    let nowhere =
        CopyOutRequest { connection_id: String::new(), ..out(&lease, "copy t to stdout") };
    let error = take(&lease, &nowhere).error.expect("an error");
    assert_eq!(error.info.unwrap().metadata["field"], "connection_id");
    assert_usable(&lease);
}

#[test]
fn the_order_of_messages_is_kept() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    let finish = || Some(Kind::Finish(CopyInFinish::default()));
    let again = || Some(Kind::Start(start(&lease, "copy t from stdin")));
    for (first, rule) in [
        (Some(Kind::Data(b"1\n".to_vec())), "the first message must be start"),
        (finish(), "the first message must be start"),
        (None, "one of start, data and finish"),
    ] {
        let mut copy = lease.client.copy_in_unstarted().unwrap();
        let _ = copy.send(first); // Its refusal may be quicker.
        let error = refused(copy.end());
        assert_eq!(
            (error.code, error.reason.as_str()),
            (code::INVALID_ARGUMENT, "INVALID_ARGUMENT")
        );
        assert!(error.message.contains(rule), "{error}");
    }
    let error = refused(lease.client.copy_in_unstarted().unwrap().end());
    assert!(error.message.contains("without start"), "{error}");
    for (second, rule) in [(again(), "start must be the first"), (None, "one of start")] {
        let mut copy = begun(&lease, "copy t from stdin");
        let _ = copy.data(b"1\n").and_then(|()| copy.send(second));
        let error = refused(copy.end());
        assert_eq!(error.code, code::INVALID_ARGUMENT);
        assert!(error.message.contains(rule), "{error}");
        assert_usable(&lease);
    }
    assert_eq!(lease.value("select count(*) from t"), "0");
}
