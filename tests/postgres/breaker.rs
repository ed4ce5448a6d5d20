//! A database that is away costs its own tenant clear errors, and others nothing.

use crate::harness::sql::assert_error;
use std::net::{Ipv4Addr, TcpListener};

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, code, eventually, millis, now, refused, request, retry_delay, tenant,
    tenant_on, Service, Tenant,
};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::{BreakerState, ConnectionRequest};
use futures_util::FutureExt;

/// Asks until the breaker is open.
fn open_breaker(service: &Service, tenant: &Tenant) {
    let client = service.client();
    eventually("the breaker opens", || {
        match client.acquire(&tenant.name, &tenant.dsn) {
            Err(error) => {
                assert_eq!(error.code, code::UNAVAILABLE, "{error}");
                error.reason == "BREAKER_OPEN"
            }
            // One that had just been used, and was lost then, is not looked at before.
            Ok(granted) => client.release(&granted.connection_id).is_err(),
        }
    });
}

fn breaker(service: &Service, tenant: &Tenant) -> BreakerState {
    service.client().stats(&tenant.name).unwrap().breaker_state.unwrap()
}

#[test]
fn while_the_breaker_is_open_callers_fail_at_once_and_no_connect_is_made() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(2));
    service.lease(&tenant).release();
    postgres.stop(StopMode::Fast).unwrap();
    open_breaker(&service, &tenant);
    assert_eq!(breaker(&service, &tenant), BreakerState::BREAKER_STATE_OPEN);
    let began = now();
    let failures = || {
        let family = "connpool_backend_open_failures_total{reason=\"unreachable\",tenant=";
        service.metric(&format!("{family}\"{}\"}}", tenant.name)).unwrap()
    };
    let (before, client) = (failures(), service.client());
    for _ in 0..200 {
        let error = refused(client.acquire(&tenant.name, &tenant.dsn));
        assert_error(&error, code::UNAVAILABLE, "BREAKER_OPEN");
        assert!(error.message.contains("refused") && error.message.contains(" s ago"), "{error}");
    }
    let probes = failures() - before;
    println!("200 refusals in {:?}, {probes} probes beside them", began.elapsed());
    // Probes are a second apart; two hundred tries would have been as many failures.
    assert!(probes < 100.0, "{probes} connects");
    let asked = request(&tenant);
    let refusal = client.pool_stub().get_connection(&asked, grpcio::CallOption::default());
    assert!(retry_delay(&refusal.unwrap_err()).is_some_and(|delay| !delay.is_zero()));
}

#[test]
fn waiting_requests_fail_when_the_database_is_lost_and_not_at_their_timeouts() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(1));
    let (lease, client) = (service.lease(&tenant), service.client());
    let parked = ConnectionRequest { wait_timeout: millis(300_000), ..request(&tenant) };
    let calls: Vec<_> = (0..30).map(|_| acquire_later(&client, &parked)).collect();
    service.wait_stats(&tenant.name, "they wait", |stats| stats.waiting == 30);
    postgres.stop(StopMode::Fast).unwrap();
    lease.fails(&["select 1"]);
    for call in calls {
        assert_eq!(refused(answer(call)).code, code::UNAVAILABLE);
    }
    assert_eq!(service.client().stats(&tenant.name).unwrap().waiting, 0);
    service.log().wait_for("event=breaker_opened");
    assert_eq!(service.log().text().matches("event=breaker_opened").count(), 1);
}

#[test]
fn idle_connections_are_leased_while_no_new_one_can_be_had() {
    let postgres = Embedded::start(Options::default()).unwrap();
    // Its pings would wait for the frozen server's answers.
    let (service, tenant) = (Service::start(), tenant_on(&postgres));
    let proxy = Proxy::to(postgres.port());
    let tenant = tenant.over(&proxy).pool_of(2);
    let lease = service.lease(&tenant);
    proxy.refuse();
    open_breaker(&service, &tenant);
    lease.release();
    service.wait_stats(&tenant.name, "it is at rest", |stats| stats.idle_connections == 1);
    let again = service.lease(&tenant);
    assert_eq!(again.pid, lease.pid);
    again.run(&["select 1"]);
    let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
    assert_error(&error, code::UNAVAILABLE, "BREAKER_OPEN");
    proxy.forward();
    service.log().wait_for("event=breaker_closed");
    service.lease(&tenant).run(&["select 1"]);
}

