//! ConnectionPoolService.

use grpcio::{ClientStreamingSink, RequestStream, RpcContext};

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
use crate::rpc::calls::reply::UntilTaken;
use crate::rpc::convert;

/// Answers ConnectionPoolService.
#[derive(Clone)]
pub(in crate::rpc) struct ConnectionPool(pub Service);

impl ConnectionPoolService for ConnectionPool {
    fn get_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionRequest>>,
        sink: ClientStreamingSink<ConnectionResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, caller| {
                let live = service.context().live();
                let asked = convert::lease::acquire(
                    request,
                    &live.limits.clocks,
                    &service.dsns(caller),
                    caller,
                )?;
                service.acquire(&asked.target, asked.ask, asked.request, asked.wait, caller)
            },
            |grant| {
                let response = convert::lease::granted(&grant);
                let undelivered = Some(grant.undelivered);
                (response, UntilTaken { undelivered, ..UntilTaken::default() })
            },
        );
    }

    fn release_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionRelease>>,
        sink: ClientStreamingSink<ReleaseResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, caller| {
                let id = convert::fields::connection_id(&request.connection_id)?;
                Ok(service.release(id, request.force, caller))
            },
            |release| (convert::lease::released(release), UntilTaken::default()),
        );
    }

    fn get_pool_stats(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<StatsRequest>>,
        sink: ClientStreamingSink<StatsResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request, caller| {
            let tenant = TenantId::parse(&request.tenant_id)?;
            Ok(convert::health::stats(&service.look(&tenant, caller)?))
        });
    }

    fn renew_connection(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<RenewRequest>>,
        sink: ClientStreamingSink<RenewResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request, caller| {
            let id = convert::fields::connection_id(&request.connection_id)?;
            let live = service.context().live();
            Ok(convert::lease::renewed(&service.renew(
                id,
                convert::lease::ttl(&request, &live.limits.clocks)?,
                caller,
            )?))
        });
    }

    fn health_check(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<HealthCheckRequest>>,
        sink: ClientStreamingSink<HealthCheckResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request, caller| {
            convert::health::check(&service.health_for(caller), &request.tenant_id, |tenant| {
                service.expect_visible(tenant, caller)
            })
        });
    }

    fn get_connection_pool_metrics(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ConnectionPoolMetricsRequest>>,
        sink: ClientStreamingSink<ConnectionPoolMetricsResponse>,
    ) {
        reply::answer_now(&self.0, &ctx, requests, sink, |service, request, caller| {
            convert::health::metrics(&service.health_for(caller), &request.tenant_id, |tenant| {
                service.expect_visible(tenant, caller)
            })
        });
    }
}
