//! The edges of types, and ways of writing them that are not PostgreSQL's own.

use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::Value;

use super::{ask, first, means, round_trip, text, with, PLAIN, STRANGE};
use crate::harness::{tenant, Held, Service};

/// Further sessions whose owners like everything otherwise.
const STRANGER: &[&[&str]] = &[
    &[
        "set timezone = 'Pacific/Chatham'",
        "set datestyle = 'SQL, MDY'",
        "set intervalstyle = 'iso_8601'",
        "set extra_float_digits = 0",
        "set standard_conforming_strings = off",
    ],
    &[
        "set timezone = '<odd>+01:02'",
        "set datestyle = 'Postgres, YMD'",
        "set intervalstyle = 'postgres_verbose'",
        "set extra_float_digits = 3",
        "set bytea_output = 'escape'",
    ],
];

const EDGES: &[(&str, &[&str])] = &[
    ("bool", &["yes", "OFF", " t "]),
    ("int2", &["+7", " 007 "]),
    ("float4", &["-3.4028235e38", "1.17549435e-38", "1e-40", "8388608.5", "1e15", "9.999999e-5"]),
    ("float8", &["2.2250738585072014e-308", "1e15", "1e16", "1e-5", "9007199254740993", " 1e3 "]),
    ("bpchar", &["", "ab"]),
    ("char(3)", &["abc", "äöü"]),
    (
        "name",
        &["", "Odd \"name\"", "0123456789012345678901234567890123456789012345678901234567890123"],
    ),
    ("\"char\"", &["\u{7f}", " ", "abc"]),
    (
        "numeric",
        &[
            "-0.00",
            "9999",
            "99990000",
            "0.00009999",
            "10000.0000",
            "1.000000000",
            "+.5",
            "1e1000",
            "1e131071",
            "-9e131071",
            "1e-16383",
            "0e-16383",
            "123.4560000e-2",
            "1e4",
            "-inf",
        ],
    ),
    ("numeric(1000, 1000)", &["0.1", "-0.5"]),
    ("numeric(3, -2)", &["12345", "-99949", "0"]),
    ("numeric(5, 0)", &["-99999", "0.4"]),
    (
        "date",
        &[
            "4714-11-24 BC",
            "0001-01-01",
            "0001-12-31 BC",
            "0001-02-29 BC",
            "10000-01-01",
            "1999-12-31",
            "2000-01-01",
            "2000-02-29",
            "1900-03-01",
            "epoch",
            "20240229",
            "J2451187",
        ],
    ),
    ("time", &["24:00:00", "00:00:00.000001", "04:05:06 PM", "T040506.7"]),
    ("time(0)", &["23:59:59.5"]),
    (
        "timetz",
        &[
            "00:00:00+01:02:03",
            "00:00:00-01:02:03",
            "24:00:00+15:59:59",
            "24:00:00-15:59:59",
            "12:00+00:00:01",
            "12:00-00:30",
            "04:05:06.000100-08",
        ],
    ),
    (
        "timestamp",
        &[
            "4714-11-24 00:00:00 BC",
            "0001-12-31 23:59:59.999999 BC",
            "10000-01-01 00:00:00.1",
            "1999-12-31 24:00:00",
            "2016-12-31 23:59:60",
            "epoch",
            "2024-01-01T00:00:00.000100",
        ],
    ),
    ("timestamp(3)", &["2024-01-01 00:00:00.0005"]),
    (
        "timestamptz",
        &[
            "2024-06-30 12:00:00+01:02:03",
            "2024-06-30 12:00:00-01:02:03",
            "1883-11-18 12:00:00-04:56:02",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "0001-01-01 00:00:00+01:02:03",
            "2024-06-30 12:00:00 America/New_York",
            "2024-06-30T12:00:00Z",
            "2024-01-01 00:00:00.000001-15:59",
            "1999-12-31 23:59:59.9999999+00",
            "epoch",
        ],
    ),
    (
        "interval",
        &[
            "1 year -1 mon",
            "-1 year 1 mon",
            "1 mon -1 day 1 hour",
            "-1 mon 1 day -1 hour",
            "1 day -00:00:01",
            "-1 day 00:00:01",
            "-00:00:00.000001",
            "-0.1 sec",
            "1 day",
            "-1 day",
            "2 years",
            "-1 year",
            "11 mons",
            "-13 mons",
            "2147483647 days",
            "-2147483648 days",
            "2147483647 mons",
            "-2147483648 mons",
            "-2562047788:00:54.775807",
            "-178000000 years 2147483647 days -2562047788:00:54.775807",
            "100:00:00",
            "-100:59:59.999999",
            "00:00:59.5",
            "P1Y2M-3DT4H5M6.7S",
            "1.5 years ago",
        ],
    ),
    ("uuid", &["FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}"]),
    (
        "inet",
        &[
            "10.0.0.1/0",
            "255.255.255.255/31",
            "::1/0",
            "::ffff:1.2.3.4/100",
            "::ffff:0:0/96",
            "1:2:3:4:5:6:7:8/127",
            "1:0:0:1:0:0:0:1",
            "0:1:0:1:0:1:0:1",
            "0:0:1::",
            "1:0:1::",
            "::1.2.3.4/127",
            "::0.0.0.4",
            "::0.1.0.0",
            "fFfF::",
            "64:ff9b::1.2.3.4",
        ],
    ),
    ("cidr", &["0.0.0.0/0", "10", "192.168", "::ffff:0:0/96", "::1/128", "::/0", "1::/16"]),
    ("macaddr", &["FF-FF-FF-FF-FF-FF", "0800.2b01.0203"]),
    ("macaddr8", &["00:00:00:00:00:00:00:00", "0800:2b01:0203:0405", "08:00:2b:01:02:03"]),
    ("bit(1)", &["0", "1"]),
    ("bit(64)", &["1111111111111111111111111111111111111111111111111111111111111110"]),
    ("varbit", &["0000000000000000", "11111111", "x1f"]),
    ("varbit(7)", &["", "1010101"]),
    ("pg_lsn", &["0/1", "1/0", "0000000A/0000000b"]),
    ("json", &["  {\"a\" :1 , \"a\":\t[ ] }\n ", "\"\\u0000\"", "1e400", "-0", "\"\"", "true"]),
    (
        "jsonb",
        &[
            "  {\"b\" :1 , \"a\":\t[ ], \"b\": 2 }\n ",
            "1e400",
            "-0",
            "1.0",
            "\"\"",
            "{}",
            "[[], {}]",
            "\"\\u00e4\\ud83d\\ude00\\n\"",
        ],
    ),
    ("bytea", &["\\xDEADbeef", "abc\\000\\134"]),
    ("xid", &["4294967295", "0"]),
    ("cid", &["4294967295", "0"]),
    ("xml", &["<a  b='1'/>", "x<!-- y -->", "", "<ä>ü</ä>"]),
    ("over_under", &["7", "99"]),
    ("short", &["", "äb"]),
    ("moody", &["sad"]),
];

