//! ConnectionPoolService.

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::core::ids::TenantId;
use crate::pool::service::Service;
use crate::proto::connection_pool::{
    ConnectionPoolMetricsRequest, ConnectionPoolMetricsResponse, ConnectionRelease,
    ConnectionRequest, ConnectionResponse, HealthCheckRequest, HealthCheckResponse,
    ReleaseResponse, RenewRequest, RenewResponse, StatsRequest, StatsResponse,
};
use crate::proto::connection_pool_grpc::ConnectionPoolService;
use crate::proto::Raw;
use crate::rpc::calls::reply;
use crate::rpc::calls::reply::Kept;
use crate::rpc::convert;

/// Answers ConnectionPoolService.
#[derive(Clone)]
pub(in crate::rpc) struct ConnectionPool(pub Service);

impl ConnectionPoolService for ConnectionPool {
    fn get_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionRequest>>,
        sink: DuplexSink<ConnectionResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, caller| {
                let asked = convert::lease::acquire(request, caller.peer())?;
                service.acquire(&asked.target, asked.ask, asked.request, asked.wait, caller)
            },
            |grant| {
                let response = ConnectionResponse {
                    connection_id: grant.id.reveal().to_owned(),
                    lease: Some(convert::lease::lease(&grant.view)).into(),
                    ..ConnectionResponse::default()
                };
                (response, Kept { undelivered: Some(grant.undelivered), ..Kept::default() })
            },
        );
    }

    fn release_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionRelease>>,
        sink: DuplexSink<ReleaseResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, _| {
                let id = convert::fields::connection_id(&request.connection_id)?;
                Ok(service.release(id, request.force))
            },
            |release| {
                let (outcome, reason) = convert::lease::outcome(release);
                let response = ReleaseResponse {
                    success: true,
                    outcome: outcome.into(),
                    end_reason: convert::lease::end_reason(reason).into(),
                    ..ReleaseResponse::default()
                };
                (response, Kept::default())
            },
        );
    }

    fn get_pool_stats(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<StatsRequest>>,
        sink: DuplexSink<StatsResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request| {
            let tenant = TenantId::parse(&request.tenant_id)?;
            let (figures, leases) = service.figures(&tenant)?;
            let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
            let active = figures.open.saturating_sub(figures.idle + figures.opening);
            Ok(StatsResponse {
                active_connections: number(active),
                idle_connections: number(figures.idle),
                total_connections: number(figures.open),
                max_connections: number(figures.max),
                opening: number(figures.opening),
                waiting: number(figures.waiting),
                leases: number(leases),
                acquire_count: i64::try_from(figures.acquired).unwrap_or(i64::MAX),
                acquire_wait_total: Some(convert::fields::duration(figures.waited)).into(),
                state: convert::health::tenant_state(figures.state).into(),
                breaker_state: convert::health::breaker(figures.breaker).into(),
                ..StatsResponse::default()
            })
        });
    }

    fn renew_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<RenewRequest>>,
        sink: DuplexSink<RenewResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request| {
            let id = convert::fields::connection_id(&request.connection_id)?;
            let view = service.renew(&id, convert::lease::ttl(&request)?)?;
            Ok(RenewResponse {
                ttl: Some(convert::fields::duration(view.ttl)).into(),
                lifetime_remaining: Some(convert::fields::duration(view.lifetime_remaining)).into(),
                ..RenewResponse::default()
            })
        });
    }

    fn health_check(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: DuplexSink<HealthCheckResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request| {
            convert::health::check(&service.health(), &request.tenant_id)
        });
    }

    fn get_connection_pool_metrics(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionPoolMetricsRequest>>,
        sink: DuplexSink<ConnectionPoolMetricsResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request| {
            convert::health::metrics(&service.health(), &request.tenant_id)
        });
    }
}
