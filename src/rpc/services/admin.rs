//! AdminService.

use grpcio::{DuplexSink, RequestStream, RpcContext};
use protobuf::Message;

use crate::core::access::Role;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::service::Service;
use crate::proto::admin::{
    GetTenantRequest, GetTenantResponse, ListBackendsRequest, ListBackendsResponse,
    ListLeasesRequest, ListLeasesResponse, ListTenantsRequest, ListTenantsResponse,
};
use crate::proto::admin_grpc::AdminService;
use crate::proto::{Raw, Shaped};
use crate::rpc::calls::reply;
use crate::rpc::convert;

/// Answers AdminService.
#[derive(Clone)]
pub(in crate::rpc) struct Admin(pub Service);

impl Admin {
    /// Answers a call that only looks.
    fn look<Q: Shaped, M: Message>(
        &self,
        ctx: &RpcContext<'_>,
        requests: RequestStream<Raw<Q>>,
        sink: DuplexSink<M>,
        work: impl FnOnce(&Service, Q) -> Result<M, Error> + Send + 'static,
    ) {
        reply::answer_now(&self.0, ctx, requests, sink, |service, request, caller| {
            caller.expect_role(Role::Observer)?;
            work(service, request)
        });
    }
}

impl AdminService for Admin {
    fn list_tenants(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListTenantsRequest>>,
        sink: DuplexSink<ListTenantsResponse>,
    ) {
        self.look(&ctx, requests, sink, |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after_tenant(&request.page_token)?;
            Ok(convert::admin::tenants(service.list_tenants(after.as_ref(), size)))
        });
    }

    fn get_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<GetTenantRequest>>,
        sink: DuplexSink<GetTenantResponse>,
    ) {
        self.look(&ctx, requests, sink, |service, request| {
            let tenant = TenantId::parse(&request.tenant_id)?;
            Ok(convert::admin::tenant(service.show_tenant(&tenant)?))
        });
    }

    fn list_leases(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListLeasesRequest>>,
        sink: DuplexSink<ListLeasesResponse>,
    ) {
        self.look(&ctx, requests, sink, |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after(&request.page_token)?;
            let tenant = convert::admin::tenant_or_all(&request.tenant_id)?;
            Ok(convert::admin::leases(service.list_leases(tenant.as_ref(), after, size)))
        });
    }

    fn list_backends(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListBackendsRequest>>,
        sink: DuplexSink<ListBackendsResponse>,
    ) {
        self.look(&ctx, requests, sink, |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after(&request.page_token)?;
            let tenant = TenantId::parse(&request.tenant_id)?;
            Ok(convert::admin::backends(service.list_backends(&tenant, after, size)?))
        });
    }
}