fn types(lease: &Held) {
    lease.run(&[
        "create domain under as int check (value > 0)",
        "create domain over_under as under check (value < 100)",
        "create domain short as varchar(2)",
        "create type mood as enum ('sad', 'very happy')",
        "create domain moody as mood",
        "create domain numbers as int[]",
        "create domain more_numbers as numbers",
        "create type pair as (a int, b text)",
        "create domain pairs as pair",
    ]);
}

/// Stores a value as a parameter whose type PostgreSQL finds by itself.
fn stored(lease: &Held, kind: &str, value: &Value) -> String {
    lease
        .run(&["drop table if exists pg_temp.held", &format!("create temp table held (x {kind})")]);
    ask(lease, with("insert into held values ($1)", std::slice::from_ref(value)));
    lease.value("select coalesce(x::text, 'NULL') from held")
}

#[test]
fn the_edges_of_a_type_come_and_go_unchanged_whatever_the_session_likes() {
    let (service, tenant) = (Service::start(), tenant());
    let plain = service.lease(&tenant);
    plain.run(PLAIN);
    types(&plain);
    let strangers = [STRANGE, STRANGER[0], STRANGER[1]].map(|settings| {
        let lease = service.lease(&tenant);
        lease.run(settings);
        lease
    });
    for (kind, inputs) in EDGES {
        for input in *inputs {
            for strange in &strangers {
                round_trip(&plain, strange, kind, input);
            }
            let said =
                ask(&plain, with(format!("select $1::{kind}, $1::{kind}::text"), &[text(input)]));
            let (given, said) = (first(&said), text_at(&said, 0, 0, 1));
            for lease in [&plain, &strangers[0]] {
                stored(lease, kind, &given);
                let back = first(&ask(lease, with("select x from held", &[])));
                assert!(means(&back, &said), "{kind} {input:?}: {given:?} is stored as {back:?}");
            }
        }
    }
}

#[test]
fn a_padded_string_arrives_as_psql_shows_it() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    for (kind, input, shown) in [
        ("char(5)", "ab", "ab   "),
        ("char(5)", "", "     "),
        ("bpchar", "ab  ", "ab  "),
        ("char(2)", "ä", "ä "),
    ] {
        let given = first(&ask(&lease, with(format!("select $1::{kind}"), &[text(input)])));
        assert_eq!(given.kind, Some(Kind::Text(shown.to_owned())), "{kind}");
        let back = with(format!("select bpcharout($1::{kind})::text"), &[given]);
        assert_eq!(text_at(&ask(&lease, back), 0, 0, 0), shown, "{kind}");
    }
}

