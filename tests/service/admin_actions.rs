//! AdminService: what an operator has done while clients work.

use std::collections::BTreeSet;

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    CheckTenantRequest, CheckTenantResponse, PauseMode, PauseTenantRequest, ReconnectTenantRequest,
    RemoveTenantRequest, ResizeTenantRequest, ResumeTenantRequest, RevokeLeaseRequest,
    RevokeLeaseResponse, SetLogLevelRequest, TenantSummary,
};
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, LeaseEndReason, ReleaseOutcome, TenantState,
};

use crate::harness::{
    acquire_later, answer, code, eventually, millis, parked, refused, request, retry_delay, tenant,
    Administered, Operator, Tenant,
};

type Answer<T> = Result<T, CallError>;

fn pause(by: &Operator, tenant: &Tenant, mode: PauseMode) -> Answer<TenantSummary> {
    let tenant_id = tenant.name.clone();
    let asked =
        PauseTenantRequest { tenant_id, mode: mode.into(), ..PauseTenantRequest::default() };
    by.ask(|stub, option| stub.pause_tenant(&asked, option)).map(|answer| answer.tenant.unwrap())
}

fn resume(by: &Operator, tenant: &Tenant) -> Answer<TenantSummary> {
    let asked =
        ResumeTenantRequest { tenant_id: tenant.name.clone(), ..ResumeTenantRequest::default() };
    by.ask(|stub, option| stub.resume_tenant(&asked, option)).map(|answer| answer.tenant.unwrap())
}

pub fn reconnect(by: &Operator, tenant: &Tenant) -> Answer<TenantSummary> {
    let asked = ReconnectTenantRequest {
        tenant_id: tenant.name.clone(),
        ..ReconnectTenantRequest::default()
    };
    by.ask(|stub, option| stub.reconnect_tenant(&asked, option)).map(|one| one.tenant.unwrap())
}

pub fn resize(by: &Operator, tenant: &Tenant, max_connections: i32) -> Answer<TenantSummary> {
    let tenant_id = tenant.name.clone();
    let asked =
        ResizeTenantRequest { tenant_id, max_connections, ..ResizeTenantRequest::default() };
    by.ask(|stub, option| stub.resize_tenant(&asked, option)).map(|answer| answer.tenant.unwrap())
}

fn check(by: &Operator, tenant: &Tenant) -> Answer<CheckTenantResponse> {
    let asked =
        CheckTenantRequest { tenant_id: tenant.name.clone(), ..CheckTenantRequest::default() };
    by.ask(|stub, option| stub.check_tenant(&asked, option))
}

fn revoke(by: &Operator, lease_name: &str) -> Answer<RevokeLeaseResponse> {
    let lease_name = lease_name.to_owned();
    let asked = RevokeLeaseRequest { lease_name, ..RevokeLeaseRequest::default() };
    by.ask(|stub, option| stub.revoke_lease(&asked, option))
}

fn remove(by: &Operator, tenant: &Tenant, end_leases: bool) -> Answer<i32> {
    let tenant_id = tenant.name.clone();
    let asked = RemoveTenantRequest { tenant_id, end_leases, ..RemoveTenantRequest::default() };
    by.ask(|stub, option| stub.remove_tenant(&asked, option)).map(|answer| answer.leases)
}

fn set_log_level(by: &Operator, level: &str) -> Answer<()> {
    let asked = SetLogLevelRequest { level: level.to_owned(), ..SetLogLevelRequest::default() };
    by.ask(|stub, option| stub.set_log_level(&asked, option)).map(drop)
}

/// A lease, with its public name.
fn named_lease(service: &Administered, tenant: &Tenant) -> (crate::harness::Held, String) {
    let client = service.client();
    let granted = client.acquire(&tenant.name, &tenant.dsn).expect("a lease");
    let name = granted.lease.lease_name.clone();
    let (id, pid) = (granted.connection_id, granted.lease.backend_pid);
    (crate::harness::Held { client, id, pid }, name)
}

