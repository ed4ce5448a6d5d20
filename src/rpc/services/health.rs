//! The standard health service of gRPC, grpc.health.v1.

use std::future::poll_fn;
use std::task::{ready, Poll};

use grpcio::{
    ClientStreamingSink, DuplexSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode,
};

use crate::core::watchers::TooManyWatchers;
use crate::pool::service::Service;
use crate::pool::serving::HealthWatcher;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::proto::health_grpc::Health;
use crate::proto::Raw;
use crate::rpc::calls::entry::{Call, CallEnd};

/// The server as a whole, and its services by their full names.
const NAMES: [&str; 4] = [
    "",
    "connectionpool.ConnectionPoolService",
    "connectionpool.SqlService",
    "connectionpool.AdminService",
];

/// Answers grpc.health.v1.Health, from the same state as readiness. It answers everybody: load
/// balancers and probes have no identity.
#[derive(Clone)]
pub(in crate::rpc) struct HealthService(pub Service);

impl HealthService {
    fn status(&self, name: &str) -> Option<ServingStatus> {
        NAMES.contains(&name).then(|| match self.0.health().is_ready() {
            true => ServingStatus::SERVING,
            false => ServingStatus::NOT_SERVING,
        })
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into(), ..HealthCheckResponse::default() }
}

impl Health for HealthService {
    fn check(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: ClientStreamingSink<HealthCheckResponse>,
    ) {
        let health = self.clone();
        Call::serve_anybody(&self.0, &ctx, requests, sink, |mut call| async move {
            match call.request(move |request, _| Ok(health.status(&request.service))).await {
                Ok(Some(status)) => drop(call.finish(response(status)).await),
                Ok(None) => {
                    let unknown = "there is no service of this name".to_owned();
                    call.fail(RpcStatus::with_message(RpcStatusCode::NOT_FOUND, unknown)).await;
                }
                Err(ended) => call.end(ended).await,
            }
        });
    }

    fn list(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthListRequest>>,
        sink: ClientStreamingSink<HealthListResponse>,
    ) {
        let health = self.clone();
        Call::serve_anybody(&self.0, &ctx, requests, sink, |mut call| async move {
            let known = |name: &str| Some((name.to_owned(), response(health.status(name)?)));
            match call.request(|_, _| Ok(())).await {
                Ok(()) => {
                    let statuses = NAMES.into_iter().filter_map(known).collect();
                    let all = HealthListResponse { statuses, ..HealthListResponse::default() };
                    call.finish(all).await;
                }
                Err(ended) => call.end(ended).await,
            }
        });
    }

    fn watch(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: DuplexSink<HealthCheckResponse>,
    ) {
        let health = self.clone();
        Call::serve_anybody(&self.0, &ctx, requests, sink, |mut call| async move {
            // It ends when its caller leaves, with the server, or where there are too many.
            match health.watched(&mut call).await {
                WatchEnd::Call(ended) => call.end(ended).await,
                WatchEnd::TooMany(which) => {
                    let status = RpcStatusCode::RESOURCE_EXHAUSTED;
                    call.fail(RpcStatus::with_message(status, which.to_string())).await;
                }
            }
        });
    }
}

/// Why a `Watch` ends.
enum WatchEnd {
    Call(CallEnd),
    TooMany(TooManyWatchers),
}

impl From<CallEnd> for WatchEnd {
    fn from(ended: CallEnd) -> WatchEnd {
        WatchEnd::Call(ended)
    }
}

impl From<TooManyWatchers> for WatchEnd {
    fn from(which: TooManyWatchers) -> WatchEnd {
        WatchEnd::TooMany(which)
    }
}

type WatchCall = Call<HealthCheckRequest, DuplexSink<HealthCheckResponse>>;

impl HealthService {
    /// Sends the status and its changes until the call ends.
    async fn watched(&self, call: &mut WatchCall) -> WatchEnd {
        let context = self.0.context();
        // Before anything is read, so that one that asks for nothing counts too.
        let (_, most) = context.port.clients();
        let watcher = match context.serving.watch(call.caller.peer().id(), most) {
            Ok(watcher) => watcher,
            Err(which) => return which.into(),
        };
        match call.request(|request, _| Ok(request.service)).await {
            Ok(name) => self.send_changes(&name, &watcher, call).await,
            Err(ended) => ended.into(),
        }
    }

    async fn send_changes(
        &self,
        name: &str,
        watcher: &HealthWatcher,
        call: &mut WatchCall,
    ) -> WatchEnd {
        let mut sent = None;
        loop {
            let now = self.status(name).unwrap_or(ServingStatus::SERVICE_UNKNOWN);
            if sent != Some(now) {
                if let Err(ended) = call.send(response(now)) {
                    return ended.into();
                }
                sent = Some(now);
            }
            // While there is no room for another, it is not looked for.
            let changed = poll_fn(|cx| match ready!(call.poll_room(cx, 1)) {
                Ok(()) => watcher.poll_change(cx).map_err(WatchEnd::from),
                Err(ended) => Poll::Ready(Err(ended.into())),
            });
            if let Err(ended) = changed.await {
                return ended;
            }
        }
    }
}
