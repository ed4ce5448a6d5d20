//! What a session is after its reset: what it was when it was opened.

use crate::harness::fake::{message, setting, Asked, Fake};
use crate::harness::sql::{assert_sqlstate, on_lease, one_shot, tenant_of_one};
use crate::harness::{code, refused, tenant, Held, Service, Tenant};
use connection_pool_manager::proto::sql::ExecuteRequest;

/// A second lease after one that has run these statements; on the same backend.
#[track_caller]
fn lease_after(service: &Service, tenant: &Tenant, statements: &[&str]) -> Held {
    let lease = service.lease(tenant);
    lease.run(statements);
    lease.release();
    let next = service.lease(tenant);
    assert_eq!(next.pid, lease.pid, "{statements:?} has cost the backend");
    next
}

#[test]
fn the_role_of_the_login_is_restored() {
    let service = Service::start();
    let (by_role, by_dsn) = (tenant().pool_of(1), tenant().pool_of(1));
    for tenant in [&by_role, &by_dsn] {
        tenant.sql(&format!("create role {0}_app; grant {0}_app to {0}", tenant.name));
    }
    by_role.sql(&format!("alter role {0} set role = '{0}_app'", by_role.name));
    let options = format!(" options='-c role={}_app'", by_dsn.name);
    let by_dsn = Tenant { dsn: by_dsn.dsn + &options, ..by_dsn };
    for tenant in [by_role, by_dsn] {
        let app = format!("{}_app", tenant.name);
        let role = |lease: &Held| lease.value("select current_user::text");
        let lease = service.lease(&tenant);
        assert_eq!(role(&lease), app);
        lease.release();
        for change in ["select 1", "set role none"] {
            let next = lease_after(&service, &tenant, &[change]);
            assert_eq!(role(&next), app, "{change}");
            next.release();
        }
    }
}

#[test]
fn settings_go_back_to_those_of_the_role_the_database_and_the_dsn() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let name = &tenant.name;
    tenant.sql(&format!(
        "alter role {name} set work_mem = '11MB';
         alter database {name} set lock_timeout = '22s';
         alter role {name} in database {name} set shop.customer = 'ada'"
    ));
    let dsn = format!("{} options='-c geqo=off -c shop.till=3'", tenant.dsn);
    let tenant = Tenant { dsn, ..tenant };
    let settings = [
        ("work_mem", "11MB"),
        ("lock_timeout", "22s"),
        ("shop.customer", "ada"),
        ("geqo", "off"),
        ("shop.till", "3"),
    ];
    let lease = service.lease(&tenant);
    for (setting, value) in settings {
        assert_eq!(lease.value(&format!("show {setting}")), value, "{setting}");
    }
    lease.release();
    let changes = [
        "reset all",
        "set work_mem = '12MB'",
        "set lock_timeout = '23s'",
        "set shop.customer = 'bob'",
        "set geqo = on",
        "set shop.till = 4",
    ];
    let next = lease_after(&service, &tenant, &changes);
    for (setting, value) in settings {
        assert_eq!(next.value(&format!("show {setting}")), value, "{setting}");
    }
}

#[test]
fn a_search_path_of_the_database_does_not_come_between() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let name = &tenant.name;
    tenant.sql(&format!(
        "create schema shadow; create table shadow.called (what text);
         grant usage on schema shadow to public; grant all on shadow.called to public;
         create function shadow.pg_advisory_unlock_all() returns void language sql as
             $$ insert into shadow.called values ('unlock') $$;
         create function shadow.setseed(float8) returns void language sql as
             $$ insert into shadow.called values ('setseed') $$;
         create function shadow.setseed(numeric) returns void language sql as
             $$ insert into shadow.called values ('setseed') $$;
         create view shadow.pg_prepared_statements as
             select name, false as from_sql from pg_catalog.pg_prepared_statements;
         create function shadow.plus(numeric) returns numeric language sql as
             $$ insert into shadow.called values ('minus'); select $1 $$;
         create operator shadow.- (rightarg = numeric, function = shadow.plus);
         grant all on shadow.pg_prepared_statements to public;
         alter database {name} set search_path = shadow, pg_catalog, public"
    ));
    let called = || tenant.sql("select string_agg(what, ' ') from shadow.called");
    let held = || {
        tenant.sql(
            "select count(*) from pg_locks join pg_database d on d.oid = database
             where locktype = 'advisory' and datname = current_database()",
        )
    };
    let prepared = "select count(*) from pg_catalog.pg_prepared_statements where from_sql";

    // What is not qualified does run into the shadows.
    let lease = service.lease(&tenant);
    lease.run(&["select pg_advisory_unlock_all()", "select setseed(0.5)", "select setseed(1)"]);
    assert_eq!(lease.value("select (-n)::text from (values (0.5)) v (n)"), "0.5");
    assert_eq!(called(), "unlock setseed setseed minus");
    lease.run(&["prepare mine as select 1", "select pg_advisory_lock(42)"]);
    let count = "select count(*) from pg_prepared_statements where from_sql";
    assert_eq!(
        (lease.value(count), lease.value(prepared), held()),
        ("0".into(), "1".into(), "1".into())
    );
    lease.release();

    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid);
    assert_eq!((next.value(prepared), held()), ("0".into(), "0".into()));
    assert_eq!(called(), "unlock setseed setseed minus");
}