#[test]
fn only_the_role_admin_lets_a_caller_act_and_whoever_else_tries_changes_nothing() {
    let service = Administered::start();
    let tenant = tenant().pool_of(2);
    let (lease, name) = named_lease(&service, &tenant);
    for (caller, expected) in [
        (service.operator("eyes"), code::PERMISSION_DENIED),
        (service.operator("shop"), code::PERMISSION_DENIED),
        (service.stranger(), 16),
    ] {
        for refusal in [
            refused(pause(&caller, &tenant, PauseMode::PAUSE_MODE_REFUSE)),
            refused(resume(&caller, &tenant)),
            refused(reconnect(&caller, &tenant)),
            refused(resize(&caller, &tenant, 1)),
            refused(check(&caller, &tenant)),
            refused(revoke(&caller, &name)),
            refused(remove(&caller, &tenant, true)),
            refused(set_log_level(&caller, "off")),
        ] {
            assert_eq!(refusal.code, expected, "{refusal}");
        }
    }
    lease.run(&["select 1"]);
    let stats = service.client().stats(&tenant.name).unwrap();
    assert_eq!(
        (stats.max_connections, stats.state.enum_value()),
        (2, Ok(TenantState::TENANT_STATE_ACTIVE))
    );
    let text = service.log().text();
    let done = |line: &&str| {
        line.contains("event=admin ") && !line.ends_with(" outcome=permission_denied")
    };
    assert_eq!(text.lines().find(done), None);
}

#[test]
fn a_revoked_lease_ends_with_its_running_statement_cancelled() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(2));
    let ops = service.operator("ops");
    let (lease, name) = named_lease(&service, &tenant);
    let running = lease.run_later("select pg_sleep(3600), 'revoked one'");
    eventually("it runs", || tenant.running("revoked one") > 0);
    let revoked = revoke(&ops, &name).unwrap();
    assert_eq!(revoked.outcome.enum_value(), Ok(ReleaseOutcome::RELEASE_OUTCOME_CANCELLING));
    assert_eq!(revoked.end_reason.enum_value(), Ok(LeaseEndReason::LEASE_END_REASON_REVOKED));
    let error = refused(answer(running));
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"), "{error}");
    assert_eq!(error.info.expect("an ErrorInfo").metadata["cause"], "revoked");
    eventually("its statement is gone", || tenant.running("revoked one") == 0);
    assert_eq!(lease.end_reason(), "revoked");
    let line = service.log().wait_for("event=admin action=revoke ");
    for part in [&format!("lease=\"{name}\""), " by=ops ", "peer=ipv", "outcome=done"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    service.log().wait_for("event=lease_ended reason=revoked ");
    let again = revoke(&ops, &name).unwrap();
    assert_eq!(again.outcome.enum_value(), Ok(ReleaseOutcome::RELEASE_OUTCOME_ALREADY_ENDED));
    // One at rest ends at once.
    let (open, name) = named_lease(&service, &tenant);
    open.run(&["begin", "select 1"]);
    let revoked = revoke(&ops, &name).unwrap();
    assert_eq!(revoked.outcome.enum_value(), Ok(ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK));
    assert_eq!(open.end_reason(), "revoked");
    for (wrong, reason) in [
        ("", "INVALID_ARGUMENT"),
        ("two words", "INVALID_ARGUMENT"),
        (&*"x".repeat(65), "INVALID_ARGUMENT"),
        (&*open.id.replace("conn-", "lease-"), "LEASE_NOT_FOUND"),
        (&*format!("{name}0"), "LEASE_NOT_FOUND"),
        (&*name.to_uppercase(), "LEASE_NOT_FOUND"),
    ] {
        let error = refused(revoke(&ops, wrong));
        assert_eq!(error.reason, reason, "{wrong:?}: {error}");
    }
    service.wait_quiet(&tenant.name);
}

