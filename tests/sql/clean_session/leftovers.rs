//! Sessions that cannot leak: whatever one lease leaves behind, the next one on
//! the same backend finds nothing of it.

use std::collections::BTreeSet;

use crate::harness;
use crate::harness::sql::{state_of, NONE};
use crate::harness::{tenant, Held, Service, Tenant};
use connection_pool_manager::client::service::text_at;

/// What a session says of itself, one fact a row.
const LOOKS: &[&str] = &[
    "select 'setting ' || name || ' = ' || setting || ', from ' || source from pg_catalog.pg_settings",
    "select format('user %s, session user %s, role %s', current_user, session_user,
         current_setting('role'))",
    // Whether a setting nobody made reads as NULL or as empty says nothing.
    "select 'customer ' || coalesce(current_setting('shop.customer', true), '')",
    "select 'schema ' || unnest(current_schemas(false))",
    "select format('writes %s | %s | %s | %s | %s', timestamptz '2024-07-01 12:00+00',
         date '2024-07-31', interval '1 day -2 hours', decode('00ff', 'hex'), 1 / 3::float8)",
    "select 'channel ' || pg_listening_channels()",
    "select 'cursor ' || name from pg_catalog.pg_cursors where name <> ''",
    "select 'prepared ' || name from pg_catalog.pg_prepared_statements where from_sql",
    "select format('lock %s %s %s', mode, classid, objid) from pg_catalog.pg_locks
         where locktype = 'advisory' and pid = pg_backend_pid()",
    "select 'temporary relation ' || relname from pg_catalog.pg_class
         where relnamespace = pg_my_temp_schema()",
    "select 'temporary function ' || proname from pg_catalog.pg_proc
         where pronamespace = pg_my_temp_schema()",
    "select 'temporary type ' || typname from pg_catalog.pg_type where typnamespace = pg_my_temp_schema()",
    "select 'table ' || tablename from pg_catalog.pg_tables where schemaname = 'public'",
    "select 'large object ' || oid from pg_catalog.pg_largeobject_metadata",
];

/// All that a session shows of itself.
fn fingerprint(lease: &Held) -> BTreeSet<String> {
    let state = state_of(lease);
    let mut facts = BTreeSet::from([format!("{state:?}")]);
    if state == harness::sql::FAILED {
        return facts;
    }
    let answer = lease.run(LOOKS);
    for (i, result) in answer.results.iter().enumerate() {
        facts.extend((0..result.rows.len()).map(|row| text_at(&answer, i, row, 0)));
    }
    // It fails as it should, which would cost an open transaction.
    if state == NONE {
        match lease.client.run(&lease.id, &["select lastval()"]) {
            Ok(answer) => assert!(facts.insert(format!("lastval {}", text_at(&answer, 0, 0, 0)))),
            Err(error) => assert_eq!(error.postgres.expect("a PostgresError").sqlstate, "55000"),
        }
    }
    facts
}

/// What a lease does, and a fact that shows it.
type Dirt = (&'static [&'static str], &'static str);

/// Leaves each dirt behind, proves it, and looks what the next lease finds of it.
fn clean_up_after(tenant: &Tenant, corpus: &[Dirt]) {
    let service = Service::start();
    let lease = || {
        let lease = service.lease(tenant);
        // The library of a language stays once it is loaded, with its settings.
        lease.run(&["do $$ begin end $$"]);
        lease
    };
    let first = lease();
    let clean = fingerprint(&first);
    assert!(clean.len() > 300, "{clean:#?}");
    first.release();
    let mut tried = corpus.iter();
    let mut next_one = tried.next();
    while let Some((leaves, shows)) = next_one {
        let lease = lease();
        for sql in *leaves {
            // Some are meant to fail; the fact below tells.
            let _ = lease.client.run(&lease.id, &[sql]);
        }
        let dirty = fingerprint(&lease);
        let found: Vec<_> = dirty.symmetric_difference(&clean).collect();
        let proved = dirty.difference(&clean).any(|fact| fact.contains(shows));
        assert!(proved, "{leaves:?} has not left {shows:?} but {found:#?}");
        lease.release();
        let next = service.lease(tenant);
        if next.pid != lease.pid {
            assert!(service.gave_way(lease.pid), "{leaves:?} has cost the backend");
            next.release();
            continue;
        }
        let after = fingerprint(&next);
        let left: Vec<_> = after.symmetric_difference(&clean).collect();
        assert!(left.is_empty(), "{leaves:?} has left {left:#?}");
        next.release();
        next_one = tried.next();
    }
}

