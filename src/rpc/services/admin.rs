//! AdminService.

mod ways;

use grpcio::{ClientStreamingSink, RequestStream, RpcContext};

use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::service::Service;
use crate::proto::admin::{
    CheckTenantRequest, CheckTenantResponse, GetTenantRequest, GetTenantResponse,
    ListBackendsRequest, ListBackendsResponse, ListLeasesRequest, ListLeasesResponse,
    ListTenantsRequest, ListTenantsResponse, PauseTenantRequest, PauseTenantResponse,
    PutTenantRequest, PutTenantResponse, ReconnectTenantRequest, ReconnectTenantResponse,
    ReloadRequest, ReloadResponse, RemoveTenantRequest, RemoveTenantResponse, ResizeTenantRequest,
    ResizeTenantResponse, ResumeTenantRequest, ResumeTenantResponse, RevokeLeaseRequest,
    RevokeLeaseResponse, SetLogLevelRequest, SetLogLevelResponse,
};
use crate::proto::admin_grpc::AdminService;
use crate::proto::Raw;
use crate::rpc::calls::reply;
use crate::rpc::calls::reply::UntilTaken;
use crate::rpc::convert;

/// Answers AdminService.
#[derive(Clone)]
pub(in crate::rpc) struct Admin(pub Service);