#[test]
fn requests_of_a_paused_tenant_wait_and_are_served_in_their_order_when_it_goes_on() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(1));
    let ops = service.operator("ops");
    let lease = service.lease(&tenant);
    let paused = pause(&ops, &tenant, PauseMode::PAUSE_MODE_UNSPECIFIED).unwrap();
    assert_eq!(paused.paused.enum_value(), Ok(PauseMode::PAUSE_MODE_WAIT));
    assert_eq!(paused.state.enum_value(), Ok(TenantState::TENANT_STATE_PAUSED));
    // Who has a lease works on, and may give it back.
    lease.run(&["select 1"]);
    lease.release();
    service.wait_stats(&tenant.name, "it rests", |stats| stats.idle_connections == 1);
    let client = service.client();
    let stats = client.stats(&tenant.name).unwrap();
    assert_eq!(stats.state.enum_value(), Ok(TenantState::TENANT_STATE_PAUSED));
    assert!(client.health(&tenant.name).unwrap().tenants[0].paused);
    assert!(service.get("/health/ready").1.contains("\"paused\":true"));
    let series = format!("connpool_tenant_paused{{tenant=\"{}\"}}", tenant.name);
    assert_eq!(service.metric(&series), Some(1.0));
    let impatient = ConnectionRequest { wait_timeout: millis(1), ..request(&tenant) };
    assert_eq!(refused(client.acquire_with(&impatient)).reason, "WAIT_TIMEOUT");
    let mut waiting = Vec::new();
    for n in 1..=2 {
        waiting.push(acquire_later(&client, &parked(&tenant)));
        service.wait_stats(&tenant.name, "one more waits", |stats| stats.waiting == n);
    }
    let resumed = resume(&ops, &tenant).unwrap();
    assert_eq!(resumed.paused.enum_value(), Ok(PauseMode::PAUSE_MODE_UNSPECIFIED));
    let mut waiting = waiting.into_iter();
    let first = answer(waiting.next().unwrap()).expect("the first is served");
    service.wait_stats(&tenant.name, "the second waits", |stats| stats.waiting == 1);
    client.release(&first.connection_id).unwrap();
    let second = answer(waiting.next().unwrap()).expect("the second is served");
    client.release(&second.connection_id).unwrap();
    service
        .log()
        .wait_for(&format!("event=admin action=pause tenant={} mode=wait by=ops", tenant.name));
    service.log().wait_for(&format!("event=admin action=resume tenant={} by=ops", tenant.name));
    service.wait_quiet(&tenant.name);
    assert_eq!(service.metric(&series), Some(0.0));
}

#[test]
fn requests_of_a_tenant_that_refuses_fail_at_once_and_so_do_those_that_waited() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(1));
    let ops = service.operator("ops");
    let lease = service.lease(&tenant);
    let client = service.client();
    let waiting = acquire_later(&client, &parked(&tenant));
    service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
    pause(&ops, &tenant, PauseMode::PAUSE_MODE_REFUSE).unwrap();
    let error = refused(answer(waiting));
    assert_eq!((error.code, &*error.reason), (code::UNAVAILABLE, "TENANT_PAUSED"), "{error}");
    let asked = client.pool_stub().get_connection(&parked(&tenant), ops.option());
    assert!(retry_delay(&asked.unwrap_err()).is_some());
    // Another password would open another tenant, which is not paused.
    let other = tenant.with("password=another");
    assert_eq!(refused(client.acquire(&other.name, &other.dsn)).reason, "TENANT_PAUSED");
    lease.run(&["select 1"]);
    lease.release();
    resume(&ops, &tenant).unwrap();
    service.lease(&tenant).release();
    let unknown = Tenant { name: "nobody".to_owned(), ..tenant };
    let mode = PauseMode::PAUSE_MODE_WAIT;
    assert_eq!(refused(pause(&ops, &unknown, mode)).reason, "TENANT_NOT_FOUND");
}

#[test]
fn a_tenant_gets_more_or_fewer_connections_within_the_limits_of_the_service() {
    let service = Administered::with(&["--max-backends", "5", "--max-connections", "5"], "");
    let (tenant, other) = (tenant().pool_of(1), tenant().pool_of(1));
    let ops = service.operator("ops");
    let (lease, others) = (service.lease(&tenant), service.lease(&other));
    let client = service.client();
    let waiting = acquire_later(&client, &parked(&tenant));
    service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
    assert_eq!(resize(&ops, &tenant, 4).unwrap().max_connections, 4);
    let second = answer(waiting).expect("there is room for it");
    let over = refused(resize(&ops, &tenant, 5));
    assert_eq!(over.reason, "SERVICE_LIMIT");
    assert!(over.message.contains("max_backends") && over.message.contains("6 of 5"), "{over}");
    assert_eq!(service.metric("connpool_service_connections_reserved"), Some(5.0));
    for wrong in [0, -1, 101, i32::MAX] {
        assert_eq!(refused(resize(&ops, &tenant, wrong)).reason, "INVALID_ARGUMENT", "{wrong}");
    }
    assert_eq!(resize(&ops, &tenant, 1).unwrap().max_connections, 1);
    // Both are in use, and go on.
    lease.run(&["select 1"]);
    client.run(&second.connection_id, &["select 1"]).unwrap();
    lease.release();
    client.release(&second.connection_id).unwrap();
    // The second may come back while the first is still being closed.
    eventually("what is beyond it is closed", || tenant.backends() <= 1);
    assert!(service.wait_quiet(&tenant.name).total_connections <= 1);
    assert_eq!(resize(&ops, &other, 4).unwrap().max_connections, 4);
    others.release();
}

