//! AdminService: who may look, and what is seen.

use std::collections::BTreeSet;

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    BackendState, GetTenantRequest, ListBackendsRequest, ListLeasesRequest, ListTenantsRequest,
};
use connection_pool_manager::proto::connection_pool::TenantState;

use crate::harness::{code, eventually, refused, tenant, Administered, Operator, Service, Tenant};

fn of_tenant(tenant_id: &str) -> GetTenantRequest {
    GetTenantRequest { tenant_id: tenant_id.to_owned(), ..GetTenantRequest::default() }
}

fn backends_of(tenant_id: &str) -> ListBackendsRequest {
    ListBackendsRequest { tenant_id: tenant_id.to_owned(), ..ListBackendsRequest::default() }
}

/// Makes every call that looks, about this tenant.
fn looks(by: &Operator, tenant: &str) -> Vec<(&'static str, Result<(), CallError>)> {
    let (tenants, leases) = (ListTenantsRequest::default(), ListLeasesRequest::default());
    vec![
        ("ListTenants", by.ask(|stub, option| stub.list_tenants(&tenants, option)).map(drop)),
        ("GetTenant", by.ask(|stub, option| stub.get_tenant(&of_tenant(tenant), option)).map(drop)),
        ("ListLeases", by.ask(|stub, option| stub.list_leases(&leases, option)).map(drop)),
        (
            "ListBackends",
            by.ask(|stub, option| stub.list_backends(&backends_of(tenant), option)).map(drop),
        ),
    ]
}

#[test]
fn only_a_role_lets_a_caller_look_and_without_identities_nobody_has_one() {
    let (open, service) = (Service::start(), Administered::start());
    let tenant = tenant();
    let lease = service.lease(&tenant);
    let shop = service.operator("shop");
    // Nor does anybody learn which tenants there are, or what a request must be.
    for name in [&tenant.name, "nobody", "not a tenant"] {
        for (caller, code, reason) in [
            (&open.stranger(), 16, "UNAUTHENTICATED"),
            (&service.stranger(), 16, "UNAUTHENTICATED"),
            (&shop, code::PERMISSION_DENIED, "PERMISSION_DENIED"),
        ] {
            for (call, answer) in looks(caller, name) {
                let error = refused(answer);
                assert_eq!((error.code, &*error.reason), (code, reason), "{call} {name}: {error}");
            }
        }
    }
    for role in ["ops", "eyes"] {
        for (call, answer) in looks(&service.operator(role), &tenant.name) {
            answer.unwrap_or_else(|error| panic!("{call} as {role}: {error}"));
        }
    }
    lease.run(&["select 1"]);
}

#[test]
fn a_tenant_its_leases_and_its_connections_are_shown_without_a_secret() {
    let service = Administered::start();
    let tenant = tenant().pool_of(4);
    let (held, other) = (service.lease(&tenant), service.lease(&tenant));
    held.run(&["begin", "select 1"]);
    other.release();
    service.wait_stats(&tenant.name, "one rests", |stats| stats.idle_connections == 1);
    let eyes = service.operator("eyes");
    let shown = eyes.ask(|stub, option| stub.get_tenant(&of_tenant(&tenant.name), option)).unwrap();
    let (numbers, settings) = (&shown.tenant, &shown.settings);
    assert_eq!(numbers.state.enum_value(), Ok(TenantState::TENANT_STATE_ACTIVE));
    assert_eq!(
        (numbers.max_connections, numbers.open_connections, numbers.idle_connections),
        (4, 2, 1)
    );
    assert_eq!((numbers.in_use, numbers.waiting, numbers.leases), (1, 0, 1));
    assert_eq!((settings.max_connections, settings.min_connections), (4, 0));
    assert_eq!((shown.database.as_str(), shown.user.as_str()), (&*tenant.name, &*tenant.name));
    assert_eq!((shown.sslmode.as_str(), numbers.status.as_str()), ("prefer", "healthy"));
    let leases =
        ListLeasesRequest { tenant_id: tenant.name.clone(), ..ListLeasesRequest::default() };
    let leases = eyes.ask(|stub, option| stub.list_leases(&leases, option)).unwrap();
    let [entry] = &leases.leases[..] else { panic!("{leases}") };
    assert_eq!((entry.lease.backend_pid, entry.on_stream), (held.pid, false));
    assert!(entry.lease.transaction_since.is_some());
    let backends = backends_of(&tenant.name);
    let backends = eyes.ask(|stub, option| stub.list_backends(&backends, option)).unwrap();
    let told = |pid: i32| {
        let one = backends.backends.iter().find(|one| one.pid == pid).expect("it is listed");
        (one.state.enum_value().unwrap(), one.idle.is_some(), one.replaced)
    };
    assert_eq!(backends.backends.len(), 2);
    assert_eq!(told(held.pid), (BackendState::BACKEND_STATE_IN_USE, false, false));
    assert_eq!(told(other.pid), (BackendState::BACKEND_STATE_IDLE, true, false));
    let all = format!("{shown} {leases} {backends}");
    for secret in [&held.id, &tenant.password, "conn-"] {
        assert!(!all.contains(secret), "{all}");
    }
    for name in ["", "not a tenant"] {
        let error = refused(eyes.ask(|stub, option| stub.get_tenant(&of_tenant(name), option)));
        assert_eq!(error.reason, "INVALID_ARGUMENT", "{name:?}: {error}");
    }
    let error = refused(eyes.ask(|stub, option| stub.get_tenant(&of_tenant("nobody"), option)));
    assert_eq!(error.reason, "TENANT_NOT_FOUND");
}