#[test]
fn a_wrong_password_fails_at_once_and_does_not_count_for_the_breaker() {
    // A check would be one more.
    let service = Service::with(&["--health-check-interval", "0"]);
    let tenant = tenant().pool_of(2);
    let lease = service.lease(&tenant);
    tenant.sql(&format!("alter role {} password 'another'", tenant.name));
    for n in 0..10 {
        let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
        match error.reason.as_str() {
            // By then no more than one a second is tried.
            "LOGIN_LIMIT" if n >= 5 => {}
            _ => assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED"),
        }
    }
    assert_eq!(breaker(&service, &tenant), BreakerState::BREAKER_STATE_CLOSED);
    assert_eq!(open_failures(&service), 10.0, "each was tried once");
    lease.run(&["select 1"]);
}

#[test]
fn a_full_database_fails_as_such_and_does_not_count_for_the_breaker() {
    let (service, tenant) = (Service::start(), tenant().pool_of(3));
    tenant.sql(&format!("alter role {} connection limit 1", tenant.name));
    let lease = service.lease(&tenant);
    for _ in 0..3 {
        let hurried = ConnectionRequest { wait_timeout: millis(0), ..request(&tenant) };
        let error = refused(service.client().acquire_with(&hurried));
        assert_error(&error, code::RESOURCE_EXHAUSTED, "DATABASE_FULL");
    }
    assert_eq!(breaker(&service, &tenant), BreakerState::BREAKER_STATE_CLOSED);
    // Who waits gets what comes back, though it had set out to open one.
    let call = {
        let client = service.client();
        let call = acquire_later(&client, &request(&tenant));
        service.wait_stats(&tenant.name, "it is under way", |stats| stats.acquire_count == 1);
        call
    };
    lease.release();
    assert_eq!(answer(call).unwrap().lease.backend_pid, lease.pid);
}

/// Asks until the breaker is open, for a tenant that has never been.
fn never_opened(service: &Service, tenant: &Tenant) {
    open_breaker(service, tenant);
    assert!(!service.knows(&tenant.name), "nothing is left of it");
}

