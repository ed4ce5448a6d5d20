//! What is said of health, in every place where it is said.

use crate::harness;
use crate::harness::{code, eventually, refused, tenant, tenant_on, Service, Tenant};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::BreakerState;
use connection_pool_manager::proto::health::health_check_response::ServingStatus;
use connection_pool_manager::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest,
};
use futures_executor::block_on;
use futures_util::StreamExt;
use grpcio::{CallOption, ClientSStreamReceiver, RpcStatusCode};

const NAMES: [&str; 4] = [
    "",
    "connectionpool.ConnectionPoolService",
    "connectionpool.SqlService",
    "connectionpool.AdminService",
];

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned(), ..HealthCheckRequest::default() }
}

fn options() -> CallOption {
    CallOption::default().timeout(5 * harness::PATIENCE).wait_for_ready(true)
}

/// What the standard service says of all names, which must be the same.
#[track_caller]
fn serving(service: &Service) -> ServingStatus {
    let client = service.client();
    let stub = client.health_stub();
    let check = |name| stub.check(&named(name), options()).unwrap().status.unwrap();
    let whole = check("");
    let all = stub.list(&HealthListRequest::default(), options()).unwrap().statuses;
    assert_eq!(all.len(), NAMES.len());
    for name in NAMES {
        assert_eq!((check(name), all[name].status.unwrap()), (whole, whole), "{name}");
    }
    whole
}

fn next(watch: &mut ClientSStreamReceiver<HealthCheckResponse>) -> ServingStatus {
    block_on(watch.next()).expect("the stream goes on").expect("a status").status.unwrap()
}

fn status(service: &Service, tenant: &str) -> String {
    service.client().health(tenant).unwrap().status
}

/// A pool of two with one connection at rest.
fn rested(service: &Service, tenant: Tenant) -> Tenant {
    let tenant = tenant.pool_of(2);
    service.lease(&tenant).release();
    service.wait_quiet(&tenant.name);
    tenant
}

#[test]
fn a_service_without_tenants_is_healthy_and_serves() {
    let service = Service::start();
    let health = service.client().health("").unwrap();
    assert_eq!((&*health.status, health.tenants.len()), ("healthy", 0));
    assert_eq!(
        health.message,
        "Connection pool: 0/0 connections active, 0 errors, 0 health check failures"
    );
    assert!(health.timestamp > 1_700_000_000);
    let page = "{\"status\":\"healthy\",\"draining\":false,\"grpc\":\"serving\",\"tenants\":[]}\n";
    assert_eq!(service.get("/health/ready"), (200, page.to_owned()));
    assert_eq!(service.get("/health/live"), (200, "OK".to_owned()));
    assert_eq!(serving(&service), ServingStatus::SERVING);
    let metrics = service.client().pool_metrics("").unwrap();
    assert_eq!((metrics.total_connections, metrics.last_health_check_timestamp), (0, None));
}

#[test]
fn an_unknown_state_is_reported_as_unknown() {
    let service = Service::start();
    let client = service.client();
    for error in [refused(client.health("nobody")), refused(client.pool_metrics("nobody"))] {
        assert_eq!((error.code, &*error.reason), (code::NOT_FOUND, "TENANT_NOT_FOUND"));
    }
    assert_eq!(refused(client.health("no body")).code, code::INVALID_ARGUMENT);
    match client.health_stub().check(&named("nothing"), options()) {
        Err(grpcio::Error::RpcFailure(status)) => {
            assert_eq!(status.code(), RpcStatusCode::NOT_FOUND);
        }
        other => panic!("{other:?}"),
    }
    let mut watch = client.health_stub().watch(&named("nothing"), options()).unwrap();
    assert_eq!(next(&mut watch), ServingStatus::SERVICE_UNKNOWN);
}