#[test]
fn pages_lead_through_all_that_stays_whatever_comes_and_goes_meanwhile() {
    let service = Administered::start();
    let eyes = service.operator("eyes");
    let tenants: Vec<Tenant> = (0..5).map(|_| tenant().pool_of(1)).collect();
    let mut leases: Vec<_> = tenants.iter().map(|tenant| service.lease(tenant)).collect();
    let page = |token: &str| {
        let page_token = token.to_owned();
        let asked = ListLeasesRequest { page_size: 2, page_token, ..ListLeasesRequest::default() };
        eyes.ask(|stub, option| stub.list_leases(&asked, option))
    };
    let pids = |page: &connection_pool_manager::proto::admin::ListLeasesResponse| {
        page.leases.iter().map(|entry| entry.lease.backend_pid).collect::<Vec<_>>()
    };
    let expected: Vec<i32> = leases.iter().map(|lease| lease.pid).collect();
    let first = page("").unwrap();
    assert_eq!(pids(&first), expected[..2]);
    // What goes is not seen again, and moves nothing.
    leases[0].release();
    leases[2].release();
    let second = page(&first.next_page_token).unwrap();
    assert_eq!(pids(&second), expected[3..]);
    assert_eq!(second.next_page_token, "");
    leases.truncate(2);
    let mut names = BTreeSet::new();
    let mut token = String::new();
    for pages in 1.. {
        let asked =
            ListTenantsRequest { page_size: 2, page_token: token, ..ListTenantsRequest::default() };
        let answer = eyes.ask(|stub, option| stub.list_tenants(&asked, option)).unwrap();
        for one in &answer.tenants {
            assert!(names.insert(one.tenant_id.clone()), "{} is there twice", one.tenant_id);
        }
        token = answer.next_page_token.clone();
        if token.is_empty() {
            assert_eq!(pages, 3);
            break;
        }
    }
    assert_eq!(names, tenants.iter().map(|tenant| tenant.name.clone()).collect());
    for foreign in ["x", "after:x", "after:"] {
        assert_eq!(refused(page(foreign)).reason, "INVALID_ARGUMENT", "{foreign}");
    }
    eventually("what was released is closed or rests", || {
        service.client().stats(&tenants[0].name).unwrap().leases == 0
    });
}

#[test]
fn backends_are_listed_in_pages_each_once_and_in_the_order_of_their_opening() {
    let service = Administered::start();
    let eyes = service.operator("eyes");
    let tenant = tenant().pool_of(5);
    let leases: Vec<_> = (0..5).map(|_| service.lease(&tenant)).collect();
    let page = |page_token: &str| {
        let page_token = page_token.to_owned();
        let asked = ListBackendsRequest { page_size: 2, page_token, ..backends_of(&tenant.name) };
        eyes.ask(|stub, option| stub.list_backends(&asked, option))
    };
    let (mut listed, mut token) = (Vec::new(), String::new());
    for left in [3, 1, 0] {
        let answer = page(&token).unwrap();
        listed.extend(answer.backends.iter().map(|one| one.pid));
        assert_eq!(listed.len(), 5 - left);
        token = answer.next_page_token;
        assert_eq!(token.is_empty(), left == 0, "more are told of where there are more");
    }
    // Each was opened for the lease that has it.
    assert_eq!(listed, leases.iter().map(|lease| lease.pid).collect::<Vec<_>>());
    assert_eq!(refused(page("x")).reason, "INVALID_ARGUMENT");
}
