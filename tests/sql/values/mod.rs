//! Values on their way in and out, judged by PostgreSQL's own `::text`.

mod arrays;
mod edges;
mod settings;

use crate::harness::sql::{ask, text, value, with};
use crate::harness::{tenant, Held, Service};
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteResponse, Value};

/// How `::text` must be told to speak, for it to be comparable.
const PLAIN: &[&str] = &[
    "set timezone = 'UTC'",
    "set datestyle = 'ISO'",
    "set intervalstyle = 'postgres'",
    "set extra_float_digits = 1",
    "set bytea_output = 'hex'",
];

/// A session whose owner likes everything otherwise.
const STRANGE: &[&str] = &[
    "set timezone = 'Asia/Kolkata'",
    "set datestyle = 'German, DMY'",
    "set intervalstyle = 'sql_standard'",
    "set extra_float_digits = -10",
    "set bytea_output = 'escape'",
];

/// Types with values of each, as text.
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["0", "-32768", "32767"]),
    ("int4", &["0", "-2147483648", "2147483647"]),
    ("int8", &["0", "-9223372036854775808", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("float4", &["0.1", "-0", "3.4028235e38", "1e-45", "16777217", "NaN", "Infinity", "-Infinity"]),
    (
        "float8",
        &[
            "0.1",
            "-0",
            "1.7976931348623157e308",
            "5e-324",
            "1e21",
            "123456789.125",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    ("text", &["", "grün 🐘 日本 e\u{301}", "'; drop table x; --", "a\tb\r\n\\", " $1 "]),
    ("varchar", &["", "ä"]),
    ("bpchar", &["ab"]),
    ("name", &["pg_class"]),
    ("\"char\"", &["a", ""]),
    ("bytea", &["\\x", "\\x00", "\\x00ff005c27"]),
    (
        "numeric",
        &[
            "0",
            "0.00",
            "-1.50",
            "10000",
            "0.0001",
            "1e-20",
            "123456789012345678901234567890.123456789",
            "-99999999999999999999",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "date",
        &["2024-02-29", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity"],
    ),
    ("time", &["00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.5"]),
    ("timetz", &["12:34:56.789+05:30", "00:00:00+15:59", "23:59:59.999999-15:59:59", "01:02:03Z"]),
    (
        "timestamp",
        &[
            "2000-01-01 00:00:00.000001",
            "1999-12-31 23:59:59.999999",
            "4713-01-01 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "0001-01-01 00:00:00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "2024-06-30 12:00:00.25+02",
            "4713-01-02 00:00:00+00 BC",
            "294276-12-30 23:59:59.999999+00",
            "1969-12-31 23:59:59.5+00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "interval",
        &[
            "0",
            "1 year 2 mons -3 days +04:05:06.789",
            "-1 year -2 mons +3 days -04:05:06",
            "00:00:00.000001",
            "-00:00:00.1",
            "1 mon",
            "-1 days +02:03:00",
            "178000000 years",
            "2562047788:00:54.775807",
        ],
    ),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]),
    (
        "inet",
        &[
            "10.0.0.1",
            "10.0.0.1/8",
            "0.0.0.0/0",
            "::1",
            "::",
            "fe80::1:2/64",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1:0:0:2::3",
            "::1:0/120",
            "2001:db8:0:1:1:1:1:1",
            "1::",
        ],
    ),
    ("cidr", &["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32", "::/0"]),
    ("macaddr", &["08:00:2b:01:02:ff"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:ff"]),
    ("bit(5)", &["10101", "00000"]),
    ("varbit", &["", "1", "101010101"]),
    ("pg_lsn", &["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"]),
    ("json", &["null", "{\"b\" :  [1, 2.50], \"a\": \"ä\\u0041\"}"]),
    ("jsonb", &["null", "{\"b\": [1, 2.50], \"a\": \"\\\"\"}"]),
];

fn first(answer: &ExecuteResponse) -> Value {
    answer.results[0].rows[0].values[0].clone()
}

/// Whether a value means what PostgreSQL's text says.
fn means(value: &Value, text: &str) -> bool {
    let same = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits();
    match value.kind.as_ref().expect("a value has a kind") {
        Kind::Bool(v) => v.to_string() == text,
        Kind::Int(v) => v.to_string() == text,
        Kind::Double(v) => {
            let narrow = text.parse::<f32>().is_ok_and(|t| same(*v, t.into()));
            narrow || text.parse::<f64>().is_ok_and(|t| same(*v, t))
        }
        Kind::Text(v) => v == text,
        Kind::Bytes(v) => {
            let hex: String = v.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}") == text
        }
        _ => false,
    }
}

/// Sends `input` as a parameter, compares what comes back with PostgreSQL's own
/// text, and sends it out and back again under other settings.
fn round_trip(plain: &Held, strange: &Held, kind: &str, input: &str) {
    let answer = ask(plain, with(format!("select $1::{kind}, $1::{kind}::text"), &[text(input)]));
    let (given, said) = (first(&answer), text_at(&answer, 0, 0, 1));
    assert!(means(&given, &said), "{kind} {input:?}: {given:?} is not {said:?}");

    let other = ask(strange, with(format!("select $1::{kind}"), &[text(&said)]));
    let shown = first(&other);
    let nan = matches!(given.kind, Some(Kind::Double(v)) if v.is_nan());
    assert!(nan || shown == given, "{kind} {input:?}: settings change it to {shown:?}");

    for lease in [plain, strange] {
        let equal = match kind {
            // Has no equality of its own.
            "json" | "xml" | "moody" => format!("$1::{kind}::text is not distinct from $2::text"),
            _ => format!("$1::{kind} is not distinct from $2::text::{kind} and $1::{kind}::text = $2::text::{kind}::text"),
        };
        for back in [given.clone(), text(&said)] {
            let answer = ask(lease, with(format!("select {equal}"), &[back.clone(), text(&said)]));
            assert_eq!(
                text_at(&answer, 0, 0, 0),
                "true",
                "{kind} {input:?}: {back:?} comes back changed"
            );
        }
    }
}

#[test]
fn every_value_means_what_postgresql_says_and_comes_back_unchanged() {
    let (service, tenant) = (Service::start(), tenant());
    let (plain, strange) = (service.lease(&tenant), service.lease(&tenant));
    plain.run(PLAIN);
    strange.run(STRANGE);
    for (kind, inputs) in VALUES {
        for input in *inputs {
            round_trip(&plain, &strange, kind, input);
        }
    }
    let digits: String = "1234567890".repeat(100);
    for input in
        [digits.clone(), format!("-{digits}.{digits}"), format!("0.{}{digits}", "0".repeat(1000))]
    {
        round_trip(&plain, &strange, "numeric", &input);
    }
}

#[test]
fn null_is_null_of_every_type() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let others = [("int4[]", 1007), ("point", 600)];
    let kinds = VALUES.iter().map(|(kind, _)| (*kind, 0)).chain(others);
    for (kind, oid) in kinds {
        // The value of the field does not matter.
        for field in [true, false] {
            let null = value(Kind::Null(field));
            let answer =
                ask(&lease, with(format!("select $1::{kind}, $1::{kind} is null"), &[null]));
            assert_eq!(first(&answer).kind, Some(Kind::Null(true)), "{kind}");
            assert_eq!(text_at(&answer, 0, 0, 1), "true", "{kind}");
            assert!(oid == 0 || answer.results[0].columns[0].type_oid == oid, "{kind}");
        }
    }
}

#[test]
fn the_kind_of_a_result_is_the_documented_one() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let answer = lease
        .run(&["select true, 1::int2, 2::int4, 3::int8, 4::oid, 0.5::float4, 0.25::float8, \
         'a'::text, '\\x0001'::bytea, 1.50::numeric, '2024-01-02 03:04:05+00'::timestamptz"]);
    let kinds: Vec<Kind> =
        answer.results[0].rows[0].values.iter().map(|v| v.kind.clone().unwrap()).collect();
    let expected = [
        Kind::Bool(true),
        Kind::Int(1),
        Kind::Int(2),
        Kind::Int(3),
        Kind::Int(4),
        Kind::Double(0.5),
        Kind::Double(0.25),
        Kind::Text("a".into()),
        Kind::Bytes(vec![0, 1]),
        Kind::Text("1.50".into()),
        Kind::Text("2024-01-02 03:04:05+00".into()),
    ];
    assert_eq!(kinds, expected);
    let names: Vec<&str> = answer.results[0].columns.iter().map(|c| &*c.type_name).collect();
    assert_eq!(names[..5], ["bool", "int2", "int4", "int8", "oid"]);
}

#[test]
fn a_type_that_is_not_translated_arrives_raw_and_goes_back_raw() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create type pair as (a int, b text)"]);
    let pair: u32 = tenant.sql("select 'pair'::regtype::oid").parse().unwrap();
    let point: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    for (literal, kind, oid, bytes) in [
        ("point(1.5, -2)", "point", 600, Some(point)),
        ("int4range(1, 5)", "int4range", 3904, None),
        ("row(1, 'a')::pair", "pair", pair, None),
        ("'1 2'::tsvector", "tsvector", 3614, None),
    ] {
        let answer = lease.run(&[&format!("select {literal}")]);
        let column = &answer.results[0].columns[0];
        assert_eq!(column.type_oid, oid, "{kind}");
        let given = first(&answer);
        let Some(Kind::Raw(raw)) = &given.kind else { panic!("{kind}: {given:?}") };
        assert_eq!(raw.type_oid, oid, "{kind}");
        assert!(bytes.is_none_or(|bytes| bytes == raw.data), "{kind}: {raw:?}");
        let same = format!("select $1::{kind}::text = ({literal})::text");
        assert_eq!(text_at(&ask(&lease, with(same, &[given])), 0, 0, 0), "true", "{kind}");
    }
}

#[test]
fn text_as_a_parameter_fits_every_type() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create type mood as enum ('sad', 'happy')"]);
    for (kind, input) in [
        ("int4[]", "{1,NULL,3}"),
        ("mood", "happy"),
        ("point", "(1.5,-2)"),
        ("inet", "10.0.0.0/8"),
        ("int4range", "[1,5)"),
        ("int4", "42"),
        ("bool", "true"),
    ] {
        let answer = ask(&lease, with(format!("select $1::{kind}::text"), &[text(input)]));
        assert_eq!(text_at(&answer, 0, 0, 0), input, "{kind}");
    }
}

#[test]
fn numbers_fit_every_type_of_number() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    for kind in ["int2", "int4", "int8", "oid", "float4", "float8", "numeric", "text"] {
        for number in [Kind::Int(42), Kind::Double(42.0)] {
            let answer =
                ask(&lease, with(format!("select $1::{kind}::text"), &[value(number.clone())]));
            assert_eq!(text_at(&answer, 0, 0, 0), "42", "{kind} {number:?}");
        }
    }
}

