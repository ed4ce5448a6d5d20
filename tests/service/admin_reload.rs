//! AdminService: settings that are read again.

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    PutTenantRequest, ReloadRequest, ReloadResponse, RevokeLeaseRequest,
};

use crate::harness::{digest, refused, tenant, Administered, Operator, Tenant};

fn reload(by: &Operator) -> Result<ReloadResponse, CallError> {
    by.ask(|stub, option| stub.reload(&ReloadRequest::default(), option))
}

#[test]
fn the_answer_of_a_reload_says_what_has_changed_and_what_needs_a_restart() {
    let service = Administered::with(&[], "[service]\nmax_statements = 5\n");
    let ops = service.operator("ops");
    let nothing = reload(&ops).unwrap();
    assert!(nothing.applied.is_empty() && nothing.needs_restart.is_empty(), "{nothing}");
    service.rewrite("[service]\nmax_statements = 1\nmax_waiters = 7\n");
    let changed = reload(&ops).unwrap();
    assert_eq!(changed.applied, ["service.max_statements"]);
    assert_eq!(changed.needs_restart, ["service.max_waiters"]);
    assert!(changed.unchanged_tenants.is_empty());
    service.log().wait_for("event=admin action=reload by=ops");
}

#[test]
fn a_reload_of_a_bad_file_changes_nothing_and_answers_why() {
    let service = Administered::with(&["--max-connections", "2"], "");
    let (ops, eyes, tenant) = (service.operator("ops"), service.operator("eyes"), tenant());
    let put = PutTenantRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        identities: vec!["shop".to_owned()],
        ..PutTenantRequest::default()
    };
    ops.ask(|stub, option| stub.put_tenant(&put, option)).unwrap();
    let lease = service.lease(&Tenant { dsn: String::new(), ..tenant.clone() });
    service.rewrite("[service]\nmax_statements = 0\n[tenants.other]\ndsn = \"host=secret-word\"\n");
    let error = refused(reload(&ops));
    assert_eq!(error.reason, "RELOAD_FAILED", "{error}");
    assert!(error.message.contains("max_statements"), "{error}");
    assert!(!error.message.contains("secret-word"), "{error}");
    lease.run(&["select 1", "select 2"]);
    // Who only looks reads nothing again, and a tenant that an operator put is not of the file.
    service.rewrite("");
    assert_eq!(refused(reload(&eyes)).reason, "PERMISSION_DENIED");
    reload(&ops).unwrap();
    lease.run(&["select 1"]);
    lease.release();
    service.lease(&Tenant { dsn: String::new(), ..tenant.clone() }).release();
}

#[test]
fn a_file_without_any_identity_is_refused_and_lets_nobody_in() {
    let (service, database) = (Administered::start(), tenant());
    let ops = service.operator("ops");
    let whole = std::fs::read_to_string(service.path()).unwrap();
    let torn = "[service]\nclient_ca = \"nope.pem\"\n";
    for text in ["", "[service]\nallow_client_dsn = true\n", torn] {
        std::fs::write(service.path(), text).unwrap();
        let error = refused(reload(&ops));
        assert_eq!(error.reason, "RELOAD_FAILED", "{error}");
        assert!(error.message.contains("identities must not all be gone"), "{error}");
        let taken = service.nameless().acquire(&database.name, &database.dsn);
        assert_eq!(refused(taken).reason, "UNAUTHENTICATED");
    }
    std::fs::write(service.path(), whole).unwrap();
    reload(&ops).unwrap();
}

#[test]
fn a_file_that_changes_a_tenant_wins_over_the_users_that_were_put() {
    let database = tenant();
    let entry = |users: &str, max: u32| {
        format!(
            "[tenants.{}]\ndsn = \"{}\"\nmin_connections = 0\nmax_connections = {max}\n\
             identities = [\"{users}\"]\n",
            database.name, database.dsn
        )
    };
    let service = Administered::with(&[], &entry("ops", 2));
    let (ops, shop) = (service.operator("ops"), service.client());
    let put = PutTenantRequest {
        tenant_id: database.name.clone(),
        identities: vec!["shop".to_owned()],
        ..PutTenantRequest::default()
    };
    let lets_in = || ops.ask(|stub, option| stub.put_tenant(&put, option)).unwrap();
    let enters = || match shop.acquire(&database.name, "") {
        Ok(lease) => shop.release(&lease.connection_id).map(|_| true).unwrap(),
        Err(error) => refused::<()>(Err(error)).reason != "PERMISSION_DENIED",
    };
    assert!(!enters());
    lets_in();
    assert!(enters());
    service.rewrite(&entry("ops", 2));
    reload(&ops).unwrap();
    assert!(enters(), "the file says nothing new");
    for changed in [entry("eyes", 2), entry("eyes", 3)] {
        service.rewrite(&changed);
        reload(&ops).unwrap();
        assert!(!enters(), "the file has changed the tenant: {changed}");
        lets_in();
        assert!(enters());
    }
}

#[test]
fn who_has_left_the_file_uses_no_tenant_that_was_put_and_who_comes_back_by_the_name_does() {
    let (service, database) = (Administered::start(), tenant());
    let (ops, shop) = (service.operator("ops"), service.client());
    let put = PutTenantRequest {
        tenant_id: database.name.clone(),
        dsn: database.dsn.clone(),
        min_connections: Some(0),
        identities: vec!["shop".to_owned()],
        ..PutTenantRequest::default()
    };
    ops.ask(|stub, option| stub.put_tenant(&put, option)).unwrap();
    shop.release(&shop.acquire(&database.name, "").unwrap().connection_id).unwrap();
    let whole = std::fs::read_to_string(service.path()).unwrap();
    let (others, _) = whole.split_once("[identities.shop]").unwrap();
    std::fs::write(service.path(), others).unwrap();
    reload(&ops).unwrap();
    assert_eq!(refused(shop.acquire(&database.name, "")).reason, "UNAUTHENTICATED");
    // Another one by its name.
    let token = "token-of-another-shop";
    let table = format!("[identities.shop]\ntokens = [{{ sha256 = \"{}\" }}]\n", digest(token));
    std::fs::write(service.path(), others.to_owned() + &table).unwrap();
    reload(&ops).unwrap();
    assert_eq!(refused(shop.acquire(&database.name, "")).reason, "UNAUTHENTICATED");
    let another = service.nameless().with_token(token).unwrap();
    another.release(&another.acquire(&database.name, "").unwrap().connection_id).unwrap();
}

#[test]
fn a_secret_that_is_pasted_as_the_name_of_a_lease_is_not_logged() {
    let (service, tenant) = (Administered::start(), tenant());
    let (ops, lease) = (service.operator("ops"), service.lease(&tenant));
    let asked = RevokeLeaseRequest { lease_name: lease.id.clone(), ..Default::default() };
    let error = refused(ops.ask(|stub, option| stub.revoke_lease(&asked, option)));
    assert_eq!(error.reason, "LEASE_NOT_FOUND", "{error}");
    service.log().wait_for("event=admin action=revoke ");
    assert!(!service.log().text().contains(&lease.id));
}