/// Types that are not translated, with values of each.
const RAW: &[(&str, &[&str])] = &[
    ("money", &["-92233720368547758.08", "0", "0.01"]),
    ("int4range", &["empty", "(,)", "[1,5)", "(,5)"]),
    ("numrange", &["[1.50,NaN]"]),
    ("tstzrange", &["[2024-01-01 00:00:00+01:02:03,infinity)"]),
    ("daterange", &["[0044-03-15 BC,)"]),
    ("int4multirange", &["{}", "{[1,2),[5,7)}"]),
    ("int4range[]", &["{empty,\"[1,2)\",NULL}", "[0:1][2:2]={{empty},{NULL}}"]),
    ("pair[]", &["{\"(1,a)\",NULL}"]),
    ("pairs[]", &["{\"(1,a)\"}"]),
    ("point[]", &["{\"(1,2)\"}"]),
    ("point", &["(NaN,-Infinity)", "(-0,5e-324)"]),
    ("line", &["{1,-1,0}"]),
    ("lseg", &["[(1,2),(3,4)]"]),
    ("box", &["(3,4),(1,2)"]),
    ("path", &["((1,2),(3,4))", "[(1,2)]"]),
    ("polygon", &["((0,0),(1,1),(1,0))"]),
    ("circle", &["<(1,2),0>"]),
    ("tsvector", &["", "'a':1A,2 'ä b'"]),
    ("tsquery", &["'a' & !( 'b':*A | 'c' <-> 'd' )"]),
    ("tid", &["(4294967295,65535)"]),
    ("xid8", &["18446744073709551615"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("jsonpath", &["$.\"a\"[*]?(@ > 1)"]),
    ("regclass", &["pg_class", "-"]),
    ("regtype", &["integer", "pair"]),
    ("regproc", &["now"]),
    ("regprocedure", &["abs(integer)"]),
    ("regoper", &["||/"]),
    ("regoperator", &["+(integer,integer)"]),
    ("regrole", &["postgres"]),
    ("regnamespace", &["pg_catalog"]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    ("regcollation", &["\"C\""]),
    ("refcursor", &["", "c"]),
    ("pair", &["(1,\"a b\")", "(,)"]),
    ("pairs", &["(7,x)"]),
];

#[test]
fn what_is_not_translated_goes_back_as_it_came() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(PLAIN);
    types(&lease);
    for (kind, inputs) in RAW {
        for input in *inputs {
            let sql = format!("select $1::{kind}, $1::{kind}::text");
            let answer = ask(&lease, with(&sql, &[text(input)]));
            let (given, said) = (first(&answer), text_at(&answer, 0, 0, 1));
            let column = answer.results[0].columns[0].type_oid;
            match given.kind.as_ref().unwrap() {
                Kind::Raw(raw) => assert_eq!(raw.type_oid, column, "{kind}"),
                Kind::Array(_) => assert!(kind.ends_with("[]"), "{kind}"),
                other => panic!("{kind}: {other:?}"),
            }
            let answer = ask(&lease, with(sql, std::slice::from_ref(&given)));
            assert_eq!(text_at(&answer, 0, 0, 1), said, "{kind} {input:?}");
            assert_eq!(stored(&lease, kind, &given), said, "{kind} {input:?}");
        }
    }
    // One byte of no character.
    let high = first(&lease.run(&["select '\\377'::\"char\""]));
    assert!(matches!(&high.kind, Some(Kind::Raw(raw)) if raw.data == [255]), "{high:?}");
    let back = ask(&lease, with("select $1::\"char\" = '\\377'", &[high]));
    assert_eq!(text_at(&back, 0, 0, 0), "true");
}

/// Arrays of what is an array or stands on one.
const NESTED: &[(&str, &str)] = &[
    ("numbers", "{1,NULL}"),
    ("more_numbers", "[5:6]={7,8}"),
    ("over_under[]", "{1,NULL,99}"),
    ("moody[]", "{sad,NULL}"),
    ("short[]", "{\"\",NULL,äb}"),
    ("int4[]", "{{{NULL,NULL}},{{1,2}}}"),
    ("int4[]", "[-2147483648:-2147483647]={1,2}"),
    ("int4[]", "[2147483646:2147483646]={1}"),
    ("text[]", "{}"),
    ("char(3)[]", "{\"a  \",\"   \"}"),
    ("bpchar[]", "{\"a \",\"\"}"),
    ("timetz[]", "{00:00:00+01:02:03}"),
    ("timestamptz[]", "{\"0001-01-01 00:00:00+00 BC\",infinity,NULL}"),
    ("oidvector", "1 4294967295"),
    ("int2vector", "-1 32767"),
    ("oidvector", ""),
];

#[test]
fn arrays_of_every_build_go_back_as_they_came() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(PLAIN);
    types(&lease);
    for (kind, input) in NESTED {
        let sql = format!("select $1::{kind}, $1::{kind}::text");
        let answer = ask(&lease, with(&sql, &[text(input)]));
        let (given, said) = (first(&answer), text_at(&answer, 0, 0, 1));
        assert!(matches!(given.kind, Some(Kind::Array(_))), "{kind}: {given:?}");
        let answer = ask(&lease, with(sql, std::slice::from_ref(&given)));
        assert_eq!(text_at(&answer, 0, 0, 1), said, "{kind} {input:?}");
        assert_eq!(stored(&lease, kind, &given), said, "{kind} {input:?}");
    }
}
