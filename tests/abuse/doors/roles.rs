//! Who only looks, and who has no role, has nothing done.

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    CheckTenantRequest, ListTenantsRequest, PauseTenantRequest, PutTenantRequest,
    ReconnectTenantRequest, ReloadRequest, RemoveTenantRequest, ResizeTenantRequest,
    ResumeTenantRequest, RevokeLeaseRequest, SetLogLevelRequest,
};
use connection_pool_manager::proto::connection_pool::TenantState;

use crate::harness::{code, refused, tenant, Administered, Operator, Tenant};

/// Tries every action on this tenant and this lease.
fn acts(by: &Operator, tenant: &Tenant, lease_name: &str) -> Vec<Result<(), CallError>> {
    macro_rules! tries {
        ($($call:ident $request:ident { $($field:ident: $value:expr),* };)*) => {
            vec![$({
                let request = $request { $($field: $value,)* ..$request::default() };
                by.ask(|stub, option| stub.$call(&request, option)).map(drop)
            }),*]
        };
    }
    let name = || tenant.name.clone();
    tries! {
        pause_tenant PauseTenantRequest { tenant_id: name() };
        resume_tenant ResumeTenantRequest { tenant_id: name() };
        reconnect_tenant ReconnectTenantRequest { tenant_id: name() };
        resize_tenant ResizeTenantRequest { tenant_id: name(), max_connections: 1 };
        check_tenant CheckTenantRequest { tenant_id: name() };
        put_tenant PutTenantRequest { tenant_id: name(), anonymous: true };
        put_tenant PutTenantRequest {
            tenant_id: "another".to_owned(), dsn: tenant.dsn.clone(), anonymous: true
        };
        remove_tenant RemoveTenantRequest { tenant_id: name(), end_leases: true };
        revoke_lease RevokeLeaseRequest { lease_name: lease_name.to_owned() };
        reload ReloadRequest {};
        set_log_level SetLogLevelRequest { level: "off".to_owned() };
        // What is asked for badly is refused for the same reason.
        pause_tenant PauseTenantRequest { tenant_id: "not a tenant".to_owned() };
        resize_tenant ResizeTenantRequest { tenant_id: name(), max_connections: -1 };
        revoke_lease RevokeLeaseRequest {};
    }
}

#[test]
fn an_observer_and_a_caller_without_a_role_have_nothing_done() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(3));
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    for (by, code, reason) in [
        (service.operator("eyes"), code::PERMISSION_DENIED, "PERMISSION_DENIED"),
        (service.operator("shop"), code::PERMISSION_DENIED, "PERMISSION_DENIED"),
        (service.stranger(), code::UNAUTHENTICATED, "UNAUTHENTICATED"),
    ] {
        for answer in acts(&by, &tenant, &lease.lease.lease_name) {
            let error = refused(answer);
            assert_eq!((error.code, &*error.reason), (code, reason), "{error}");
            assert!(!error.message.contains(&tenant.name), "{error}");
        }
    }
    let stats = client.stats(&tenant.name).unwrap();
    assert_eq!((stats.max_connections, stats.leases), (3, 1));
    assert_ne!(stats.state.enum_value(), Ok(TenantState::TENANT_STATE_PAUSED));
    client.run(&lease.connection_id, &["select 1"]).expect("the lease goes on");
    let eyes = service.operator("eyes");
    let asked = ListTenantsRequest::default();
    let seen = eyes.ask(|stub, option| stub.list_tenants(&asked, option)).expect("it may look");
    let names: Vec<_> = seen.tenants.iter().map(|one| (&*one.tenant_id, one.changed)).collect();
    assert_eq!(names, [(&*tenant.name, false)]);
    let text = service.log().text();
    let done = |line: &&str| {
        line.contains("event=admin ") && !line.ends_with(" outcome=permission_denied")
    };
    assert_eq!(text.lines().find(done), None, "nothing was done");
}
