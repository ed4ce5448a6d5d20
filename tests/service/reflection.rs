//! gRPC's reflection: clients that have no files of ours.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use crate::harness::{python, says, tenant, Service, PATIENCE};
use connection_pool_manager::proto::reflection::server_reflection_request::Message_request as Asked;
use connection_pool_manager::proto::reflection::server_reflection_response::Message_response as Answered;
use connection_pool_manager::proto::reflection::{
    ServerReflectionRequest, ServerReflectionResponse,
};
use connection_pool_manager::proto::reflection_grpc::{
    ServerReflectionAlphaClient, ServerReflectionClient,
};
use connection_pool_manager::proto::METHODS;
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{
    CallOption, Channel, ChannelBuilder, ClientDuplexReceiver, ClientDuplexSender, EnvBuilder,
    Environment, RpcStatusCode, WriteFlags,
};

/// One stream of the service.
struct Stream {
    requests: ClientDuplexSender<ServerReflectionRequest>,
    responses: ClientDuplexReceiver<ServerReflectionResponse>,
    /// Without them nothing answers.
    _channel: (Channel, Arc<Environment>),
}

fn options() -> CallOption {
    CallOption::default().timeout(5 * PATIENCE)
}

type Halves =
    (ClientDuplexSender<ServerReflectionRequest>, ClientDuplexReceiver<ServerReflectionResponse>);

impl Stream {
    fn over(service: &Service, open: impl FnOnce(Channel) -> grpcio::Result<Halves>) -> Stream {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let address = format!("127.0.0.1:{}", service.port);
        let channel = ChannelBuilder::new(Arc::clone(&environment)).connect(&address);
        let (requests, responses) = open(channel.clone()).unwrap();
        Stream { requests, responses, _channel: (channel, environment) }
    }

    fn open(service: &Service) -> Stream {
        Stream::over(service, |channel| {
            ServerReflectionClient::new(channel).server_reflection_info(options())
        })
    }

    fn open_alpha(service: &Service) -> Stream {
        Stream::over(service, |channel| {
            ServerReflectionAlphaClient::new(channel).server_reflection_info(options())
        })
    }

    fn send(&mut self, asked: Option<Asked>) {
        let request = ServerReflectionRequest {
            message_request: asked,
            ..ServerReflectionRequest::default()
        };
        // A stream may have ended by the time that it is sent; the answer says so.
        let _ = block_on(self.requests.send((request, WriteFlags::default())));
    }

    fn ask(&mut self, asked: Asked) -> Answered {
        self.send(Some(asked.clone()));
        let response = block_on(self.responses.next()).expect("it goes on").unwrap();
        assert_eq!(response.original_request.message_request, Some(asked));
        response.message_response.unwrap()
    }

    /// The status that ends it.
    fn fails(mut self) -> (RpcStatusCode, String) {
        match block_on(self.responses.next()) {
            Some(Err(grpcio::Error::RpcFailure(status))) => {
                (status.code(), status.message().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn listed(stream: &mut Stream) -> BTreeSet<String> {
    match stream.ask(Asked::ListServices(String::new())) {
        Answered::ListServicesResponse(all) => {
            all.service.into_iter().map(|one| one.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_versions_list_every_service_and_serve_the_files_of_each_method() {
    let service = Service::with(&["--insecure"]);
    let named = |method: &str| method[1..].replace('/', ".");
    let served: BTreeSet<String> =
        METHODS.iter().map(|method| named(method).rsplit_once('.').unwrap().0.to_owned()).collect();
    for open in [Stream::open, Stream::open_alpha] {
        let mut stream = open(&service);
        assert_eq!(listed(&mut stream), served);
        for method in METHODS {
            match stream.ask(Asked::FileContainingSymbol(named(method))) {
                Answered::FileDescriptorResponse(files) => {
                    assert!(!files.file_descriptor_proto.is_empty(), "{method}");
                }
                other => panic!("{method}: {other:?}"),
            }
        }
        // The call may have ended before the end of this half is told, which is an error here.
        let _ = block_on(stream.requests.close());
        assert!(block_on(stream.responses.next()).is_none(), "it ends well");
    }
}

#[test]
fn an_unknown_name_is_not_found_and_a_bad_request_ends_its_stream() {
    let service = Service::with(&["--insecure"]);
    let mut stream = Stream::open(&service);
    let unknown = || "connectionpool.Nothing".to_owned();
    for asked in [
        Asked::FileByFilename("../../etc/passwd".to_owned()),
        Asked::FileContainingSymbol(unknown()),
        Asked::FileContainingExtension(Default::default()),
        Asked::AllExtensionNumbersOfType(unknown()),
    ] {
        match stream.ask(asked) {
            Answered::ErrorResponse(error) => {
                assert_eq!(error.error_code, i32::from(RpcStatusCode::NOT_FOUND));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(listed(&mut stream).len() > 3, "the stream goes on");
    let long = Some(Asked::FileContainingSymbol("a".repeat(1025)));
    for (asked, field) in [(long, "file_containing_symbol"), (None, "message_request")] {
        let mut stream = Stream::open(&service);
        stream.send(asked);
        let (code, why) = stream.fails();
        assert_eq!(code, RpcStatusCode::INVALID_ARGUMENT);
        assert!(why.contains(field), "{why}");
    }
}

#[test]
fn reflection_can_be_switched_off() {
    let service = Service::with(&["--insecure", "--no-reflection"]);
    for open in [Stream::open, Stream::open_alpha] {
        assert_eq!(open(&service).fails().0, RpcStatusCode::UNIMPLEMENTED);
    }
}

/// Types from the server's own answers, and a call with them.
const PROGRAM: &str = r#"
import sys
import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
types = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

def call(service, method, **fields):
    described = types.FindServiceByName(service).FindMethodByName(method)
    request, response = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
    stub = channel.unary_unary(f"/{service}/{method}", request.SerializeToString, response.FromString)
    return stub(request(**fields))

lease = call("connectionpool.ConnectionPoolService", "GetConnection", tenant_id=sys.argv[2], dsn=sys.argv[3])
answer = call("connectionpool.SqlService", "Execute", connection_id=lease.connection_id,
              statements=[{"sql": "select 6 * 7"}])
print(answer.results[0].rows[0].values[0].int)
call("connectionpool.ConnectionPoolService", "ReleaseConnection", connection_id=lease.connection_id)
"#;

#[test]
fn a_python_client_without_files_of_ours_leases_and_runs_sql() {
    let (service, tenant) = (Service::with(&["--insecure"]), tenant());
    let mut program: Command = python();
    let address = format!("127.0.0.1:{}", service.port);
    let out = program.args(["-c", PROGRAM, &address, &tenant.name, &tenant.dsn]).output().unwrap();
    assert!(out.status.success(), "{}", says(&out));
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "42\n");
    service.wait_quiet(&tenant.name);
}
