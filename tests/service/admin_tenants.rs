//! AdminService: tenants that an operator creates and changes.

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    GetTenantRequest, PutTenantRequest, PutTenantResponse, TenantSource,
};

use crate::harness::{eventually, refused, tenant, Administered, Operator, Tenant};

/// What is put of a tenant: its DSN, if it is to have one, and numbers.
#[derive(Default)]
struct Put<'a> {
    dsn: &'a str,
    max: Option<i32>,
    min: Option<i32>,
    identities: &'a [&'a str],
}

fn put(by: &Operator, name: &str, put: &Put<'_>) -> Result<PutTenantResponse, CallError> {
    let asked = PutTenantRequest {
        tenant_id: name.to_owned(),
        dsn: put.dsn.to_owned(),
        max_connections: put.max,
        min_connections: put.min,
        identities: put.identities.iter().map(|name| (*name).to_owned()).collect(),
        ..PutTenantRequest::default()
    };
    by.ask(|stub, option| stub.put_tenant(&asked, option))
}

/// The tenant as those know it who have no DSN.
fn by_name(tenant: &Tenant) -> Tenant {
    Tenant { dsn: String::new(), ..tenant.clone() }
}

#[test]
fn a_tenant_that_is_put_is_used_by_its_name_alone() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    let wanted = Put { dsn: &tenant.dsn, max: Some(2), min: Some(0), identities: &["shop"] };
    let made = put(&ops, &tenant.name, &wanted).unwrap();
    assert!(made.created);
    assert_eq!(made.tenant.max_connections, 2);
    assert_eq!(made.tenant.source.enum_value(), Ok(TenantSource::TENANT_SOURCE_ADMIN));
    let lease = service.lease(&by_name(&tenant));
    assert_eq!(lease.value("select current_user::text"), tenant.name);
    // The same again changes nothing.
    assert!(!put(&ops, &tenant.name, &wanted).unwrap().created);
    lease.release();
    service.wait_stats(&tenant.name, "it rests", |stats| stats.idle_connections == 1);
    assert_eq!(tenant.backend_pids(), [lease.pid]);
    // More connections need no others.
    let more = put(&ops, &tenant.name, &Put { max: Some(5), ..Put::default() }).unwrap();
    // It is what an operator has made of it.
    assert_eq!((more.tenant.max_connections, more.tenant.changed), (5, false));
    assert_eq!(tenant.backend_pids(), [lease.pid]);
    assert_eq!(service.metric("connpool_service_connections_reserved"), Some(5.0));
    assert!(!service.log().text().contains(&tenant.password));
    service.log().wait_for(&format!(
        "event=admin action=put tenant={} max_connections=5 by=ops",
        tenant.name
    ));
}

#[test]
fn another_dsn_is_used_by_who_comes_while_what_is_leased_goes_on() {
    let (service, tenant, other) = (Administered::start(), tenant(), crate::harness::tenant());
    let ops = service.operator("ops");
    let wanted = Put { dsn: &tenant.dsn, max: Some(3), min: Some(0), identities: &["*"] };
    put(&ops, &tenant.name, &wanted).unwrap();
    let lease = service.lease(&by_name(&tenant));
    put(&ops, &tenant.name, &Put { dsn: &other.dsn, ..Put::default() }).unwrap();
    let fresh = service.lease(&by_name(&tenant));
    assert_eq!(lease.value("select current_user::text"), tenant.name);
    assert_eq!(fresh.value("select current_user::text"), other.name);
    lease.release();
    eventually("what came back is closed", || tenant.backends() == 0);
    assert_eq!(service.client().stats(&tenant.name).unwrap().max_connections, 3);
    fresh.release();
}

#[test]
fn what_cannot_be_served_is_not_put() {
    let service = Administered::with(&["--max-backends", "30"], "");
    let (ops, tenant) = (service.operator("ops"), tenant());
    let dsn = &*tenant.dsn;
    let is_refused = |wanted: Put<'_>, reason: &str| {
        let wanted = Put { identities: &["shop"], ..wanted };
        let error = refused(put(&ops, &tenant.name, &wanted));
        assert_eq!(error.reason, reason, "{error}");
        assert!(!error.message.contains(&tenant.password), "{error}");
    };
    is_refused(Put::default(), "INVALID_ARGUMENT");
    is_refused(Put { dsn: &format!("{dsn} colour=red"), ..Put::default() }, "INVALID_ARGUMENT");
    is_refused(Put { dsn, max: Some(0), ..Put::default() }, "INVALID_ARGUMENT");
    is_refused(Put { dsn, max: Some(101), ..Put::default() }, "INVALID_ARGUMENT");
    is_refused(Put { dsn, max: Some(2), min: Some(3), ..Put::default() }, "INVALID_ARGUMENT");
    is_refused(Put { dsn, min: Some(-1), ..Put::default() }, "INVALID_ARGUMENT");
    is_refused(Put { dsn, max: Some(31), ..Put::default() }, "SERVICE_LIMIT");
    let files = format!("{dsn} sslmode=verify-ca sslrootcert=/etc/hostname");
    is_refused(Put { dsn: &files, ..Put::default() }, "INVALID_ARGUMENT");
    for identities in [&[][..], &["sh*"], &[""], &["shop"; 101]] {
        let error = refused(put(&ops, &tenant.name, &Put { dsn, identities, ..Put::default() }));
        assert_eq!(error.reason, "INVALID_ARGUMENT", "{error}");
    }
    assert!(!service.knows(&tenant.name));
    for caller in ["eyes", "shop"] {
        let caller = service.operator(caller);
        let error = refused(put(&caller, &tenant.name, &Put { dsn, ..Put::default() }));
        assert_eq!(error.reason, "PERMISSION_DENIED", "{error}");
    }
    assert_eq!(service.metric("connpool_service_connections_reserved"), Some(0.0));
}

#[test]
fn a_tenant_that_is_put_is_open_to_those_whom_it_names_and_to_nobody_else() {
    let (service, tenant) = (Administered::start(), tenant());
    let (ops, client) = (service.operator("ops"), service.client());
    let of = |identities| Put { dsn: &tenant.dsn, max: Some(1), min: Some(0), identities };
    put(&ops, &tenant.name, &of(&["eyes"])).unwrap();
    let denied = || refused(client.acquire(&tenant.name, "")).reason;
    assert_eq!(denied(), "PERMISSION_DENIED");
    // Nor by a DSN that is the tenant's own.
    assert_eq!(refused(client.acquire(&tenant.name, &tenant.dsn)).reason, "PERMISSION_DENIED");
    put(&ops, &tenant.name, &of(&["shop"])).unwrap();
    service.lease(&by_name(&tenant)).release();
    put(&ops, &tenant.name, &of(&["ops", "team/*"])).unwrap();
    assert_eq!(denied(), "PERMISSION_DENIED");
    let asked = GetTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    let eyes = service.operator("eyes");
    let shown = eyes.ask(|stub, option| stub.get_tenant(&asked, option)).unwrap();
    assert_eq!(
        (&shown.identities[..], shown.anonymous),
        (&["ops", "team/*"].map(String::from)[..], false)
    );
    let error = refused(service.nameless().acquire(&tenant.name, ""));
    assert_eq!(error.reason, "UNAUTHENTICATED");
}