const SETTINGS: &[Dirt] = &[
    (&["set work_mem = '77MB'"], "work_mem = 78848"),
    (&["begin", "set work_mem = '78MB'", "commit"], "work_mem = 79872"),
    (&["begin", "set local work_mem = '79MB'"], "work_mem = 80896"),
    (&["begin", "savepoint a", "set work_mem = '80MB'", "release a"], "work_mem = 81920"),
    (&["set shop.customer = 'ada'"], "customer ada"),
    (&["select set_config('shop.customer', 'bob', false)"], "customer bob"),
    (&["do $$ begin perform set_config('shop.customer', 'eve', false); end $$"], "customer eve"),
    (&["select remember('zoe')"], "customer zoe"),
    (&["set timezone = 'America/New_York'"], "2024-07-01 08:00:00-04"),
    (&["set time zone interval '-08:00' hour to minute"], "2024-07-01 04:00:00-08"),
    (&["set datestyle = 'SQL, DMY'"], "31/07/2024"),
    (&["set intervalstyle = 'iso_8601'"], "P1DT-2H"),
    (&["set bytea_output = 'escape'"], r"\000\377"),
    (&["set extra_float_digits = -14"], "| 0.3"),
    (&["set standard_conforming_strings = off"], "standard_conforming_strings = off"),
    (&["set backslash_quote = on"], "backslash_quote = on"),
    (&["set search_path = shop, pg_temp"], "schema shop"),
    (&["create temp table t ()", "set search_path = pg_temp, pg_catalog"], "schema pg_temp"),
    (&["set schema 'shop'"], "schema shop"),
    (&["set default_text_search_config = 'simple'"], "pg_catalog.simple"),
    (&["set lc_monetary = 'POSIX'"], "lc_monetary = POSIX"),
    (&["set statement_timeout = '77s'"], "statement_timeout = 77000"),
    (&["set lock_timeout = '77s'"], "lock_timeout = 77000"),
    (&["set idle_session_timeout = '10min'"], "idle_session_timeout = 600000"),
    (
        &["set idle_in_transaction_session_timeout = '10min'", "begin"],
        "idle_in_transaction_session_timeout = 600000",
    ),
    (&["set temp_buffers = '7MB'"], "temp_buffers = 896"),
    (&["set default_transaction_read_only = on"], "default_transaction_read_only = on"),
    (
        &["set session characteristics as transaction isolation level serializable, read only"],
        "default_transaction_isolation = serializable",
    ),
    (
        &["create temp table mine (n int)", "set session characteristics as transaction read only"],
        "transaction_read_only = on",
    ),
    (&["set default_transaction_deferrable = on"], "default_transaction_deferrable = on"),
    (&["begin", "set transaction isolation level repeatable read"], "= repeatable read"),
    (&["begin", "set transaction read only"], "transaction_read_only = on"),
    (&["begin", "set constraints all deferred"], "OPEN"),
    (&["set row_security = off"], "row_security = off"),
    (&["set check_function_bodies = off"], "check_function_bodies = off"),
    (&["set application_name = 'mine'"], "application_name = mine"),
    (&["set client_min_messages = error"], "client_min_messages = error"),
    (&["set transform_null_equals = on"], "transform_null_equals = on"),
    (&["set array_nulls = off"], "array_nulls = off"),
    (&["set synchronous_commit = local"], "synchronous_commit = local"),
    (&["set plan_cache_mode = force_generic_plan"], "plan_cache_mode = force_generic_plan"),
    (&["set enable_seqscan = off"], "enable_seqscan = off"),
];

#[test]
fn no_setting_outlives_its_lease() {
    let tenant = tenant().pool_of(1);
    tenant.sql(
        "create schema shop; grant usage on schema shop to public;
         create function remember(who text) returns text language sql as
         $$ select set_config('shop.customer', who, false) $$",
    );
    clean_up_after(&tenant, SETTINGS);
}

