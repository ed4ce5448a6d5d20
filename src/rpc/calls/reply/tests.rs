use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use grpcio::{
    CallOption, ChannelBuilder, DuplexSink, EnvBuilder, RpcStatusCode, ServerBuilder,
    ServerCredentials,
};

use crate::config::ServerConfig;
use crate::pool::context::Context;
use crate::pool::requests::responder::Responder;
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::proto::health_grpc::{create_health, Health, HealthClient};

/// Panics where a request says so; else answers with nothing.
#[derive(Clone)]
struct Panicking(Service, Arc<AtomicUsize>);

impl Health for Panicking {
    fn check(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: ClientStreamingSink<HealthCheckResponse>,
    ) {
        self.1.fetch_add(1, Ordering::SeqCst);
        let work = |_: &Service, request: HealthCheckRequest, _: &Arc<Caller>| {
            assert!(request.service != "handler", "injected");
            let (responder, answer) = Responder::new();
            responder.send(Ok(request.service));
            Ok(answer)
        };
        answer(&self.0, &ctx, requests, sink, work, |at| {
            assert!(at != "delivery", "injected");
            (HealthCheckResponse::default(), UntilTaken::default())
        });
    }

    fn list(
        &mut self,
        _: RpcContext<'_>,
        _: RequestStream<Raw<HealthListRequest>>,
        _: ClientStreamingSink<HealthListResponse>,
    ) {
    }

    fn watch(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: DuplexSink<HealthCheckResponse>,
    ) {
        self.1.fetch_add(1, Ordering::SeqCst);
        Call::serve(&self.0, &ctx, requests, sink, |call| async move {
            let _call = call;
            panic!("injected");
        });
    }
}

#[test]
fn a_panic_costs_its_call_and_not_the_thread_that_all_calls_need() {
    let service = Service::new(&Context::new(ServerConfig::default())).expect("OpenSSL");
    let served = Panicking(service, Arc::default());
    // One thread: were it lost, nobody would be answered any more.
    let env = Arc::new(EnvBuilder::new().cq_count(1).build());
    let mut server = ServerBuilder::new(Arc::clone(&env))
        .register_service(create_health(served.clone()))
        .build()
        .expect("a server");
    let insecure = ServerCredentials::insecure();
    let port = server.add_listening_port("127.0.0.1:0", insecure).expect("a port");
    server.start();
    let own = Arc::new(EnvBuilder::new().cq_count(1).build());
    let client = HealthClient::new(ChannelBuilder::new(own).connect(&format!("127.0.0.1:{port}")));
    // Never met but by a defect.
    let patience = || CallOption::default().timeout(std::time::Duration::from_secs(60));
    let ask = |at: &str| {
        let request =
            HealthCheckRequest { service: at.to_owned(), ..HealthCheckRequest::default() };
        match client.check(&request, patience()) {
            Ok(_) => RpcStatusCode::OK,
            Err(grpcio::Error::RpcFailure(status)) => status.code(),
            Err(other) => panic!("{other}"),
        }
    };
    for _ in 0..3 {
        assert_eq!(ask("handler"), RpcStatusCode::INTERNAL);
        assert_eq!(ask("delivery"), RpcStatusCode::CANCELLED);
        let mut watch = client.watch(&HealthCheckRequest::default(), patience()).expect("a stream");
        let ended = futures_executor::block_on(futures_util::StreamExt::next(&mut watch));
        assert!(matches!(ended, Some(Err(_)) | None));
        assert_eq!(ask(""), RpcStatusCode::OK);
    }
    assert_eq!(served.1.load(Ordering::SeqCst), 12);
}