impl AdminService for Admin {
    fn list_tenants(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListTenantsRequest>>,
        sink: ClientStreamingSink<ListTenantsResponse>,
    ) {
        self.look((&ctx, requests, sink), "list_tenants", |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after_tenant(&request.page_token)?;
            Ok(convert::admin::tenants(service.list_tenants(after.as_ref(), size)))
        });
    }

    fn get_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<GetTenantRequest>>,
        sink: ClientStreamingSink<GetTenantResponse>,
    ) {
        self.look((&ctx, requests, sink), "get_tenant", |service, request| {
            let tenant = TenantId::parse(&request.tenant_id)?;
            Ok(convert::admin::tenant(service.show_tenant(&tenant)?))
        });
    }

    fn list_leases(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListLeasesRequest>>,
        sink: ClientStreamingSink<ListLeasesResponse>,
    ) {
        self.look((&ctx, requests, sink), "list_leases", |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after(&request.page_token)?;
            let tenant = convert::admin::tenant_or_all(&request.tenant_id)?;
            Ok(convert::admin::leases(service.list_leases(tenant.as_ref(), after, size)?))
        });
    }

    fn list_backends(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListBackendsRequest>>,
        sink: ClientStreamingSink<ListBackendsResponse>,
    ) {
        self.look((&ctx, requests, sink), "list_backends", |service, request| {
            let size = convert::admin::page_size(request.page_size)?;
            let after = convert::admin::after(&request.page_token)?;
            let tenant = TenantId::parse(&request.tenant_id)?;
            Ok(convert::admin::backends(service.list_backends(&tenant, after, size)?))
        });
    }

    fn pause_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<PauseTenantRequest>>,
        sink: ClientStreamingSink<PauseTenantResponse>,
    ) {
        let read = |request: &PauseTenantRequest| {
            Ok((tenant(&request.tenant_id)?, convert::admin_actions::pause(request.mode)?))
        };
        self.change((&ctx, requests, sink), "pause", read, |service, (tenant, mode)| {
            let after = service.pause(&tenant, mode)?;
            Ok(PauseTenantResponse {
                tenant: Some(convert::admin::summary(&after)).into(),
                ..PauseTenantResponse::default()
            })
        });
    }

    fn resume_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ResumeTenantRequest>>,
        sink: ClientStreamingSink<ResumeTenantResponse>,
    ) {
        let read = |request: &ResumeTenantRequest| tenant(&request.tenant_id);
        self.change((&ctx, requests, sink), "resume", read, |service, tenant| {
            let after = service.resume(&tenant)?;
            Ok(ResumeTenantResponse {
                tenant: Some(convert::admin::summary(&after)).into(),
                ..ResumeTenantResponse::default()
            })
        });
    }

    fn reconnect_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ReconnectTenantRequest>>,
        sink: ClientStreamingSink<ReconnectTenantResponse>,
    ) {
        let read = |request: &ReconnectTenantRequest| tenant(&request.tenant_id);
        self.act((&ctx, requests, sink), "reconnect", read, |service, tenant| {
            let after = service.reconnect(&tenant)?;
            Ok(ReconnectTenantResponse {
                tenant: Some(convert::admin::summary(&after)).into(),
                ..ReconnectTenantResponse::default()
            })
        });
    }

    fn resize_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ResizeTenantRequest>>,
        sink: ClientStreamingSink<ResizeTenantResponse>,
    ) {
        let read = |request: &ResizeTenantRequest| {
            let size = convert::admin_actions::size(request.max_connections)?;
            Ok((tenant(&request.tenant_id)?, size))
        };
        self.change((&ctx, requests, sink), "resize", read, |service, (tenant, size)| {
            let after = service.resize(&tenant, size)?;
            Ok(ResizeTenantResponse {
                tenant: Some(convert::admin::summary(&after)).into(),
                ..ResizeTenantResponse::default()
            })
        });
    }

    fn check_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<CheckTenantRequest>>,
        sink: ClientStreamingSink<CheckTenantResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, caller| {
                let service = service.administer(caller, "check")?;
                let tenant = service.read("check", tenant(&request.tenant_id))?;
                service.check(&tenant)
            },
            |checked| (convert::admin_actions::checked(checked), UntilTaken::default()),
        );
    }

    fn revoke_lease(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<RevokeLeaseRequest>>,
        sink: ClientStreamingSink<RevokeLeaseResponse>,
    ) {
        let read = |request: &RevokeLeaseRequest| {
            convert::admin_actions::lease_name(&request.lease_name).map(str::to_owned)
        };
        self.act((&ctx, requests, sink), "revoke", read, |service, name| {
            Ok(convert::admin_actions::revoked(service.revoke(&name)?))
        });
    }

    fn set_log_level(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<SetLogLevelRequest>>,
        sink: ClientStreamingSink<SetLogLevelResponse>,
    ) {
        let read = |request: &SetLogLevelRequest| Ok(request.level.clone());
        self.change((&ctx, requests, sink), "set_log_level", read, |service, level| {
            service.set_log_level(&level)?;
            Ok(SetLogLevelResponse::default())
        });
    }

    fn remove_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<RemoveTenantRequest>>,
        sink: ClientStreamingSink<RemoveTenantResponse>,
    ) {
        let read =
            |request: &RemoveTenantRequest| Ok((tenant(&request.tenant_id)?, request.end_leases));
        self.change((&ctx, requests, sink), "remove", read, |service, (tenant, end_leases)| {
            let leases = service.remove(&tenant, end_leases)?;
            Ok(convert::admin_actions::removed(leases))
        });
    }

    fn put_tenant(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<PutTenantRequest>>,
        sink: ClientStreamingSink<PutTenantResponse>,
    ) {
        let read = convert::admin_actions::put;
        self.change((&ctx, requests, sink), "put", read, |service, (tenant, put)| {
            let (after, created) = service.put(&tenant, &put)?;
            Ok(PutTenantResponse {
                tenant: Some(convert::admin::summary(&after)).into(),
                created,
                ..PutTenantResponse::default()
            })
        });
    }

    fn reload(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ReloadRequest>>,
        sink: ClientStreamingSink<ReloadResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, _, caller| Ok(service.administer(caller, "reload")?.reload()),
            |reloaded| (convert::admin_actions::reloaded(reloaded), UntilTaken::default()),
        );
    }
}

/// A parsed `tenant_id`.
fn tenant(id: &str) -> Result<TenantId, RequestError> {
    Ok(TenantId::parse(id)?)
}
