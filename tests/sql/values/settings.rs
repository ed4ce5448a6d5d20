//! Settings that change what is written and how it is read: values arrive spelt
//! as documented all the same, and no lease reads with the settings of another.

use crate::harness;
use crate::harness::sql::{text, with};
use crate::harness::{tenant, Held, Service};
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::sql::ExecuteResponse;

/// One statement, with one text for `$1` if it has one.
fn ask(lease: &Held, sql: &str, parameter: &str) -> ExecuteResponse {
    let parameters = if sql.contains("$1") { vec![text(parameter)] } else { Vec::new() };
    harness::sql::ask(lease, with(sql, &parameters))
}

const HABITS: &[&str] = &[
    "set timezone = 'America/New_York'",
    "set timezone = 'Asia/Kathmandu'",
    "set datestyle = 'SQL, DMY'",
    "set datestyle = 'Postgres, MDY'",
    "set datestyle = 'German'",
    "set intervalstyle = 'sql_standard'",
    "set intervalstyle = 'postgres_verbose'",
    "set intervalstyle = 'iso_8601'",
    "set bytea_output = 'escape'",
    "set extra_float_digits = -15",
    "set standard_conforming_strings = off",
    "set lc_numeric = 'POSIX'",
    "set xmlbinary = 'hex'",
];

#[test]
fn values_are_spelt_as_documented_whatever_the_session_sets() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table thing as select timestamptz '2024-07-01 12:00:00.5+00' as a,
         timestamp '2024-07-31 23:59:00' as b, date '2024-07-31' as c, time '04:05:06' as d,
         timetz '04:05:06+02' as e, interval '1 year -2 days +03:04:05' as f,
         decode('00ff5c', 'hex') as g, 0.1::float8 + 0.2 as h, 1.5::float4 as i,
         12.50::numeric as j, timestamptz 'infinity' as k, text 'a' || chr(92) || 'b' as l"]);
    let look = "select * from thing";
    let plain = lease.run(&[look]);
    let spelt: Vec<_> = (0..12).map(|column| text_at(&plain, 0, 0, column)).collect();
    assert_eq!(
        spelt,
        [
            "2024-07-01 12:00:00.5+00",
            "2024-07-31 23:59:00",
            "2024-07-31",
            "04:05:06",
            "04:05:06+02",
            "1 year -2 days +03:04:05",
            "3 bytes",
            "0.30000000000000004",
            "1.5",
            "12.50",
            "infinity",
            "a\\b"
        ]
    );
    // One after the other, so that in the end all of them hold.
    for habit in HABITS {
        lease.run(&[habit]);
        assert_eq!(lease.run(&[look]).results, plain.results, "{habit}");
    }
    let as_text = "select a::text || f::text || g::text || h::text from thing";
    let written = lease.value(as_text);
    lease.run(&["reset all"]);
    assert_ne!(lease.value(as_text), written, "the settings change nothing");
}

/// A setting, a statement whose result it changes, and its parameter.
const READINGS: &[(&str, &str, &str)] = &[
    ("set timezone = 'America/New_York'", "select '2024-07-01 12:00'::timestamptz", ""),
    ("set timezone = 'America/New_York'", "select $1::timestamptz", "2024-07-01 12:00"),
    ("set timezone = 'America/New_York'", "select noon()", ""),
    ("set timezone = 'America/New_York'", "select (timestamptz '2024-07-01 12:00+00')::text", ""),
    ("set timezone = 'America/New_York'", "select date_trunc('day', stored) from thing", ""),
    ("set datestyle = 'SQL, DMY'", "select '01/02/2024'::date", ""),
    ("set datestyle = 'SQL, DMY'", "select $1::date", "01/02/2024"),
    ("set datestyle = 'SQL, DMY'", "select date_in($1::text::cstring)", "01/02/2024"),
    ("set datestyle = 'SQL, DMY'", "select stored::date::text from thing", ""),
    ("set intervalstyle = 'sql_standard'", "select $1::interval", "-1 2:03:04"),
    ("set intervalstyle = 'iso_8601'", "select (interval '1 day')::text", ""),
    ("set bytea_output = 'escape'", "select decode($1, 'hex')::text", "00ff"),
    ("set extra_float_digits = -15", "select (1 / 3::float8)::text", ""),
    ("set standard_conforming_strings = off", "select 'a\\nb'", ""),
    ("set array_nulls = off", "select ($1::text[])[1]", "{null}"),
    ("set transform_null_equals = on", "select 1 = null", ""),
    ("set default_text_search_config = 'simple'", "select to_tsvector($1)::text", "the cats"),
    ("set search_path = shop, public", "select whose from thing", ""),
    ("set search_path = shop, public", "select whose()", ""),
    ("set search_path = shop, public", "select $1::regclass::oid", "thing"),
    ("create temp table thing as select 'mine' as whose", "select whose from thing", ""),
    ("create temp table thing as select 'mine' as whose", "select whose()", ""),
];

#[test]
fn no_lease_reads_with_the_settings_of_another() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    tenant.sql(&format!(
        "create table thing as select 'of all' as whose, timestamptz '2024-07-01 02:00+00' as stored;
         create schema shop; create table shop.thing as select 'of the shop' as whose, now() as stored;
         create function whose() returns text language plpgsql as
             $$ begin return (select whose from thing); end $$;
         create function noon() returns timestamptz language plpgsql as
             $$ begin return '2024-07-01 12:00'::timestamptz; end $$;
         alter schema shop owner to {0}; alter table shop.thing owner to {0};
         alter table thing owner to {0}",
        tenant.name
    ));
    // One backend never sees a setting; the other one serves all other leases.
    let clean = service.lease(&tenant);
    for (setting, sql, parameter) in READINGS {
        let plain = ask(&clean, sql, parameter).results;
        let lease = service.lease(&tenant);
        lease.run(&[setting]);
        assert_ne!(ask(&lease, sql, parameter).results, plain, "{setting} leaves {sql} as it is");
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!(ask(&next, sql, parameter).results, plain, "{sql} after {setting}");
        assert_eq!(next.pid, lease.pid, "{setting} has cost the backend");
        next.release();
    }
}
