//! Requests that are compressed, come in part, more than once or not at all, or are no
//! messages; and answers that nobody takes.

mod raw;
mod size;

use crate::harness::h2::{self, message, H2};
use crate::harness::siege::Siege;
use crate::harness::sql::one_shot;
use crate::harness::{code, eventually, request, tenant, Service};
use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::{session_request::Kind, SessionExecute, SessionRequest};
use protobuf::Message;
use raw::{gzipped, Bytes, EXECUTE};

const SESSION: &str = "/connectionpool.SqlService/Session";
const COPY_IN: &str = "/connectionpool.SqlService/CopyIn";
const QUERY: &str = "/connectionpool.SqlService/Query";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Plaintext, for what no client library sends.
fn insecure(more: &[&str]) -> Service {
    Service::with(&[&["--insecure"], more].concat())
}

#[test]
fn what_is_compressed_is_refused_and_not_unpacked() {
    let service = insecure(&[]);
    let siege = Siege::start(&service, tenant().pool_of(2));
    // 200 MiB of one letter, in some 200 kB.
    let mut sql = vec![0x0a, 0x80, 0x80, 0x80, 0x64];
    sql.resize(sql.len() + (200 << 20), b'x');
    let packed = gzipped(&sql);
    assert!(packed.len() < 1 << 20);
    for encoding in ["gzip", "deflate"] {
        let mut h2 = H2::connect(service.port).unwrap();
        let call = h2.call(EXECUTE, &[("grpc-encoding", encoding)]).unwrap();
        // More than it is allowed to send ahead, were it taken: a refusal needs none of it.
        h2.data(call, &message(&packed[..32 << 10], true), true).unwrap();
        assert_eq!(h2.status(call), code::UNIMPLEMENTED, "{encoding}");
    }
    let mut h2 = H2::connect(service.port).unwrap();
    // Not announced, what is flagged as compressed is taken as it is.
    let call = h2.call(EXECUTE, &[]).unwrap();
    h2.data(call, &message(&packed[..32 << 10], true), true).unwrap();
    assert_eq!(h2.status(call), code::INVALID_ARGUMENT);
    let report = siege.end();
    assert!(report.grown_kb < 32 << 10, "{report:?}");
}

#[test]
fn a_compressed_request_fails_with_the_reason() {
    let (service, tenant) = (Service::start(), tenant());
    let plain = Bytes::of(&service, None);
    let compressing = Bytes::of(&service, Some(grpcio::CompressionAlgorithms::GRPC_COMPRESS_GZIP));
    let sql = format!("select '{}'", "x".repeat(100_000));
    let wanted = one_shot(&tenant, &[&sql]).write_to_bytes().unwrap();
    plain.call(EXECUTE, &wanted).expect("what is not compressed is served");
    let refused = compressing.call(EXECUTE, &wanted).unwrap_err();
    assert_eq!(refused.code, code::UNIMPLEMENTED, "{refused}");
}

#[test]
fn a_partial_request_fails_in_time() {
    let service = insecure(&["--request-timeout", "1"]);
    let siege = Siege::start(&service, tenant().pool_of(2));
    for path in [EXECUTE, QUERY, SESSION, COPY_IN, CHECK, WATCH] {
        let mut h2 = H2::connect(service.port).unwrap();
        // No more of these are let in on one connection.
        let count = if path == WATCH { 8 } else { 50 };
        let calls: Vec<_> = (0..count)
            .map(|i| {
                let call = h2.call(path, &[]).unwrap();
                // Its length, and some of it; or nothing at all.
                let mut part = vec![0, 0, 0x40, 0, 0];
                part.resize(1000, b'x');
                h2.data(call, &part[..i % 2 * 1000], false).unwrap();
                call
            })
            .collect();
        assert_eq!(h2.status(calls[0]), code::DEADLINE_EXCEEDED, "{path}");
        let mut open = calls.len() - 1;
        let all = h2.read_until(|frame| {
            let last = frame.kind == h2::HEADERS && frame.flags & h2::END_STREAM != 0;
            open -= usize::from(last);
            open == 0
        });
        assert!(all.is_some(), "the connection stays");
    }
    siege.bystander_works(10);
    siege.end();
}