#[test]
fn random_numbers_do_not_go_on_where_a_former_lease_made_them_predictable() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let seeds = ["select setseed(0.5)", "set seed = 0.5"];
    for seed in seeds {
        let lease = service.lease(&tenant);
        let first = |lease: &Held| lease.value("select random()");
        lease.run(&[seed]);
        let predicted = first(&lease);
        lease.run(&[seed]);
        assert_eq!(first(&lease), predicted, "{seed} does nothing");
        lease.release();
        let next = lease_after(&service, &tenant, &[seed]);
        assert_ne!(first(&next), predicted, "{seed}");
        next.release();
    }
}

#[test]
fn numbers_of_a_sequence_kept_by_a_session_are_dropped() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create sequence ticks cache 10"]);
    let next = "select nextval('ticks')";
    assert_eq!((lease.value(next), lease.value(next)), ("1".into(), "2".into()));
    lease.release();
    assert_eq!(service.lease(&tenant).value(next), "11");
}

#[test]
fn a_backend_without_its_prepared_statements_serves_its_lease_and_the_next() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let first = service.lease(&tenant);
    first.run(&["select 1"]);
    first.release();
    for sql in ["discard all", "deallocate all", "DEALLOCATE PREPARE ALL"] {
        for before in ["select 1", "set timezone = 'UTC'"] {
            let next = lease_after(&service, &tenant, &[before, "select 1", sql]);
            assert_eq!(next.value("select pg_backend_pid()"), first.pid.to_string(), "{sql}");
            next.release();
            // The steps of the reset are there again, too.
            lease_after(&service, &tenant, &["select 1"]).release();
        }
    }
    lease_after(&service, &tenant, &["discard plans", "discard temp", "discard sequences"]);
}

/// Makes the service look up types that are not built in.
const LOOK_UPS: &[&str] = &["select 'sad'::mood", "select row(1, 2)::pair", "select '{a}'::word[]"];

fn tenant_with_types() -> Tenant {
    let tenant = tenant().pool_of(1);
    tenant.sql(
        "create type mood as enum ('sad'); create type size as enum ('s');
         create type pair as (a int, b int); create type couple as (a int, b int);
         create domain word as text",
    );
    tenant
}

/// Deallocates such statements of the service where nobody can see it.
const FORGET: &str = "create function forget(which text) returns void language plpgsql as $$
     declare n text; begin
         for n in select name from pg_prepared_statements
             where not from_sql and statement like which and statement not like 'select forget%'
         loop execute format('deallocate %I', n); end loop;
     end $$";

/// What a session can hold that a reset takes away.
const DIRT: &[&str] = &["set work_mem = '11MB'", "select pg_advisory_lock(42)"];

#[track_caller]
fn assert_clean(lease: &Held, why: &str) {
    assert_ne!(lease.value("show work_mem"), "11MB", "{why}");
    let count = "select count(*) from pg_catalog.pg_prepared_statements where from_sql";
    assert_eq!(lease.value(count), "0", "{why}");
    let locks = "select count(*) from pg_catalog.pg_locks where locktype = 'advisory' \
                 and pid = pg_catalog.pg_backend_pid()";
    assert_eq!(lease.value(locks), "0", "{why}");
}

#[test]
fn a_deallocate_of_what_the_service_needs_does_no_harm_to_the_next_lease() {
    let service = Service::start();
    for (sql, is_closed) in [
        // A command that can do so makes the reset's statements be prepared anew.
        ("do $$ begin execute 'deallocate all'; end $$", false),
        ("do $$ begin perform forget('%'); end $$", false),
        // A function is not seen to.
        ("select forget('%')", true),
        ("select forget('%pg_advisory_unlock_all%')", true),
        ("select forget('RESET ALL')", true),
        ("select forget('%::mood')", false),
    ] {
        let tenant = tenant_with_types();
        tenant.sql(FORGET);
        // A session that was never reset has no statements for that yet.
        let lease = service.lease(&tenant);
        lease.run(LOOK_UPS);
        lease.run(&[sql]);
        lease.release();
        // What is missed in a lease is prepared anew, with all else.
        let next = lease_after(&service, &tenant, LOOK_UPS);
        assert_eq!(next.pid, lease.pid, "{sql}");
        next.run(LOOK_UPS);
        next.run(DIRT);
        next.run(&[sql]);
        next.release();
        let last = service.lease(&tenant);
        assert_eq!(last.pid != next.pid, is_closed, "{sql}");
        assert_clean(&last, sql);
        last.run(&["select 's'::size", "select row(1, 2)::couple"]);
        last.run(LOOK_UPS);
    }
}

