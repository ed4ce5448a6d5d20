//! Arrays, enums and domains on their way in and out, judged by PostgreSQL.

use crate::harness;
use crate::harness::sql::{ask, asked, text, value, with};
use crate::harness::{code, tenant, Held, Service};
use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ArrayDimension, ArrayValue, ExecuteResponse, Value};

/// Array types with values of each, as text.
const ARRAYS: &[(&str, &[&str])] = &[
    ("int4[]", &["{}", "{1,NULL,-2147483648}", "{{1,2},{3,4}}", "[0:1][-1:0]={{1,NULL},{3,4}}"]),
    ("int2[]", &["{32767}"]),
    ("int8[]", &["{9223372036854775807,NULL}", "[-5:-5]={1}"]),
    ("bool[]", &["{t,f,NULL}"]),
    ("text[]", &["{NULL,\"NULL\",\"\",\"a\\\"b\\\\c\",\" {,} \",grün}", "{{{a}}}"]),
    ("float8[]", &["{NaN,Infinity,-Infinity,-0,5e-324}"]),
    ("float4[]", &["{0.1,16777217}"]),
    ("numeric[]", &["{NaN,1.50,-0.0001,123456789012345678901234567890}"]),
    ("bytea[]", &["{\"\\\\x00ff\",\"\\\\x\"}"]),
    ("date[]", &["{infinity,\"0044-03-15 BC\"}"]),
    ("timestamptz[]", &["{\"2024-06-30 12:00:00.25+02\",-infinity}"]),
    ("interval[]", &["{\"-1 year -2 mons +3 days -04:05:06\"}"]),
    ("uuid[]", &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    ("jsonb[]", &["{\"{\\\"a\\\": [1, \\\"x\\\"]}\",\"null\"}"]),
    ("inet[]", &["{10.0.0.1/8,::1}"]),
    ("varbit[]", &["{101,\"\"}"]),
    ("mood[]", &["{sad,NULL,\"very happy\"}"]),
    ("positive[]", &["{1,2}"]),
    ("\"char\"[]", &["{a}"]),
    ("int4[][][][][][]", &["{{{{{{1,2}}}}}}"]),
];

fn first(answer: &ExecuteResponse) -> Value {
    answer.results[0].rows[0].values[0].clone()
}

/// A tenant's lease where the types of this file are.
fn lease(service: &Service) -> Held {
    let tenant = tenant();
    let lease = service.lease(&tenant);
    lease.run(&[
        "create type mood as enum ('sad', 'very happy')",
        "create domain positive as int4 check (value > 0)",
        "create domain secret as bytea",
        "create domain names as text[]",
        "set timezone = 'UTC'",
    ]);
    lease
}

fn bounds(array: &ArrayValue) -> String {
    let each = |d: &ArrayDimension| {
        let lower = d.lower_bound.unwrap_or(1);
        format!("[{lower}:{}]", i64::from(lower) + i64::from(d.length) - 1)
    };
    array.dimensions.iter().map(each).collect()
}

#[test]
fn an_array_has_postgresqls_bounds_and_elements_and_comes_back_unchanged() {
    let service = Service::start();
    let lease = lease(&service);
    for (kind, inputs) in ARRAYS {
        let element = kind.split_once('[').unwrap().0;
        for input in *inputs {
            let sql = format!(
                "select $1::{kind}, $1::{kind}::text, coalesce(array_dims($1::{kind}), ''), \
                 coalesce(array_length($1::{kind}, 1), 0)::text"
            );
            let answer = ask(&lease, with(&sql, &[text(input)]));
            let given = first(&answer);
            let Some(Kind::Array(array)) = &given.kind else { panic!("{kind}: {given:?}") };
            assert_eq!(bounds(array), text_at(&answer, 0, 0, 2), "{kind} {input}");
            // Each element is what the element type alone would give.
            let unnested = ask(&lease, with(format!("select unnest($1::{kind})"), &[text(input)]));
            let rows = unnested.results[0].rows.iter().map(|row| row.values[0].clone());
            let nan = |value: &Value| matches!(value.kind, Some(Kind::Double(v)) if v.is_nan());
            let expected: Vec<Value> = rows.collect();
            assert_eq!(array.elements.len(), expected.len(), "{kind} {input}");
            for (given, expected) in array.elements.iter().zip(&expected) {
                assert!(given == expected || (nan(given) && nan(expected)), "{kind} {input}");
            }
            let back =
                ask(&lease, with(format!("select $1::{kind}::text"), std::slice::from_ref(&given)));
            assert_eq!(text_at(&back, 0, 0, 0), text_at(&answer, 0, 0, 1), "{kind} {input}");
            assert!(!element.is_empty());
        }
    }
}

#[test]
fn a_vector_of_numbers_is_an_array_from_zero() {
    let service = Service::start();
    let lease = lease(&service);
    let answer = lease.run(&["select '1 2 3'::int2vector"]);
    let Some(Kind::Array(array)) = first(&answer).kind else { panic!("an array") };
    assert_eq!(bounds(&array), "[0:2]");
}

#[test]
fn enums_and_domains_are_their_labels_and_base_types() {
    let service = Service::start();
    let lease = lease(&service);
    let answer = lease
        .run(&["select 'very happy'::mood, 7::positive, '\\x00ff'::secret, array['a','b']::names"]);
    let kinds: Vec<Kind> =
        answer.results[0].rows[0].values.iter().map(|v| v.kind.clone().unwrap()).collect();
    assert_eq!(
        kinds[..3],
        [Kind::Text("very happy".into()), Kind::Int(7), Kind::Bytes(vec![0, 255]),]
    );
    assert!(matches!(&kinds[3], Kind::Array(array) if array.elements.len() == 2));
    let back: Vec<Value> = kinds.into_iter().map(value).collect();
    let sql = "select $1::mood = 'very happy', $2::positive = 7, $3::secret = '\\x00ff', \
               $4::names = array['a','b']";
    let answer = ask(&lease, with(sql, &back));
    for column in 0..4 {
        assert_eq!(text_at(&answer, 0, 0, column), "true", "column {column}");
    }
    // The domain's rule holds for parameters too.
    let error =
        lease.client.execute(&asked(&lease, with("select $1::positive", &[value(Kind::Int(-1))])));
    assert_eq!(harness::refused(error).postgres.unwrap().sqlstate, "23514");
}

#[test]
fn an_array_that_does_not_fit_is_refused_by_name_and_nothing_runs() {
    let service = Service::start();
    let lease = lease(&service);
    let array = |lengths: &[u32], elements: Vec<Value>| {
        let dimension = |length: &u32| ArrayDimension { length: *length, ..Default::default() };
        value(Kind::Array(ArrayValue {
            dimensions: lengths.iter().map(dimension).collect(),
            elements,
            ..ArrayValue::default()
        }))
    };
    let one = || value(Kind::Int(1));
    for (sql, parameter, rule) in [
        ("select $1::int4[]", array(&[2], vec![one()]), "multiply"),
        ("select $1::int4[]", array(&[], vec![one()]), "needs dimensions"),
        ("select $1::int4[]", array(&[u32::MAX, u32::MAX, 9], vec![]), "multiply"),
        ("select $1::int4[]", array(&[1; 7], vec![one()]), "at most 6"),
        ("select $1::int4", array(&[1], vec![one()]), "array parameter"),
        ("select $1::int4[]", array(&[1], vec![array(&[1], vec![one()])]), "array parameter"),
        ("select $1::text[]", array(&[1], vec![text("a\0b")]), "NUL"),
        ("select $1::text[]", array(&[1], vec![Value::default()]), "has no value"),
    ] {
        let error = harness::refused(lease.client.execute(&asked(&lease, with(sql, &[parameter]))));
        assert_eq!(error.code, code::INVALID_ARGUMENT, "{error}");
        assert!(error.message.contains(rule), "{error}");
    }
    assert_eq!(lease.value("select 1"), "1");
}