#[test]
fn a_lost_database_makes_its_own_tenant_unhealthy_and_the_service_degraded() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let service = Service::with(&["--health-check-interval", "1"]);
    let lost = rested(&service, tenant_on(&postgres));
    let watched = service.client();
    let mut watch = watched.health_stub().watch(&named(""), options()).unwrap();
    assert_eq!(next(&mut watch), ServingStatus::SERVING);
    assert_eq!(status(&service, ""), "healthy");

    // The only tenant's database: nothing works any more.
    postgres.stop(StopMode::Fast).unwrap();
    eventually("it is unhealthy", || status(&service, "") == "unhealthy");
    // The service itself is ready all the same.
    assert_eq!(service.get("/health/ready").0, 200);
    assert_eq!(service.get("/health/ready?tenants=all").0, 503);
    let (refused, rule) = service.get("/health/ready?tenants=ALL");
    assert!(refused == 400 && rule.contains("?tenants=all"), "{refused} {rule}");
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    assert_eq!(serving(&service), ServingStatus::SERVING);
    // By checks alone: no caller has come.
    service.log().wait_for("event=breaker_opened");

    // Beside one that works it is the service's lesser trouble.
    let mut other = tenant();
    other.name = format!("other-{}", other.name);
    let other = rested(&service, other);
    assert_eq!((&*status(&service, ""), &*status(&service, &other.name)), ("degraded", "healthy"));
    // The last error may still be that of a connection that was closed.
    eventually("a connect is refused", || {
        let row = service.client().health(&lost.name).unwrap().tenants.remove(0);
        row.last_error.contains("refused")
    });
    let (code, page) = service.get("/health/ready");
    assert_eq!(code, 200, "{page}");
    assert!(page.contains(&format!("\"tenant\":\"{}\",\"status\":\"unhealthy\"", lost.name)));
    assert!(page.contains("\"breaker\":\"open\"") && page.contains("refused"), "{page}");
    assert!(!page.contains(&lost.password), "{page}");
    let row = service.client().health(&lost.name).unwrap().tenants.remove(0);
    assert_eq!((&*row.tenant_id, &*row.status), (&*lost.name, "unhealthy"));
    assert_eq!(row.breaker_state.unwrap(), BreakerState::BREAKER_STATE_OPEN);
    assert!(row.last_error.contains("refused") && row.last_error_at.is_some(), "{row:?}");
    let series = |family: &str, name: &str| {
        service.metric(&format!("connpool_{family}{{tenant=\"{name}\"}}")).expect("a series")
    };
    assert_eq!(
        (series("tenant_health", &lost.name), series("tenant_health", &other.name)),
        (0., 2.)
    );
    assert_eq!(
        (series("breaker_state", &lost.name), series("breaker_state", &other.name)),
        (1., 0.)
    );
    assert!(series("health_check_failures_total", &lost.name) >= 1.0);
    assert_eq!(series("health_check_failures_total", &other.name), 0.0);
    assert!(series("health_checks_total", &other.name) >= 1.0);
    assert!(series("last_health_check_timestamp_seconds", &other.name) > 1.7e9);
    // Checks and probes have their permits, too.
    eventually("no check runs", || series("pool_utilization_ratio", &other.name) == 0.0);
    let metrics = || service.client().pool_metrics(&lost.name).unwrap();
    let now = metrics();
    assert!(now.connection_errors >= 5 && now.health_check_failures >= 1, "{now:?}");
    eventually("no probe is out", || {
        let now = metrics();
        (now.active_connections, now.available_connections) == (0, 2)
    });

    postgres.start_again().unwrap();
    eventually("all is well again", || status(&service, "") == "healthy");
    assert_eq!(service.get("/health/ready?tenants=all").0, 200);
    assert_eq!(
        service.client().stats(&lost.name).unwrap().breaker_state.unwrap(),
        BreakerState::BREAKER_STATE_CLOSED
    );
    assert_eq!(service.client().health("").unwrap().tenants.len(), 2);
    // Nothing of all that was news to a watcher.
    service.signal(rustix::process::Signal::TERM);
    assert_eq!(next(&mut watch), ServingStatus::NOT_SERVING);
}