#[test]
fn a_stream_that_has_begun_has_all_the_time_it_wants() {
    let (service, tenant) = (insecure(&["--request-timeout", "1"]), tenant());
    let (mut stream, _) = service.client().open_session(request(&tenant)).expect("a stream");
    // Two that began later, one after the other, are past their limit.
    for _ in 0..2 {
        let mut h2 = H2::connect(service.port).unwrap();
        let call = h2.call(SESSION, &[]).unwrap();
        assert_eq!(h2.status(call), code::DEADLINE_EXCEEDED);
    }
    stream.close().expect("the stream lives");
    assert!(stream.next().expect("it ends well").is_some());
}

#[test]
fn a_call_that_takes_one_request_gets_neither_none_nor_two() {
    let (service, tenant) = (insecure(&[]), tenant());
    let wanted = message(&one_shot(&tenant, &["select 1"]).write_to_bytes().unwrap(), false);
    for path in [EXECUTE, CHECK, WATCH] {
        for body in [Vec::new(), [wanted.clone(), wanted.clone()].concat()] {
            let mut h2 = H2::connect(service.port).unwrap();
            let call = h2.call(path, &[]).unwrap();
            h2.data(call, &body, true).unwrap();
            assert_eq!(h2.status(call), code::INVALID_ARGUMENT, "{path}");
        }
    }
    let mut h2 = H2::connect(service.port).unwrap();
    let call = h2.call(EXECUTE, &[]).unwrap();
    h2.data(call, &wanted, true).unwrap();
    assert_eq!(h2.status(call), 0);
    assert!(!service.knows("nobody"));
}

#[test]
fn what_is_no_message_or_is_nested_too_deeply_is_an_invalid_argument() {
    let service = Service::start();
    let client = Bytes::of(&service, None);
    let mut nested = Vec::new();
    // An array in an array, and so on, in a parameter of a statement.
    for field in std::iter::repeat_n([0x3a, 0x1a], 200).flatten().chain([0x12, 0x22]) {
        let mut outer = vec![field];
        protobuf::CodedOutputStream::vec(&mut outer)
            .write_raw_varint32(nested.len() as u32)
            .unwrap();
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    for path in [EXECUTE, QUERY, CHECK, "/connectionpool.ConnectionPoolService/GetConnection"] {
        for bytes in [b"\x0a\xff".as_slice(), b"\xff\xff\xff\xff\xff\xff", &nested] {
            if bytes == nested && path != EXECUTE {
                continue;
            }
            let error = client.call(path, bytes).unwrap_err();
            let told = (error.code, error.reason.as_str());
            assert_eq!(told, (code::INVALID_ARGUMENT, "INVALID_ARGUMENT"), "{path}: {error}");
        }
    }
    for path in [SESSION, COPY_IN] {
        let error = client.stream(path, b"\x0a\xff").unwrap_err();
        assert_eq!((error.code, error.reason.as_str()), (3, "INVALID_ARGUMENT"), "{path}: {error}");
    }
}

/// An Execute whose one statement has this field so many times, and after it `rest`.
fn repeated(prefix: &[u8], field: &[u8], times: usize) -> Vec<u8> {
    let with = |tag: u8, content: &[u8]| {
        let mut bytes = vec![tag];
        let mut out = protobuf::CodedOutputStream::vec(&mut bytes);
        out.write_raw_varint32(content.len() as u32).unwrap();
        drop(out);
        [bytes.as_slice(), content].concat()
    };
    let mut content = field.repeat(times);
    for tag in prefix {
        content = with(*tag, &content);
    }
    with(0x22, &content)
}

#[test]
fn a_large_request_costs_others_no_time_and_little_memory() {
    let service = insecure(&[]);
    let siege = Siege::start(&service, tenant().pool_of(2));
    let client = Bytes::plain(&service);
    let told = |bytes: Vec<u8>, times: usize, what: &str| {
        assert!(bytes.len() < 4 << 20);
        for error in client.flood(EXECUTE, &bytes, times) {
            let of = (error.code, error.reason.as_str());
            assert_eq!(of, (code::INVALID_ARGUMENT, "INVALID_ARGUMENT"), "{error}");
            assert!(error.message.contains(what), "{error}");
        }
    };
    // Elements of an array without a value, NULLs as parameters, statements without text,
    // values with a field that nobody knows.
    told(repeated(&[0x3a, 0x12], &[0x1a, 0], 2_000_000), 20, "33554432 bytes");
    told(repeated(&[], &[0x12, 2, 0x08, 1], 1_000_000), 20, "65535");
    told([0x22, 0].repeat(2_000_000), 20, "1 to 1000");
    told(repeated(&[], &[0x12, 2, 0x78, 1], 1_000_000), 20, "33554432 bytes");
    // Few enough to be decoded: of a lease that there is not.
    let id = format!("conn-t-{}", "0".repeat(32));
    let elements = repeated(&[0x3a, 0x12], &[0x1a, 2, 0x18, 2], 100_000);
    let bytes = [&[0x0a, id.len() as u8], id.as_bytes(), &elements].concat();
    let decoded = client.flood(EXECUTE, &bytes, 20);
    for error in decoded {
        assert_eq!(error.reason, "LEASE_NOT_FOUND", "{error}");
    }
    drop(client);
    siege.bystander_works(10);
    siege.end();
}

#[test]
fn large_requests_are_decoded_by_workers_and_small_ones_on_the_spot() {
    let service = Service::start();
    let client = Bytes::of(&service, None);
    let workers = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).filter(|name| name.trim() == "worker").count()
    };
    // Nobody has a connection to PostgreSQL yet: workers have nothing else to do.
    let fields = |count: usize| repeated(&[], &[0x12, 2, 0x08, 1], count);
    for small in [fields(1), fields(1000)] {
        client.call(EXECUTE, &small).unwrap_err();
        assert_eq!(workers(), 0);
    }
    let text = [&[0x0a, 0x80, 0x80, 0x20], &*vec![b'x'; 512 << 10]].concat();
    for large in [fields(10_000), text] {
        eventually("a worker was there", || {
            client.call(EXECUTE, &large).unwrap_err();
            workers() > 0
        });
        eventually("it has gone", || workers() == 0);
    }
}

