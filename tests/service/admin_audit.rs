//! AdminService: what it refuses, and what the log has of it.

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    ListLeasesRequest, PauseTenantRequest, PutTenantRequest, PutTenantResponse,
    RemoveTenantRequest, ResizeTenantRequest, RevokeLeaseRequest, SetLogLevelRequest,
};
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, LeaseEndReason, ReleaseOutcome,
};
use rustix::process::Signal;

use crate::harness::{
    code, eventually, millis, refused, request, tenant, Administered, Operator, Service, Tenant,
};

fn put(by: &Operator, asked: &PutTenantRequest) -> Result<PutTenantResponse, CallError> {
    by.ask(|stub, option| stub.put_tenant(asked, option))
}

fn of(tenant: &Tenant) -> PutTenantRequest {
    PutTenantRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        identities: vec!["shop".to_owned()],
        ..PutTenantRequest::default()
    }
}

fn invalid<T>(answer: Result<T, CallError>, field: &str) {
    let error = refused(answer);
    assert_eq!(error.code, code::INVALID_ARGUMENT, "{error}");
    assert_eq!(error.info.as_ref().unwrap().metadata["field"], field, "{error}");
}

fn set_level(by: &Operator, level: &str) {
    let asked = SetLogLevelRequest { level: level.to_owned(), ..SetLogLevelRequest::default() };
    by.ask(|stub, option| stub.set_log_level(&asked, option)).unwrap();
}

#[test]
fn what_cannot_be_read_is_in_the_log_too_and_whatever_its_level_is() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    set_level(&ops, "off");
    service.log().wait_for("action=set_log_level level=\"off\" by=ops");
    let pause = PauseTenantRequest { tenant_id: "no tenant".to_owned(), ..Default::default() };
    invalid(ops.ask(|stub, option| stub.pause_tenant(&pause, option)), "tenant_id");
    let resize = ResizeTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    invalid(ops.ask(|stub, option| stub.resize_tenant(&resize, option)), "max_connections");
    let revoke = RevokeLeaseRequest::default();
    invalid(ops.ask(|stub, option| stub.revoke_lease(&revoke, option)), "lease_name");
    let secret = "password=a-secret-in-a-bad-dsn nonsense";
    invalid(put(&ops, &PutTenantRequest { dsn: secret.to_owned(), ..of(&tenant) }), "dsn");
    for action in ["pause", "resize", "revoke", "put"] {
        let line = service.log().wait_for(&format!("event=admin action={action} by=ops"));
        assert!(line.contains(" outcome=invalid_argument"), "{line}");
    }
    assert!(!service.log().text().contains("a-secret-in-a-bad-dsn"));
    // Others are silent meanwhile.
    let before = service.log().text().matches("event=pool_created").count();
    put(&ops, &of(&tenant)).unwrap();
    service.log().wait_for(&format!("action=put tenant={} max_connections=", tenant.name));
    assert_eq!(service.log().text().matches("event=pool_created").count(), before);
}

#[test]
fn a_line_of_a_put_says_who_may_use_the_tenant_and_where_it_leads() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    put(&ops, &of(&tenant)).unwrap();
    let line = service.log().wait_for("event=admin action=put ");
    let (database, user) = (&tenant.name, &tenant.name);
    for part in [
        format!(" database=\"{database}\" user=\"{user}\""),
        " server=\"".to_owned(),
        " identities=\"shop\" anonymous=false".to_owned(),
    ] {
        assert!(line.contains(&part), "no {part} in {line}");
    }
    let open = PutTenantRequest {
        dsn: String::new(),
        identities: Vec::new(),
        anonymous: true,
        ..of(&tenant)
    };
    put(&ops, &open).unwrap();
    let line = service.log().wait_for(" identities=\"\" anonymous=true");
    assert!(!line.contains(" server="), "it leads where it led: {line}");
    assert!(!service.log().text().contains(&tenant.password));
}

#[test]
fn a_put_is_refused_that_names_nobody_or_a_minimum_beyond_the_maximum() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    let users = |names: &[&str]| PutTenantRequest {
        identities: names.iter().map(|name| (*name).to_owned()).collect(),
        ..of(&tenant)
    };
    invalid(put(&ops, &users(&["shop", "shpo"])), "identities");
    let sizes =
        PutTenantRequest { max_connections: Some(2), min_connections: Some(3), ..of(&tenant) };
    let error = refused(put(&ops, &sizes));
    let rule = "min_connections cannot be greater than max_connections: 3 > 2";
    assert!(error.message.ends_with(rule) && !error.message.contains("--"), "{error}");
    invalid(put(&ops, &sizes), "min_connections");
    let many = PutTenantRequest { max_connections: Some(1_000_000), ..of(&tenant) };
    invalid(put(&ops, &many), "max_connections");
    let gone = refused(service.client().acquire(&tenant.name, ""));
    assert_eq!(gone.reason, "INVALID_ARGUMENT", "nothing was put, a DSN is asked for: {gone}");
    // A pattern may be of those who come later.
    put(&ops, &users(&["shop", "team/*"])).unwrap();
    service.client().acquire(&tenant.name, "").expect("it is there");
}