const OBJECTS: &[Dirt] = &[
    (&["create temp table mine (n int primary key)"], "temporary relation mine_pkey"),
    (&["create temp table mine as select 1 as n", "begin"], "temporary relation mine"),
    (&["begin", "create temp table brief (n int) on commit drop"], "temporary relation brief"),
    (
        &["create temp table old (n int)", "create temp table heir () inherits (old)"],
        "temporary relation heir",
    ),
    (&["create temp view mine as select 1 as n"], "temporary relation mine"),
    (&["create temp table pg_class (n int)"], "temporary relation pg_class"),
    (&["create function pg_temp.f() returns int return 1"], "temporary function f"),
    (&["create type pg_temp.mood as enum ('sad', 'happy')"], "temporary type mood"),
    (
        &["create type pg_temp.pair as (a int, b int)", "select row(1, 2)::pg_temp.pair"],
        "temporary type pair",
    ),
    (&["create domain pg_temp.positive as int check (value > 0)"], "temporary type positive"),
    (&["create temp sequence ticks", "select nextval('ticks')"], "lastval 1"),
    (&["select setval('counter', 41)", "select nextval('counter')"], "lastval 42"),
    (&["insert into orders default values"], "lastval"),
    (&["listen news"], "channel news"),
    (
        &["listen \"Good; \"\"news\"\"\"", "notify \"Good; \"\"news\"\"\", 'x'"],
        "channel Good; \"news\"",
    ),
    (&["begin", "listen news", "commit", "begin"], "channel news"),
    (&["declare mine cursor with hold for select 1"], "cursor mine"),
    (
        &["begin", "declare \"My; \"\"c\"\"\" scroll cursor with hold for select 1", "commit"],
        "cursor My; \"c\"",
    ),
    (&["begin", "declare mine cursor for select 1", "fetch mine"], "cursor mine"),
    (
        &["begin", "do $$ declare c refcursor := 'mine'; begin open c for select 1; end $$"],
        "cursor mine",
    ),
    (&["prepare mine as select 1"], "prepared mine"),
    (&["prepare mine (int) as select $1", "execute mine (1)"], "prepared mine"),
    (&["prepare \"Mine; \"\"drop\"\" it's\" as select 1"], "prepared Mine; \"drop\" it's"),
    (&["prepare \"\\ \n\" as select 1"], "prepared \\ \n"),
    (&["prepare \"größe €\" as select 1"], "prepared größe €"),
    // As the driver names its own.
    (&["prepare s1000000 as select 1"], "prepared s1000000"),
    (&["begin", "prepare mine as select 1", "select 1/0", "rollback"], "prepared mine"),
    (&["do $$ begin execute 'prepare mine as select 1'; end $$"], "prepared mine"),
    (&["select pg_advisory_lock(42)"], "lock ExclusiveLock 0 42"),
    (&["select pg_advisory_lock_shared(4, 2)"], "lock ShareLock 4 2"),
    (&["select pg_advisory_lock(n) from generate_series(1, 100) n"], "lock ExclusiveLock 0 100"),
    (&["begin", "select pg_advisory_xact_lock(42)"], "lock ExclusiveLock 0 42"),
    (
        &["begin", "select pg_advisory_lock(42)", "select 1/0", "rollback"],
        "lock ExclusiveLock 0 42",
    ),
];

#[test]
fn no_object_of_a_session_outlives_its_lease() {
    let tenant = tenant().pool_of(1);
    let name = &tenant.name;
    tenant.sql(&format!(
        "create sequence counter; create table orders (n int generated always as identity);
         alter sequence counter owner to {name}; alter table orders owner to {name};"
    ));
    clean_up_after(&tenant, OBJECTS);
}

const TRANSACTIONS: &[Dirt] = &[
    (&["begin"], "OPEN"),
    (&["begin", "select 1/0"], "FAILED"),
    (&["begin", "savepoint a", "select 1/0"], "FAILED"),
    (&["begin", "savepoint a", "select 1/0", "rollback to a"], "OPEN"),
    (&["begin", "create table orders (n int)"], "table orders"),
    (&["begin isolation level serializable read only deferrable", "select 1"], "OPEN"),
    (&["begin", "commit and chain"], "OPEN"),
    (&["begin", "declare c cursor with hold for select 1/0", "commit", "begin"], "OPEN"),
    (&["begin", "select lo_create(4711)", "select lo_open(4711, 131072)"], "large object 4711"),
    (&["begin", "select pg_export_snapshot()"], "OPEN"),
    (&["begin", "create temp table mine (n int)", "select 1/0"], "FAILED"),
    (&["begin", "set work_mem = '77MB'", "listen news", "selec"], "FAILED"),
    (&["begin", "select pg_notify('news', 'x')"], "OPEN"),
];

#[test]
fn no_transaction_outlives_its_lease() {
    clean_up_after(&tenant().pool_of(1), TRANSACTIONS);
}

const ROLES: &[Dirt] = &[
    (&["set role clerk"], "user clerk, session user t"),
    (&["begin", "set role clerk", "commit"], "role clerk"),
    (&["begin", "set local role clerk"], "role clerk"),
];

#[test]
fn no_role_outlives_its_lease() {
    let tenant = tenant().pool_of(1);
    tenant.sql(&format!("create role clerk; grant clerk to {}", tenant.name));
    clean_up_after(&tenant, ROLES);
}

const POWERS: &[Dirt] = &[
    (&["set session authorization auditor"], "user auditor, session user auditor"),
    (&["set role auditor", "set session authorization auditor"], "session user auditor"),
    (&["set session authorization auditor", "set role archivist"], "role archivist"),
    (&["begin", "set local session authorization auditor"], "session user auditor"),
    (&["set session_replication_role = replica"], "session_replication_role = replica"),
    (&["set log_min_duration_statement = 0"], "log_min_duration_statement = 0"),
    (&["set allow_system_table_mods = on"], "allow_system_table_mods = on"),
];

#[test]
fn not_even_the_powers_of_a_superuser_outlive_their_lease() {
    let tenant = tenant().pool_of(1);
    tenant.sql(&format!(
        "alter role {} superuser; create role archivist; create role auditor in role archivist",
        tenant.name
    ));
    clean_up_after(&tenant, POWERS);
}
