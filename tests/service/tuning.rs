//! What an operator can tune: each setting has its effect, and where a reload changes it, at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use connection_pool_manager::client::service::listen::Listen;
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::listen_response::Kind;
use connection_pool_manager::proto::sql::ListenRequest;

use crate::harness::proxy::Proxy;
use crate::harness::{eventually, execute_later, postgres, refused, tenant, Held, Service, Tenant};
use crate::harness::{millis, sql};
use crate::settings_reload::Configured;

fn listen(service: &Service, tenant: &Tenant, channels: &[&str]) -> Result<Listen, CallError> {
    let mut listen = service.client().listen(&ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: channels.iter().map(|&name| name.to_owned()).collect(),
        ..ListenRequest::default()
    })?;
    let started = listen.next()?.and_then(|response| response.kind);
    assert!(matches!(started, Some(Kind::Started(_))), "{started:?}");
    Ok(listen)
}

#[test]
fn listeners_and_their_channels_have_limits_that_a_reload_changes() {
    let text = |listeners: u32, channels: u32| {
        format!(
            "[service]\nmax_listeners_per_tenant = {listeners}\nmax_channels_per_tenant = {channels}\n"
        )
    };
    let (configured, tenant) = (Configured::start(&text(1, 2)), tenant());
    let service = &configured.service;
    let first = listen(service, &tenant, &["a"]).unwrap();
    let error = refused(listen(service, &tenant, &["a"]).map(drop));
    assert!(error.message.contains("listeners of one tenant"), "{error}");
    configured.reload(&text(2, 2));
    let error = refused(listen(service, &tenant, &["b", "c"]).map(drop));
    assert!(error.message.contains("channels of one tenant"), "{error}");
    let second = listen(service, &tenant, &["b"]).unwrap();
    drop((first, second));
}

#[test]
fn a_tenant_that_nobody_uses_is_forgotten_as_soon_as_a_reload_says() {
    let (configured, tenant) = (Configured::start("[service]\n"), tenant());
    configured.service.lease(&tenant).release();
    configured.reload("[service]\nunused_tenant_age = 1\n");
    let told = format!("event=tenant_removed tenant={} ", tenant.name);
    configured.service.log().wait_for(&told);
    eventually("its connections are closed", || tenant.backends() == 0);
}

/// Runs a statement that sees no cancel, and returns the line of its end.
fn deaf(service: &Service, tenant: &Tenant, proxy: &Proxy) -> String {
    let lease: Held = service.lease(tenant);
    proxy.hold();
    let mut asked = sql::on_lease(&lease, &["select pg_sleep(600)"]);
    asked.timeout = millis(100);
    let running = execute_later(&lease.client, &asked);
    let told = format!("event=backend_aborted tenant={} ", tenant.name);
    let line = service.log().wait_for(&told);
    proxy.forward();
    drop(running);
    line
}

#[test]
fn a_statement_that_obeys_no_cancel_has_the_time_that_a_reload_gives() {
    let configured = Configured::start("[service]\ncancel_grace = \"300ms\"\n");
    for grace in ["0.3", "0.7"] {
        let proxy = Proxy::to(postgres().port());
        let tenant = tenant().over(&proxy);
        let line = deaf(&configured.service, &tenant, &proxy);
        assert!(line.contains(&format!(" after_s={grace}")), "{line}");
        configured.reload("[service]\ncancel_grace = \"700ms\"\n");
    }
}

/// In how many seconds TCP asks this backend whether it is there; `None` while it has something
/// else to do.
fn asked_in(service: &Service, lease: &Held, tenant: &Tenant) -> Option<u64> {
    let sql = format!("select client_port from pg_stat_activity where pid = {}", lease.pid);
    let local: u16 = tenant.sql(&sql).parse().unwrap();
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", service.pid())).unwrap();
    let ends = (format!(":{local:04X}"), format!(":{:04X}", postgres().port()));
    let line = table.lines().find(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells[1].ends_with(&ends.0) && cells[2].ends_with(&ends.1)
    });
    let timer = line.expect("a connection").split_whitespace().nth(5).unwrap();
    let ticks = timer.strip_prefix("02:")?;
    Some(u64::from_str_radix(ticks, 16).unwrap() / 100)
}

#[test]
fn servers_are_asked_whether_they_are_there_as_the_settings_and_the_dsn_say() {
    let (configured, tenant) =
        (Configured::start("[defaults]\ntcp_keepalive_idle = 5000\n"), tenant());
    let service = &configured.service;
    let asked = |tenant: &Tenant, least: u64| {
        let lease = service.lease(tenant);
        eventually("the time of the next question", || {
            let seconds = asked_in(service, &lease, tenant);
            seconds.is_some_and(|seconds| (least - 500..=least).contains(&seconds))
        });
        lease.release();
    };
    asked(&tenant, 5000);
    configured.reload("[defaults]\ntcp_keepalive_idle = 9000\n");
    asked(&tenant, 9000);
    let own = crate::harness::tenant().with("keepalives_idle=7000");
    asked(&own, 7000);
}

#[test]
fn http_has_as_many_connections_as_it_is_given_and_the_slowest_makes_room() {
    let service = Service::with(&["--http-connections", "2"]);
    let slow = || {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        stream.write_all(b"GET /hea").unwrap();
        stream
    };
    let mut held = [slow(), slow()];
    // There is no place for a third until one of them has lost its own.
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    let mut closed = 0;
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        // Its end, or what breaks it.
        let waits =
            matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        closed += usize::from(!waits);
    }
    assert!(closed >= 1);
}

#[test]
fn tenants_beyond_the_number_with_series_of_their_own_share_them() {
    let service = Service::with(&["--metrics-tenants", "1"]);
    let [first, second] = [tenant(), tenant()];
    for tenant in [&first, &second] {
        service.lease(tenant).release();
    }
    let granted = |tenant: &str| {
        service.metric(&format!("connpool_leases_granted_total{{tenant=\"{tenant}\"}}"))
    };
    let both = || (granted("_other"), granted(&first.name)) == (Some(1.0), Some(1.0));
    eventually("both are counted", both);
    assert_eq!(granted(&second.name), None);
}
