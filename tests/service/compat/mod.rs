//! A client that knows nothing but `frozen.proto`, byte by byte.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crate::harness;
use crate::harness::{repository, tenant, Service};
use grpcio::{
    CallOption, ChannelBuilder, ChannelCredentialsBuilder, EnvBuilder, GrpcSlice, Marshaller,
    MessageReader, Method, MethodType, RpcStatusCode,
};

const FROZEN: &str = include_str!("frozen.proto");

/// Field number and type of each field of a message, by the proto file.
fn fields(proto: &str, message: &str) -> BTreeMap<String, (u32, String)> {
    let start = proto.find(&format!("message {message} {{")).expect("the message is there");
    let body = proto[start..].split_once('{').unwrap().1.split_once('}').unwrap().0;
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let field = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let (name, number) = rest.trim_end_matches(';').split_once(" = ")?;
        Some((name.to_owned(), (number.parse().ok()?, kind.to_owned())))
    };
    lines.filter_map(field).collect()
}

/// A message of strings.
fn encode(message: &str, values: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields(FROZEN, message);
    let mut out = Vec::new();
    for (name, value) in values {
        let (number, kind) = &fields[*name];
        assert_eq!(kind, "string");
        varint(&mut out, u64::from(*number) << 3 | 2);
        varint(&mut out, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What a field of an answer holds.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// All fields of a message by number, each at most once.
fn decode(mut bytes: &[u8]) -> BTreeMap<u32, Field> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().expect("a varint ends");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a varint of more than ten bytes");
    }
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(number(&mut bytes)),
            2 => {
                let length = number(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(value.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        let twice = fields.insert((tag >> 3) as u32, field);
        assert_eq!(twice, None, "field {} comes twice", tag >> 3);
    }
    fields
}

/// An answer as a client of old reads it: by name, unknown fields left out.
struct Answer {
    message: &'static str,
    fields: BTreeMap<u32, Field>,
}

impl Answer {
    fn field(&self, name: &str, kind: &str) -> Option<&Field> {
        let (number, declared) = fields(FROZEN, self.message)[name].clone();
        assert_eq!(declared, kind, "{name}");
        self.fields.get(&number)
    }

    fn string(&self, name: &str) -> String {
        match self.field(name, "string") {
            None => String::new(),
            Some(Field::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
            Some(other) => panic!("{name} is {other:?}"),
        }
    }

    fn number(&self, name: &str, kind: &str) -> u64 {
        match self.field(name, kind) {
            None => 0,
            Some(Field::Number(number)) => *number,
            Some(other) => panic!("{name} is {other:?}"),
        }
    }
}

/// The client of old.
struct OldClient(grpcio::Client);

impl OldClient {
    fn of(service: &Service) -> OldClient {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let pem = std::fs::read(service.certs.path().join("cert.pem")).unwrap();
        let credentials = ChannelCredentialsBuilder::new().root_cert(pem).build();
        let channel = ChannelBuilder::new(environment)
            .set_credentials(credentials)
            .connect(&format!("localhost:{}", service.port));
        OldClient(grpcio::Client::new(channel))
    }

    fn call(
        &self,
        name: &'static str,
        answer: &'static str,
        request: Vec<u8>,
        limit: Duration,
    ) -> grpcio::Result<Answer> {
        let bytes = || Marshaller { ser: put, de: take };
        let method = Method { ty: MethodType::Unary, name, req_mar: bytes(), resp_mar: bytes() };
        let bytes = self.0.unary_call(&method, &request, CallOption::default().timeout(limit))?;
        Ok(Answer { message: answer, fields: decode(&bytes) })
    }
}

#[allow(clippy::ptr_arg)] // grpcio asks for this very type.
fn put(bytes: &Vec<u8>, out: &mut GrpcSlice) -> grpcio::Result<()> {
    *out = GrpcSlice::from(bytes.clone());
    Ok(())
}

fn take(mut message: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    message.read_to_end(&mut bytes).expect("a message is read from memory");
    Ok(bytes)
}

const GET: &str = "/connectionpool.ConnectionPoolService/GetConnection";
const RELEASE: &str = "/connectionpool.ConnectionPoolService/ReleaseConnection";
const STATS: &str = "/connectionpool.ConnectionPoolService/GetPoolStats";

#[test]
fn a_client_of_the_first_version_leases_reads_figures_and_releases() {
    let (service, tenant) = (Service::start(), tenant());
    let client = OldClient::of(&service);
    let ask = [("tenant_id", &*tenant.name), ("dsn", &*tenant.dsn)];
    let request = encode("ConnectionRequest", &ask);
    let granted = client.call(GET, "ConnectionResponse", request, harness::PATIENCE).unwrap();
    let id = granted.string("connection_id");
    assert!(id.starts_with(&format!("conn-{}-", tenant.name)));
    assert_eq!(granted.string("error"), "");

    let request = encode("StatsRequest", &[("tenant_id", &tenant.name)]);
    let stats = client.call(STATS, "StatsResponse", request, harness::PATIENCE).unwrap();
    assert_eq!(stats.number("active_connections", "int32"), 1);
    let total = stats.number("total_connections", "int32");
    assert!((1..=20).contains(&total), "{total}");
    assert!(stats.number("idle_connections", "int32") < total);
    assert_eq!(stats.string("error"), "");

    let request = encode("ConnectionRelease", &[("connection_id", &id)]);
    let released = client.call(RELEASE, "ReleaseResponse", request, harness::PATIENCE).unwrap();
    assert_eq!(released.number("success", "bool"), 1);
    assert_eq!(released.string("error"), "");
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_failure_reaches_a_client_of_the_first_version_as_a_status() {
    let service = Service::start();
    let client = OldClient::of(&service);
    let release = |id| encode("ConnectionRelease", &[("connection_id", id)]);
    for (path, answer, request, code, text) in [
        (
            GET,
            "ConnectionResponse",
            vec![],
            RpcStatusCode::INVALID_ARGUMENT,
            "tenant_id is required",
        ),
        (
            STATS,
            "StatsResponse",
            encode("StatsRequest", &[("tenant_id", "x")]),
            RpcStatusCode::NOT_FOUND,
            "pool not found for tenant x",
        ),
        (
            RELEASE,
            "ReleaseResponse",
            release("x"),
            RpcStatusCode::INVALID_ARGUMENT,
            "invalid connection ID",
        ),
        (
            RELEASE,
            "ReleaseResponse",
            release("conn-x-0123456789abcdef0123456789abcdef"),
            RpcStatusCode::NOT_FOUND,
            "connection not found",
        ),
    ] {
        let Err(grpcio::Error::RpcFailure(status)) =
            client.call(path, answer, request, harness::PATIENCE)
        else {
            panic!("{path}: not a status");
        };
        assert_eq!(status.code(), code);
        assert!(status.message().contains(text), "{}", status.message());
    }
}

#[test]
fn the_frozen_fields_still_stand_as_they_were_and_new_ones_begin_at_ten() {
    let current = std::fs::read_to_string(repository("proto/connection_pool.proto")).unwrap();
    let messages = FROZEN.lines().filter_map(|line| line.strip_prefix("message "));
    let messages: Vec<&str> = messages.map(|line| line.trim_end_matches(" {")).collect();
    assert_eq!(messages.len(), 6);
    for message in messages {
        let (old, mut new) = (fields(FROZEN, message), fields(&current, message));
        assert!(!old.is_empty(), "{message}");
        for (name, field) in old {
            assert_eq!(new.remove(&name), Some(field), "{message}.{name}");
        }
        for (name, (number, _)) in new {
            assert!(number >= 10, "{message}.{name} = {number}");
        }
    }
    for rpc in FROZEN.lines().filter(|line| line.trim().starts_with("rpc ")) {
        assert!(current.contains(rpc.trim()), "{rpc}");
    }
}