#[test]
fn what_has_no_binary_form_arrives_as_text_and_goes_back_as_text() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create domain right_of as aclitem", "create domain rights_of as aclitem[]"]);
    let (name, item) = (&tenant.name, format!("'{0}=arwd/{0}'", tenant.name));
    let said = format!("{name}=arwd/{name}");
    let both = format!("{{{said},{name}=r/{name}}}");
    for (kind, literal, text_of) in [
        ("aclitem", item.clone(), &said),
        ("right_of", item.clone(), &said),
        ("aclitem[]", format!("array[{item}, '{name}=r/{name}']"), &both),
        ("right_of[]", format!("array[{item}, '{name}=r/{name}']"), &both),
        ("rights_of", format!("array[{item}, '{name}=r/{name}']::aclitem[]"), &both),
    ] {
        // Beside others, which come in their own form.
        let select = format!("select 7, {literal}::{kind}, '\\x0001'::bytea, null::{kind}");
        for _ in 0..2 {
            let answer = lease.run(&[&select]);
            let kinds = answer.results[0].rows[0].values.iter().map(|v| v.kind.clone().unwrap());
            let text_of = Kind::Text(text_of.clone());
            let expected = [Kind::Int(7), text_of, Kind::Bytes(vec![0, 1]), Kind::Null(true)];
            assert_eq!(kinds.collect::<Vec<_>>(), expected, "{kind}");
        }
        let same = format!("select $1::{kind}::text = ({literal})::{kind}::text");
        let answer = ask(&lease, with(same, &[text(text_of)]));
        assert_eq!(text_at(&answer, 0, 0, 0), "true", "{kind}");
    }
    let answer = lease.run(&["select relacl, relacl::text from pg_class where relacl is not null"]);
    let result = &answer.results[0];
    assert!(result.rows.len() > 10 && result.columns[0].type_name == "_aclitem");
    for row in &result.rows {
        assert_eq!(row.values[0], row.values[1]);
    }
}

#[test]
fn a_large_value_fits_into_one_answer() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let sent = value(Kind::Bytes(bytes.clone()));
    let answer = ask(&lease, with("select $1::bytea", &[sent]));
    assert!(first(&answer).kind == Some(Kind::Bytes(bytes)), "3 MB come back changed");
}
