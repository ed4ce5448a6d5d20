//! Inspection compared with real decoding.

use protobuf::Message;

use super::*;
use crate::core::testing::Xorshift;
use crate::pool::registry::GivenDsns;
use crate::proto::sql::session_request::Kind as Requested;
use crate::proto::sql::value::Kind;
use crate::proto::sql::{
    ArrayDimension, ArrayValue, ExecuteRequest, RawValue, SessionExecute, SessionRequest,
    Statement, Value,
};
use crate::proto::Shaped;

fn inspected<M: Shaped>(bytes: &[u8]) -> Result<Inspected, NotDecoded> {
    let limits = Limits::default();
    inspect(bytes, M::shape(), &Rules { limits: &limits, fields: usize::MAX })
}

fn refusal<M: Shaped>(message: &M) -> String {
    match inspected::<M>(&message.write_to_bytes().expect("it is encoded")) {
        Err(NotDecoded::Refused(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind), ..Value::default() }
}

fn random_value(chance: &mut Xorshift, depth: usize) -> Value {
    let length = chance.below(40) as usize;
    match chance.below(if depth < 4 { 9 } else { 7 }) {
        0 => Value::default(),
        1 => value(Kind::Null(true)),
        2 => value(Kind::Int(chance.below(u64::MAX) as i64)),
        3 => value(Kind::Double(1.5)),
        4 => value(Kind::Text("é".repeat(length))),
        5 => value(Kind::Bytes(vec![7; length])),
        6 => value(Kind::Raw(RawValue { data: vec![7; length], ..RawValue::default() })),
        _ => {
            let elements = (0..chance.below(5)).map(|_| random_value(chance, depth + 1)).collect();
            let dimension = ArrayDimension { length: 2, ..ArrayDimension::default() };
            let dimensions = vec![dimension; chance.below(3) as usize];
            value(Kind::Array(ArrayValue { elements, dimensions, ..ArrayValue::default() }))
        }
    }
}

fn messages_in(value: &Value) -> usize {
    1 + match &value.kind {
        Some(Kind::Array(array)) => {
            1 + array.dimensions.len() + array.elements.iter().map(messages_in).sum::<usize>()
        }
        Some(Kind::Raw(_)) => 1,
        _ => 0,
    }
}

fn random_request(chance: &mut Xorshift) -> ExecuteRequest {
    let statement = |chance: &mut Xorshift| Statement {
        sql: "select $1".to_owned(),
        parameters: (0..chance.below(6)).map(|_| random_value(chance, 0)).collect(),
        ..Statement::default()
    };
    ExecuteRequest {
        tenant_id: "t".to_owned(),
        statements: (0..chance.below(4)).map(|_| statement(chance)).collect(),
        max_rows: chance.below(1 << 40) as i64,
        timeout: Some(protobuf::well_known_types::duration::Duration::new()).into(),
        ..ExecuteRequest::default()
    }
}

#[test]
fn it_counts_what_is_decoded_and_never_estimates_too_little() {
    for seed in 0..500 {
        let request = random_request(&mut Xorshift::new(seed));
        let bytes = request.write_to_bytes().expect("it is encoded");
        let seen = inspected::<ExecuteRequest>(&bytes).expect("it is well formed");
        let values: usize =
            request.statements.iter().flat_map(|s| &s.parameters).map(messages_in).sum();
        // The request and its timeout are messages too.
        assert_eq!(seen.messages, 2 + request.statements.len() + values, "seed {seed}");
        assert!(seen.memory_bytes >= bytes.len() + seen.messages * 16, "seed {seed}");
    }
}

#[test]
fn no_bytes_make_it_panic_or_refuse_a_well_formed_message() {
    let (mut decoded, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let mut chance = Xorshift::new(seed);
        let mut bytes = random_request(&mut chance).write_to_bytes().expect("it is encoded");
        for _ in 0..=chance.below(4) {
            let at = chance.below(bytes.len() as u64 + 1) as usize;
            match chance.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, chance.below(256) as u8),
                2 if at < bytes.len() => bytes[at] = chance.below(256) as u8,
                _ => bytes.extend((0..chance.below(12)).map(|_| chance.below(256) as u8)),
            }
        }
        let real = ExecuteRequest::parse_from_bytes(&bytes);
        match (inspected::<ExecuteRequest>(&bytes), real) {
            (Ok(_), Ok(_)) => decoded += 1,
            (Err(NotDecoded::Malformed), Ok(_)) => panic!("seed {seed}: {bytes:?}"),
            (Err(NotDecoded::Malformed), Err(_)) => refused += 1,
            // The decoder knows more rules, skips groups, and takes what is cut.
            (Ok(_), Err(_)) | (Err(NotDecoded::Truncated | NotDecoded::Group), _) => {}
            (other, _) => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(decoded > 1000 && refused > 1000, "{decoded} {refused}");
}

/// A statement with an array in an array, and so on.
fn nested(depth: usize) -> Statement {
    let mut inner = Value::default();
    for _ in 0..depth {
        let array = ArrayValue { elements: vec![inner], ..ArrayValue::default() };
        inner = value(Kind::Array(array));
    }
    Statement { parameters: vec![inner], ..Statement::default() }
}

/// A request with it.
fn request_bytes(depth: usize) -> Vec<u8> {
    let statements = vec![nested(depth)];
    let request = ExecuteRequest { statements, ..ExecuteRequest::default() };
    request.write_to_bytes().expect("it is encoded")
}

/// The same on a stream, where it is one level deeper.
fn stream_request_bytes(depth: usize) -> Vec<u8> {
    let execute = SessionExecute { statements: vec![nested(depth)], ..SessionExecute::default() };
    let kind = Some(Requested::Execute(execute));
    let request = SessionRequest { kind, ..SessionRequest::default() };
    request.write_to_bytes().expect("it is encoded")
}

#[test]
fn the_limit_of_nesting_is_that_of_protobuf() {
    for depth in 40..60 {
        let bytes = request_bytes(depth);
        let real = ExecuteRequest::parse_from_bytes(&bytes).is_ok();
        assert_eq!(inspected::<ExecuteRequest>(&bytes).is_ok(), real, "{depth}");
        let bytes = stream_request_bytes(depth);
        let real = SessionRequest::parse_from_bytes(&bytes).is_ok();
        assert_eq!(inspected::<SessionRequest>(&bytes).is_ok(), real, "{depth} on a stream");
    }
}

#[test]
fn the_deepest_request_takes_little_of_a_stack() {
    // Those who decode one, gRPC's threads and workers, have 2 MiB. Not optimised, it
    // takes more than 256 KiB.
    const LITTLE: usize = 512 << 10;
    let is_read = |depth: &usize| ExecuteRequest::parse_from_bytes(&request_bytes(*depth)).is_ok();
    let bytes = request_bytes((40..60).rev().find(is_read).expect("some are read"));
    let work = move || {
        assert!(inspected::<ExecuteRequest>(&bytes).is_ok());
        let request = ExecuteRequest::parse_from_bytes(&bytes).expect("it is read");
        // It names no place to run at; what it holds is dropped, level by level, too.
        assert!(crate::rpc::convert::requests::execute(
            request,
            &Limits::default(),
            &GivenDsns::default().of("")
        )
        .is_err());
    };
    let small = std::thread::Builder::new().stack_size(LITTLE);
    #[allow(clippy::disallowed_methods)] // A test's own, joined at once.
    let thread = small.spawn(work).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn a_request_with_too_many_items_or_too_large_fails_with_the_field_and_the_rule() {
    let with = |parameters| Statement { parameters, ..Statement::default() };
    let of = |statements| ExecuteRequest { statements, ..ExecuteRequest::default() };
    let null = || value(Kind::Null(true));
    assert!(inspected::<ExecuteRequest>(
        &of(vec![with(vec![null(); PARAMETERS_MAX])]).write_to_bytes().expect("it is encoded")
    )
    .is_ok());
    let said = refusal(&of(vec![Statement::default(), with(vec![null(); PARAMETERS_MAX + 1])]));
    assert_eq!(said, "statements[1].parameters must be at most 65535");
    let said = refusal(&of(vec![Statement::default(); 1001]));
    assert_eq!(said, "statements must be 1 to 1000");
    let statements = vec![Statement::default(); 1001];
    let execute = SessionExecute { statements, ..SessionExecute::default() };
    let session =
        SessionRequest { kind: Some(Requested::Execute(execute)), ..SessionRequest::default() };
    assert_eq!(refusal(&session), "statements must be 1 to 1000");
    let elements = vec![Value::default(); 1_000_000];
    let array = value(Kind::Array(ArrayValue { elements, ..ArrayValue::default() }));
    let said = refusal(&of(vec![with(vec![array])]));
    assert!(said.contains("33554432 bytes"), "{said}");
}

#[test]
fn an_unknown_field_is_estimated_at_what_it_costs() {
    // 10 000 values of one unknown field each: four bytes on the wire.
    let mut bytes = Vec::new();
    let parameters: Vec<u8> = (0..10_000).flat_map(|_| [0x12, 2, 0x78, 1]).collect();
    bytes.push(0x22);
    protobuf::CodedOutputStream::vec(&mut bytes)
        .write_raw_varint32(parameters.len() as u32)
        .expect("it is in memory");
    bytes.extend_from_slice(&parameters);
    let seen = inspected::<ExecuteRequest>(&bytes).expect("it is well formed");
    assert!(seen.memory_bytes > 10_000 * 600, "{seen:?}");
}

#[test]
fn the_inspection_stops_after_the_given_number_of_fields() {
    let limits = Limits::default();
    let request = ExecuteRequest { tenant_id: "t".into(), dsn: "d".into(), ..Default::default() };
    let bytes = request.write_to_bytes().expect("it is encoded");
    let with =
        |fields| inspect(&bytes, ExecuteRequest::shape(), &Rules { limits: &limits, fields });
    assert!(matches!(with(1), Err(NotDecoded::TooManyFields)));
    assert!(with(2).is_ok());
}
