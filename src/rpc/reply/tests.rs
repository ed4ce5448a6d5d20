use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use grpcio::{
    CallOption, ChannelBuilder, EnvBuilder, RpcStatusCode, ServerBuilder, ServerCredentials,
};

use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::proto::health_grpc::{create_health, Health, HealthClient};

/// Panics where a request says so; else answers with nothing.
#[derive(Clone, Default)]
struct Panicking(Arc<AtomicUsize>);

impl Health for Panicking {
    fn check(
        &mut self,
        ctx: RpcContext<'_>,
        request: HealthCheckRequest,
        sink: ServerStreamingSink<HealthCheckResponse>,
    ) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let at = request.service;
        let in_handler = at == "handler";
        let work = move |_: &Arc<Caller>| {
            assert!(!in_handler, "injected");
            let (reply, answer) = Reply::new();
            reply.send(Ok(()));
            Ok(answer)
        };
        answer(&ctx, sink, Caller::nobody(), work, move |()| {
            assert!(at != "delivery", "injected");
            (HealthCheckResponse::default(), None)
        });
    }

    fn list(
        &mut self,
        _: RpcContext<'_>,
        _: HealthListRequest,
        _: ServerStreamingSink<HealthListResponse>,
    ) {
    }

    fn watch(
        &mut self,
        ctx: RpcContext<'_>,
        _: HealthCheckRequest,
        sink: ServerStreamingSink<HealthCheckResponse>,
    ) {
        spawn(&ctx, async move {
            let _sink = sink;
            panic!("injected");
        });
    }
}

#[test]
fn a_panic_costs_its_call_and_not_the_thread_that_all_calls_need() {
    let served = Panicking::default();
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
    assert_eq!(served.0.load(Ordering::SeqCst), 9);
}