#[test]
fn an_unread_answer_is_freed_with_its_call() {
    let service = insecure(&["--stall-timeout", "1"]);
    let hostile = tenant().pool_of(1);
    let siege = Siege::start(&service, tenant().pool_of(2));
    // Each is larger than what a client takes that never gives flow control back.
    let wanted = message(
        &one_shot(&hostile, &["select repeat('x', 1000000)"]).write_to_bytes().unwrap(),
        false,
    );
    let mut h2 = H2::connect(service.port).unwrap();
    for _ in 0..10 {
        let call = h2.call(EXECUTE, &[]).unwrap();
        h2.data(call, &wanted, true).unwrap();
    }
    let mut ended = 0;
    let all = h2.read_until(|frame| {
        ended += usize::from(frame.kind == h2::RST_STREAM);
        ended == 10
    });
    assert!(all.is_some(), "the connection stays");
    drop(h2);
    siege.bystander_works(10);
    siege.end();
}

#[test]
fn a_session_with_unread_answers_ends_with_its_lease() {
    let service = insecure(&["--stall-timeout", "1"]);
    let hostile = tenant().pool_of(1);
    let open = ConnectionRequest {
        tenant_id: hostile.name.clone(),
        dsn: hostile.dsn.clone(),
        ..ConnectionRequest::default()
    };
    let execute = SessionExecute {
        statements: vec![statement("select repeat('x', 1000000)")],
        ..SessionExecute::default()
    };
    let mut h2 = H2::connect(service.port).unwrap();
    let call = h2.call(SESSION, &[]).unwrap();
    for kind in [Kind::Open(open), Kind::Execute(execute.clone()), Kind::Execute(execute)] {
        let said = SessionRequest { kind: Some(kind), ..SessionRequest::default() };
        h2.data(call, &message(&said.write_to_bytes().unwrap(), false), false).unwrap();
    }
    let ended = h2.read_until(|frame| frame.kind == h2::RST_STREAM && frame.stream == call);
    assert!(ended.is_some());
    service.wait_quiet(&hostile.name);
}