/// Attempts to connect that failed, of all tenants and for all reasons.
fn open_failures(service: &Service) -> f64 {
    let page = service.get("/metrics").1;
    let lines =
        page.lines().filter(|line| line.starts_with("connpool_backend_open_failures_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The same tenant by a way that can be closed.
fn by_proxy(tenant: &Tenant) -> (Proxy, Tenant) {
    let proxy = Proxy::to(harness::postgres().port());
    let tenant = tenant.over(&proxy);
    (proxy, tenant)
}

#[test]
fn a_tenant_that_was_never_open_is_refused_at_once_too_and_served_when_its_database_is_there() {
    let (service, tenant) = (Service::start(), tenant());
    let (proxy, tenant) = by_proxy(&tenant);
    proxy.refuse();
    never_opened(&service, &tenant);
    let failed = || open_failures(&service);
    let (began, before, client) = (now(), failed(), service.client());
    for _ in 0..200 {
        let error = refused(client.acquire(&tenant.name, &tenant.dsn));
        // Whoever comes when a probe is due makes it, and hears what came of that.
        assert_eq!(error.code, code::UNAVAILABLE, "{error}");
        assert!(["BREAKER_OPEN", "DATABASE_UNAVAILABLE"].contains(&&*error.reason), "{error}");
        assert!(!error.message.contains(&tenant.password), "{error}");
    }
    let probes = failed() - before;
    println!("200 refusals in {:?}, {probes} probes among them", began.elapsed());
    // Without a memory each would have made four tries.
    assert!(probes < 100.0, "{probes} connects");
    proxy.forward();
    eventually("whoever comes when it is time finds it there", || {
        let granted = client.acquire(&tenant.name, &tenant.dsn);
        granted.is_ok_and(|granted| client.release(&granted.connection_id).is_ok())
    });
    assert_eq!(breaker(&service, &tenant), BreakerState::BREAKER_STATE_CLOSED);
    // All at once need more than the one that was opened.
    let leases: Vec<_> = (0..5).map(|_| service.lease(&tenant)).collect();
    assert_eq!(leases.len(), 5);
}

#[test]
fn no_request_waits_behind_a_probe_of_a_tenant_that_never_opened() {
    let (service, tenant) = (Service::start(), tenant());
    let (proxy, tenant) = by_proxy(&tenant);
    proxy.refuse();
    never_opened(&service, &tenant);
    // From now on a probe takes all of its five seconds.
    proxy.hold();
    let client = service.client();
    let (mut probe, before) = (None, proxy.taken());
    eventually("one is a probe", || {
        let mut call = acquire_later(&client, &request(&tenant));
        // It is one from when it has set out, and not from when its tenant is known: who
        // comes in that moment stands behind it.
        let is_probe = || proxy.taken() > before;
        eventually("it is answered or a probe", || {
            (&mut call).now_or_never().is_some() || is_probe()
        });
        let found = is_probe();
        probe = found.then_some(call);
        found
    });
    let error = refused(client.acquire(&tenant.name, &tenant.dsn));
    assert_error(&error, code::UNAVAILABLE, "BREAKER_OPEN");
    let mut probe = probe.unwrap();
    assert!((&mut probe).now_or_never().is_none(), "it was answered before the probe was over");
    // The probe comes through.
    proxy.forward();
    assert!(answer(probe).is_ok());
}

#[test]
fn another_dsn_of_a_tenant_that_cannot_be_opened_is_tried_at_once() {
    let (service, right) = (Service::start(), tenant());
    let (proxy, wrong) = by_proxy(&right);
    proxy.refuse();
    never_opened(&service, &wrong);
    let lease = service.lease(&right);
    lease.run(&["select 1"]);
    let error = refused(service.client().acquire(&wrong.name, &wrong.dsn));
    assert_error(&error, code::FAILED_PRECONDITION, "DSN_MISMATCH");
}

#[test]
fn another_dsn_is_tried_at_once_while_the_first_one_fails() {
    let (service, right) = (Service::start(), tenant());
    let (proxy, wrong) = by_proxy(&right);
    proxy.refuse();
    let client = service.client();
    let calls: Vec<_> = (0..3).map(|_| acquire_later(&client, &request(&wrong))).collect();
    service.log().wait_for("event=connect_failed");
    // The next try takes all of its five seconds.
    proxy.hold();
    let lease = service.lease(&right);
    lease.run(&["select 1"]);
    proxy.refuse();
    for call in calls {
        let error = refused(answer(call));
        // The last try may have been on its way.
        assert!(["DSN_MISMATCH", "DATABASE_UNAVAILABLE"].contains(&&*error.reason), "{error}");
    }
    let error = refused(client.acquire(&wrong.name, &wrong.dsn));
    assert_error(&error, code::FAILED_PRECONDITION, "DSN_MISMATCH");
}

#[test]
fn each_wrong_password_of_a_tenant_that_never_opened_fails_as_such() {
    let (service, tenant) = (Service::start(), tenant());
    let wrong = tenant.dsn.replace(&tenant.password, "wrong-secret");
    for _ in 0..4 {
        let error = refused(service.client().acquire(&tenant.name, &wrong));
        assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    }
    service.lease(&tenant).run(&["select 1"]);
}

/// A request of a tenant whose server takes connections and says nothing.
fn mute(listener: &TcpListener, name: &str, wait: u64) -> ConnectionRequest {
    let port = listener.local_addr().unwrap().port();
    ConnectionRequest {
        tenant_id: name.to_owned(),
        dsn: format!("host=127.0.0.1 port={port} user=u password=p dbname=d"),
        wait_timeout: millis(wait),
        ..ConnectionRequest::default()
    }
}

#[test]
fn beside_ten_black_holes_another_tenant_waits_for_nothing_of_theirs() {
    let (service, tenant) = (Service::start(), tenant());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = service.client();
    let mut holes: Vec<_> = (0..10)
        .map(|n| acquire_later(&client, &mute(&listener, &format!("hole{n}"), 300_000)))
        .collect();
    eventually("all are being opened", || {
        service.metric("connpool_tenants{state=\"opening\"}") == Some(10.0)
    });
    // Before one of theirs has come to its first end.
    let mut served = 0;
    while served < 50 && !service.log().text().contains("event=connect_failed") {
        let lease = service.lease(&tenant);
        lease.run(&["select 1"]);
        lease.release();
        served += 1;
    }
    assert!(served > 3, "{served}");
    assert!(holes.iter_mut().all(|hole| hole.now_or_never().is_none()));
}

#[test]
fn a_connect_to_a_black_hole_fails_at_its_callers_timeout() {
    let service = Service::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = service.client();
    let mut patient = acquire_later(&client, &mute(&listener, "patient", 300_000));
    let error = refused(client.acquire_with(&mute(&listener, "hurried", 1_500)));
    assert_error(&error, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert!(error.message.contains("no answer within 1."), "{error}");
    assert!((&mut patient).now_or_never().is_none());
}

#[test]
fn a_connect_to_a_host_that_drops_every_packet_fails_in_time() {
    // A full backlog answers no SYN: the same as a packet filter that drops.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let filler = filler.unwrap();
            filler.set_nonblocking(true).unwrap();
            // In progress, for ever.
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    let service = Service::start();
    let error = refused(service.client().acquire_with(&mute(&listener, "dropped", 1_000)));
    assert_error(&error, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert!(error.message.contains("no answer within 1"), "{error}");
    drop(fillers);
}