#[test]
fn connections_are_replaced_at_once_or_when_they_come_back() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(3));
    let ops = service.operator("ops");
    let (held, idle) = (service.lease(&tenant), service.lease(&tenant));
    held.run(&["create temp table t (n int)"]);
    idle.release();
    service.wait_stats(&tenant.name, "one rests", |stats| stats.idle_connections == 1);
    reconnect(&ops, &tenant).unwrap();
    eventually("what rested is closed", || tenant.backend_pids() == [held.pid]);
    held.run(&["insert into t values (1)"]);
    let fresh = service.lease(&tenant);
    assert!(![held.pid, idle.pid].contains(&fresh.pid));
    held.release();
    eventually("what was in use is closed", || tenant.backend_pids() == [fresh.pid]);
    fresh.release();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_check_tells_which_connections_still_answer() {
    let service = Administered::with(&["--health-check-interval", "0", "--ping-interval", "0"], "");
    let tenant = tenant().pool_of(2);
    let ops = service.operator("ops");
    let leases = [service.lease(&tenant), service.lease(&tenant)];
    let all_out = check(&ops, &tenant).unwrap();
    assert_eq!((all_out.working, all_out.failed), (0, 0), "{all_out}");
    leases.iter().for_each(|lease| lease.release());
    service.wait_stats(&tenant.name, "both rest", |stats| stats.idle_connections == 2);
    let good = check(&ops, &tenant).unwrap();
    assert_eq!((good.working, good.failed, &*good.status), (2, 0, "healthy"), "{good}");
    let pids: BTreeSet<i32> = tenant.backend_pids().into_iter().collect();
    for pid in &pids {
        tenant.sql(&format!("select pg_terminate_backend({pid})"));
    }
    eventually("they are gone", || tenant.backends() == 0);
    // They are found closed by the check, or in doubt by what came before it.
    let bad = check(&ops, &tenant).unwrap();
    assert!(bad.failed > 0 && bad.status != "healthy", "{bad}");
    assert!(bad.last_error_at.is_some() && !bad.last_error.is_empty(), "{bad}");
    let unknown = Tenant { name: "nobody".to_owned(), ..tenant };
    assert_eq!(refused(check(&ops, &unknown)).reason, "TENANT_NOT_FOUND");
}

#[test]
fn the_level_of_the_log_changes_while_the_service_runs() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(1));
    let ops = service.operator("ops");
    service.lease(&tenant).release();
    set_log_level(&ops, "warn").unwrap();
    reconnect(&ops, &tenant).unwrap();
    set_log_level(&ops, "warn,connection_pool_manager=info").unwrap();
    service.log().wait_for("event=admin action=set_log_level level=\"warn,connection_pool_manager");
    // Who acts is told all the same.
    let log = service.log().text();
    assert!(log.contains("action=reconnect") && !log.contains("event=pool_changed"), "{log}");
    for wrong in ["", "loud", "warn,=x"] {
        let error = refused(set_log_level(&ops, wrong));
        assert_eq!(error.reason, "INVALID_ARGUMENT", "{wrong:?}: {error}");
    }
}

#[test]
fn a_removed_tenant_is_gone_for_who_comes_and_its_leases_go_on_or_end_too() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(2));
    let ops = service.operator("ops");
    let (held, busy) = (service.lease(&tenant), service.lease(&tenant));
    let client = service.client();
    let waiting = acquire_later(&client, &parked(&tenant));
    service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
    assert_eq!(remove(&ops, &tenant, false).unwrap(), 2);
    assert_eq!(refused(answer(waiting)).reason, "TENANT_NOT_FOUND");
    assert!(!service.knows(&tenant.name));
    // What it still has counts.
    assert_eq!(service.metric("connpool_service_connections_reserved"), Some(2.0));
    held.run(&["select 1"]);
    busy.release();
    eventually("what comes back is closed", || tenant.backend_pids() == [held.pid]);
    held.release();
    eventually("nothing is left", || {
        service.metric("connpool_service_connections_reserved") == Some(0.0)
    });
    // A DSN registers it anew.
    let (idle, busy) = (service.lease(&tenant), service.lease(&tenant));
    let running = busy.run_later("select pg_sleep(3600), 'removed one'");
    eventually("it runs", || tenant.running("removed one") > 0);
    assert_eq!(remove(&ops, &tenant, true).unwrap(), 2);
    assert_eq!(refused(answer(running)).reason, "CANCELLED");
    assert_eq!((&*idle.end_reason(), &*busy.end_reason()), ("tenant_removed", "tenant_removed"));
    eventually("nothing is left", || tenant.backends() == 0);
    assert_eq!(refused(remove(&ops, &tenant, true)).reason, "TENANT_NOT_FOUND");
}