#[test]
fn a_lease_is_listed_with_its_identity_and_revoked_as_often_as_is_asked() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    let list = |tenant_id: &str| {
        let asked =
            ListLeasesRequest { tenant_id: tenant_id.to_owned(), ..ListLeasesRequest::default() };
        ops.ask(|stub, option| stub.list_leases(&asked, option)).map(|answer| answer.leases)
    };
    assert_eq!(refused(list("unknown")).reason, "TENANT_NOT_FOUND");
    let asked = ConnectionRequest { holder: "somebody".to_owned(), ..request(&tenant) };
    let lease = service.lease_with(&asked);
    let seen = list(&tenant.name).unwrap();
    let [entry] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&*entry.identity, &*entry.lease.holder), ("shop", "somebody"));
    // The leases of a tenant that was removed are found by its name.
    let remove = RemoveTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    ops.ask(|stub, option| stub.remove_tenant(&remove, option)).unwrap();
    assert_eq!(list(&tenant.name).unwrap().len(), 1);
    let name = entry.lease.lease_name.clone();
    let revoke = RevokeLeaseRequest { lease_name: name, ..RevokeLeaseRequest::default() };
    let revoke = || ops.ask(|stub, option| stub.revoke_lease(&revoke, option));
    revoke().unwrap();
    assert_eq!(lease.end_reason(), "revoked");
    eventually("the last lease has left", || list(&tenant.name).is_err());
    // Its answer may have been lost.
    let again = revoke().unwrap();
    assert_eq!(again.outcome.enum_value(), Ok(ReleaseOutcome::RELEASE_OUTCOME_ALREADY_ENDED));
    assert_eq!(again.end_reason.enum_value(), Ok(LeaseEndReason::LEASE_END_REASON_REVOKED));
    let never = RevokeLeaseRequest { lease_name: "lease-1".to_owned(), ..Default::default() };
    let never = refused(ops.ask(|stub, option| stub.revoke_lease(&never, option)));
    assert_eq!(never.reason, "LEASE_NOT_FOUND", "{never}");
    assert!(never.message.contains("it has ended, or there was none"), "{never}");
    assert_eq!(refused(list(&tenant.name)).reason, "TENANT_NOT_FOUND");
}

#[test]
fn who_has_not_the_role_is_in_the_log_with_what_was_asked_for_and_not_without_end() {
    let (service, tenant) = (Administered::start(), tenant());
    let [shop, eyes] = ["shop", "eyes"].map(|name| service.operator(name));
    let pause = PauseTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    let leases = ListLeasesRequest::default();
    for (by, action) in [(&shop, "list_leases"), (&shop, "pause"), (&eyes, "pause")] {
        let error = match action {
            "pause" => refused(by.ask(|stub, option| stub.pause_tenant(&pause, option))),
            _ => refused(by.ask(|stub, option| stub.list_leases(&leases, option))),
        };
        assert_eq!(error.code, code::PERMISSION_DENIED, "{error}");
    }
    for told in ["action=list_leases by=shop", "action=pause by=shop", "action=pause by=eyes"] {
        let line = service.log().wait_for(&format!("event=admin {told} peer="));
        assert!(line.ends_with(" outcome=permission_denied"), "{line}");
    }
    for _ in 0..300 {
        refused(shop.ask(|stub, option| stub.pause_tenant(&pause, option)));
    }
    let line = service.log().wait_for("of=admin count=");
    let count: usize = line.rsplit_once("count=").unwrap().1.trim().parse().unwrap();
    assert!(count > 0, "{line}");
    // What an operator does is told whatever others ask for.
    let ops = service.operator("ops");
    set_level(&ops, "info");
    service.log().wait_for("action=set_log_level level=\"info\" by=ops");
}

#[test]
fn a_lease_without_an_identity_is_listed_without_one() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    let open = PutTenantRequest { anonymous: true, identities: Vec::new(), ..of(&tenant) };
    put(&ops, &open).unwrap();
    let nobody = service.nameless();
    nobody.acquire(&tenant.name, "").expect("everybody may");
    let asked = ListLeasesRequest::default();
    let seen = ops.ask(|stub, option| stub.list_leases(&asked, option)).unwrap().leases;
    assert_eq!(seen.iter().map(|entry| &*entry.identity).collect::<Vec<_>>(), [""]);
}

#[test]
fn a_wait_that_ends_at_a_paused_tenant_says_so() {
    let (service, tenant) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    put(&ops, &of(&tenant)).unwrap();
    let pause = PauseTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    ops.ask(|stub, option| stub.pause_tenant(&pause, option)).unwrap();
    let asked = ConnectionRequest { wait_timeout: millis(50), ..request(&tenant.by_name()) };
    let error = refused(service.client().acquire_with(&asked));
    assert_eq!(error.reason, "WAIT_TIMEOUT", "{error}");
    assert!(error.message.contains("it is paused"), "{error}");
    assert_eq!(error.info.unwrap().metadata["paused"], "true");
}

#[test]
fn a_certificate_that_is_as_it_was_is_not_told_and_a_number_is_logged_as_one() {
    let service = Service::start();
    for round in 1..=2 {
        service.signal(Signal::HUP);
        eventually("it is read again", || {
            service.log().text().matches("event=reloaded ").count() == round
        });
    }
    assert!(!service.log().text().contains("event=certificate_reloaded"));
    let line = service.log().wait_for("event=settings ");
    assert!(line.contains(" max_connections_per_server=0 "), "{line}");
}