#[test]
fn a_statement_that_a_lease_puts_in_the_place_of_ours_does_not_reach_the_next_lease() {
    let service = Service::start();
    let names = "select string_agg(name, ' ') from pg_prepared_statements where not from_sql \
                 and statement not like 'select string_agg%'";
    let tenant = tenant_with_types();
    let kept = "select 'ours'";
    let lease = service.lease(&tenant);
    lease.release();
    let lease = service.lease(&tenant);
    lease.run(&[kept, kept]);
    let names = lease.value(names);
    lease.release();
    assert!(names.split(' ').count() > 5, "{names}");
    // Each alone, and all at once.
    for name in names.split(' ').chain([&*names]) {
        let tenant = tenant_with_types();
        service.lease(&tenant).release();
        let lease = service.lease(&tenant);
        lease.run(&[kept, kept]);
        lease.run(DIRT);
        for name in name.split(' ') {
            let is_there = format!(
                "select count(*) from pg_catalog.pg_prepared_statements where name = '{name}'"
            );
            if lease.value(&is_there) == "0" {
                continue;
            }
            let sql = format!(
                "select parameter_types::text from pg_prepared_statements where name = '{name}'"
            );
            let takes = if lease.value(&sql) == "{}" { "" } else { "(float8)" };
            // What it gives has the form of what ours gives.
            let gives = match name {
                "connpool.look" => {
                    "'', '', '', '', 'C|on|content|off|safe_encoding|Default|public', 0, false, \
                     false, ''"
                }
                _ => "'theirs'",
            };
            lease.run(&[
                &format!("deallocate \"{name}\""),
                &format!("prepare \"{name}\" {takes} as select {gives}"),
            ]);
        }
        lease.release();
        let next = service.lease(&tenant);
        assert_clean(&next, name);
        assert_eq!(next.value(kept), "ours", "{name}");
        next.release();
        assert_clean(&service.lease(&tenant), name);
    }
}

const FAILURES: &[&str] = &[
    "selec",
    "select $1::int",
    "select 1/0",
    "select 1; select 2",
    "copy (select 1) to stdout",
    "select repeat('x', 100000) from generate_series(1, 42)",
    "select 'happy'::mood",
];

#[test]
fn statements_that_fail_or_are_refused_do_not_cost_the_backend() {
    let (service, tenant) = (Service::start(), tenant_with_types());
    let first = service.lease(&tenant);
    first.release();
    for sql in FAILURES {
        let lease = service.lease(&tenant);
        assert_eq!(lease.pid, first.pid, "{sql}, or what came before it");
        lease.run(LOOK_UPS);
        lease.fails(&[sql]);
        lease.run(&["", "begin"]);
        lease.fails(&[sql]);
        lease.release();
    }
    assert_eq!(service.lease(&tenant).pid, first.pid);
}

#[test]
fn atomic_calls_that_fail_do_not_cost_a_backend_that_was_never_reset() {
    let service = Service::start();
    let twice = ["insert into thing values (1)"; 2];
    for leased in [true, false] {
        let tenant = tenant_of_one();
        tenant.sql("create table thing (n int primary key); grant all on thing to public");
        let call = match leased {
            true => {
                let call = on_lease(&service.lease(&tenant), &twice);
                ExecuteRequest { release_after: true, ..call }
            }
            false => one_shot(&tenant, &twice),
        };
        // Its COMMIT is sent with it.
        let error = refused(service.client().execute(&ExecuteRequest { atomic: true, ..call }));
        assert_sqlstate(&error, "23505", code::ALREADY_EXISTS);
        service.lease(&tenant);
        let opened = format!("connpool_backend_opens_total{{tenant=\"{}\"}}", tenant.name);
        assert_eq!(service.metric(&opened), Some(1.0), "{leased}");
    }
}

#[test]
fn a_session_that_speaks_another_encoding_after_its_reset_is_not_used_again() {
    let fake = Fake::start(|talk, asked| match asked {
        Asked::Prepare(sql) if sql.ends_with(" t") => {
            talk.say(&message(b't', &[0, 0])) && talk.say(&message(b'n', b""))
        }
        Asked::Execute(sql) if sql == "delete from t" => {
            talk.say(&setting("client_encoding", "LATIN1"));
            talk.say(&message(b'C', b"DELETE 1\0"))
        }
        _ => false,
    });
    let (service, tenant) = (Service::start(), fake.tenant("latin", 1));
    for sessions in 1..4 {
        service.client().execute(&one_shot(&tenant, &["delete from t"])).unwrap();
        assert_eq!(fake.sessions(), sessions);
    }
}