#[test]
fn a_connection_lost_while_idle_is_found_by_the_check_and_is_not_leased() {
    let service = Service::with(&["--health-check-interval", "1"]);
    let tenant = rested(&service, tenant());
    let lost = tenant.backend_pids();
    assert_eq!(tenant.sql(&format!("select pg_terminate_backend({})", lost[0])), "t");
    let failures = format!("connpool_health_check_failures_total{{tenant=\"{}\"}}", tenant.name);
    eventually("a check has failed", || service.metric(&failures) == Some(1.0));
    let said = |event: &str| service.log().text().contains(event);
    eventually("it is healthy again", || said("event=tenant_healthy"));
    assert!(said("event=tenant_degraded"));
    assert_eq!(status(&service, &tenant.name), "healthy");
    service.lease(&tenant).run(&["select 1"]);
    assert_eq!(service.client().pool_metrics("").unwrap().health_check_failures, 1);
}

#[test]
fn where_every_connection_is_leased_no_check_runs_and_the_tenant_stays_healthy() {
    let service = Service::with(&["--health-check-interval", "1"]);
    let (full, other) = (tenant().pool_of(1), rested(&service, tenant()));
    let lease = service.lease(&full);
    let last = |tenant: &Tenant| {
        service.client().health(&tenant.name).unwrap().tenants.remove(0).last_check
    };
    let (before, others) = (last(&full), last(&other));
    // Another's checks tell that there was time for some.
    let mut seen = others;
    for _ in 0..3 {
        eventually("another is checked", || last(&other) != seen);
        seen = last(&other);
    }
    assert_eq!((last(&full), &*status(&service, &full.name)), (before, "healthy"));
    assert_eq!(
        service.metric(&format!("connpool_pool_utilization_ratio{{tenant=\"{}\"}}", full.name)),
        Some(1.0)
    );
    lease.run(&["select 1"]);
}

#[test]
fn with_checks_and_pings_off_nothing_is_checked() {
    let off = ["--health-check-interval", "0", "--ping-interval", "0"];
    let (quiet, busy) = (Service::with(&off), Service::with(&["--ping-interval", "1"]));
    let tenant = rested(&quiet, tenant());
    rested(&busy, harness::tenant());
    let count = |service: &Service| {
        let page = service.get("/metrics").1;
        let own = |line: &&str| {
            line.starts_with("connpool_health_checks_total{") && !line.contains("_other")
        };
        page.lines().find(own).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    // Its making counts as one.
    eventually("pings come", || count(&busy) >= 4);
    assert_eq!((count(&quiet), &*status(&quiet, &tenant.name)), (1, "healthy"));
}

#[test]
fn a_tenant_is_checked_as_often_as_its_own_dsn_says() {
    let service = Service::with(&["--health-check-interval", "0", "--ping-interval", "0"]);
    let (mut often, never) = (tenant(), rested(&service, tenant()));
    often.dsn.push_str(" pool_health_check_period=1s");
    let often = rested(&service, often);
    let checks = |tenant: &Tenant| {
        let series = format!("connpool_health_checks_total{{tenant=\"{}\"}}", tenant.name);
        service.metric(&series).unwrap()
    };
    // Its making counts as one.
    eventually("it is checked", || checks(&often) >= 3.0);
    assert_eq!(checks(&never), 1.0);
}

#[test]
fn a_draining_service_is_live_and_reports_draining() {
    let service = Service::start();
    let lease = service.lease(&tenant());
    let client = service.client();
    let mut watch = client.health_stub().watch(&named(NAMES[1]), options()).unwrap();
    assert_eq!(next(&mut watch), ServingStatus::SERVING);
    service.signal(rustix::process::Signal::TERM);
    assert_eq!(next(&mut watch), ServingStatus::NOT_SERVING);
    let (code, page) = service.get("/health/ready");
    assert_eq!(code, 503);
    assert!(page.starts_with("{\"status\":\"draining\",\"draining\":true"), "{page}");
    assert!(page.contains("\"tenant\":"), "{page}");
    assert_eq!(service.get("/health").0, 200);
    lease.release();
}
