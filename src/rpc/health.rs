//! The standard health service.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_util::{Sink, SinkExt, Stream};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, WriteFlags};

use crate::pool::service::Service;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::proto::health_grpc::Health;
use crate::rpc::reply;

/// The server as a whole, and its services by their full names.
const NAMES: [&str; 3] = ["", "connectionpool.ConnectionPoolService", "connectionpool.SqlService"];

/// Answers grpc.health.v1.Health, from what readiness is told by too.
#[derive(Clone)]
pub(super) struct Standard(pub Service);

impl Standard {
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

impl Health for Standard {
    fn check(
        &mut self,
        ctx: RpcContext<'_>,
        request: HealthCheckRequest,
        sink: ServerStreamingSink<HealthCheckResponse>,
    ) {
        match self.status(&request.service) {
            Some(status) => reply::answer_now(&ctx, sink, || Ok(response(status))),
            None => {
                let unknown = "there is no service of this name".to_owned();
                let status = RpcStatus::with_message(RpcStatusCode::NOT_FOUND, unknown);
                ctx.spawn(async move {
                    // The caller may have left.
                    let _ = sink.fail(status).await;
                });
            }
        }
    }

    fn list(
        &mut self,
        ctx: RpcContext<'_>,
        _: HealthListRequest,
        sink: ServerStreamingSink<HealthListResponse>,
    ) {
        reply::answer_now(&ctx, sink, || {
            let known = |name: &str| Some((name.to_owned(), response(self.status(name)?)));
            let statuses = NAMES.into_iter().filter_map(known).collect();
            Ok(HealthListResponse { statuses, ..HealthListResponse::default() })
        });
    }

    fn watch(
        &mut self,
        ctx: RpcContext<'_>,
        request: HealthCheckRequest,
        sink: ServerStreamingSink<HealthCheckResponse>,
    ) {
        // Watches before it looks, so that no change falls in between.
        let changes = self.0.context().serving.watch();
        let watcher = self.clone();
        reply::spawn(&ctx, async move {
            // It ends when its caller leaves, or with the server.
            let _ = watcher.tell(&request.service, sink, changes).await;
        });
    }
}

impl Standard {
    async fn tell(
        &self,
        name: &str,
        mut sink: ServerStreamingSink<HealthCheckResponse>,
        mut changes: futures_channel::mpsc::Receiver<()>,
    ) -> grpcio::Result<()> {
        let mut told = None;
        loop {
            let now = self.status(name).unwrap_or(ServingStatus::SERVICE_UNKNOWN);
            if told != Some(now) {
                sink.send((response(now), WriteFlags::default())).await?;
                told = Some(now);
            }
            poll_fn(|cx| match Pin::new(&mut sink).poll_ready(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Pin::new(&mut changes).poll_next(cx).map(|_| Ok(())),
            })
            .await?;
        }
    }
}
