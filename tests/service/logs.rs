//! The log as an operator reads it: what is told, once, with whom and where.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::proxy::Proxy;
use crate::harness::sql::one_shot;
use crate::harness::{
    acquire_later, eventually, execute_later, millis, postgres, refused, request, tenant,
    Administered, Service,
};
use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::ExecuteRequest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rustix::process::Signal;

/// Lines of the log that hold all of these.
fn lines(service: &Service, parts: &[&str]) -> Vec<String> {
    let text = service.log().text();
    let found = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
    found.map(str::to_owned).collect()
}

#[track_caller]
fn assert_tells(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
}

#[test]
fn a_failed_connect_is_one_line_with_server_peer_and_reason_and_then_a_count() {
    let mut service = Service::start();
    let client = service.client();
    let nobody = |port: u16| format!("postgres://u:secret@127.0.0.1:{port}/d");
    for _ in 0..3 {
        refused(client.acquire("lost", &nobody(1)));
    }
    let told = || lines(&service, &["event=connect_failed tenant=lost "]);
    eventually("it is told", || !told().is_empty());
    assert_tells(
        &told()[0],
        &[
            " WARN ",
            " server=\"127.0.0.1:1\" ",
            " peer=ipv4:127.0.0.1:",
            " reason=unreachable ",
            " elapsed_s=0",
            " error=\"127.0.0.1:1: ",
        ],
    );
    // Another reason is news.
    let tenant = tenant();
    refused(client.acquire("lost", &tenant.dsn.replace(&tenant.password, "wrong")));
    service.log().wait_for("reason=rejected");
    assert_eq!(told().len(), 2, "{:?}", told());
    service.signal(Signal::TERM);
    service.wait();
    // The attempts between are counted; nobody has waited for a minute.
    let rest = service.log().wait_for("of=connect_failed tenant=lost state=unreachable count=");
    let count: usize = rest.rsplit('=').next().unwrap().parse().unwrap();
    assert!(count >= 2, "{rest}");
}

#[test]
fn a_lease_that_a_clock_ends_is_a_warning_with_its_holder() {
    let (service, tenant) = (Service::start(), tenant());
    let short = |request| ConnectionRequest { holder: "night job".to_owned(), ..request };
    let ttl = ConnectionRequest { ttl: millis(1000), ..short(request(&tenant)) };
    let life = ConnectionRequest { max_lifetime: millis(1000), ..short(request(&tenant)) };
    let idle = ConnectionRequest { idle_in_transaction: millis(1000), ..short(request(&tenant)) };
    for (asked, reason) in [(ttl, "ttl"), (life, "max_lifetime"), (idle, "idle_in_transaction")] {
        let lease = service.lease_with(&asked);
        lease.run(&["begin"]);
        let line = service.log().wait_for(&format!("event=lease_ended reason={reason} "));
        let name = format!(" tenant={} lease=lease-", tenant.name);
        assert_tells(&line, &[" WARN ", &name, " holder=\"night job\" ", " held_s=", "_s="]);
    }
}

#[test]
fn a_stop_names_the_leases_that_it_ends() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let tenant = tenant();
    let asked = ConnectionRequest { holder: "who forgets".to_owned(), ..request(&tenant) };
    let leases = [service.lease_with(&asked), service.lease_with(&asked)];
    let running = leases[0].run_later("select pg_sleep(600)");
    eventually("it runs", || tenant.running("pg_sleep") == 1);
    service.signal(Signal::TERM);
    service.wait();
    assert_eq!(lines(&service, &["event=drain_timeout leases=2 "]).len(), 1);
    let named = lines(&service, &["event=lease_ended reason=shutdown ", "\"who forgets\""]);
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named.iter().all(|line| line.contains(" WARN ")), "{named:?}");
    drop(running);
}

#[test]
fn a_cancel_that_fails_and_a_connection_that_is_closed_for_it_name_tenant_and_lease() {
    let (service, proxy) = (Service::start(), Proxy::to(postgres().port()));
    let tenant = tenant().over(&proxy);
    let asked = ConnectionRequest { holder: "deaf".to_owned(), ..request(&tenant) };
    let client = service.client();
    let granted = client.acquire_with(&asked).unwrap();
    let statement = statement("select pg_sleep(600)");
    let asked = ExecuteRequest {
        connection_id: granted.connection_id,
        statements: vec![statement],
        timeout: millis(2000),
        ..ExecuteRequest::default()
    };
    let running = execute_later(&client, &asked);
    eventually("it runs", || tenant.running("pg_sleep") == 1);
    proxy.hold();
    let whose = format!(" tenant={} lease={} ", tenant.name, granted.lease.lease_name);
    for event in ["event=backend_aborted", "event=cancel_failed"] {
        assert_tells(&service.log().wait_for(event), &[&whose, " cause=timeout "]);
    }
    proxy.forward();
    drop(running);
}

#[test]
fn an_outage_is_logged_by_its_changes_of_state() {
    let (service, proxy) = (Service::start(), Proxy::to(postgres().port()));
    let tenant = tenant().over(&proxy).pool_of(2);
    let lease = service.lease(&tenant);
    lease.release();
    proxy.cut();
    eventually("its breaker is open", || {
        let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
        error.reason == "BREAKER_OPEN"
    });
    let of = |event: &str| lines(&service, &[&format!("event={event} tenant={} ", tenant.name)]);
    service.log().wait_for("event=tenant_unhealthy");
    proxy.forward();
    service.log().wait_for("event=breaker_closed");
    service.log().wait_for("event=tenant_healthy");
    assert_eq!(of("connect_failed").len(), 1);
    assert_eq!((of("breaker_opened").len(), of("breaker_closed").len()), (1, 1));
    assert_tells(&of("breaker_opened")[0], &[" server=\"", " error=\""]);
    assert_tells(&of("breaker_closed")[0], &[" open_for_s="]);
    assert_tells(&of("tenant_unhealthy")[0], &[" breaker=open ", " last_error=\""]);
    assert_tells(&of("tenant_healthy")[0], &[" was="]);
}

#[test]
fn a_failed_handshake_is_an_event_of_ours_and_counted() {
    let service = Service::start();
    let counted = |reason: &str| {
        let series = "connpool_tls_handshake_failures_total";
        service.metric(&format!("{series}{{reason=\"{reason}\"}}")).expect("from the start on")
    };
    for reason in ["tls", "alpn", "closed", "timed_out", "other"] {
        assert_eq!(counted(reason), 0.0);
    }
    let connect = || TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    // Not TLS at all.
    let mut plain = connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = plain.read_to_end(&mut Vec::new());
    // TLS that does not ask for HTTP/2.
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let mut tls = connector.build().connect("localhost", connect()).unwrap();
    let _ = tls.read_to_end(&mut Vec::new());
    // Somebody looks whether the port is open.
    let looked = connect();
    let peer = looked.local_addr().unwrap();
    drop(looked);
    for (reason, parts) in [
        ("tls", [" WARN ", " error=\"Ssl handshake failed: "]),
        ("alpn", [" WARN ", " error=\"Cannot check peer: missing selected ALPN"]),
        ("closed", [" DEBUG ", &format!(" peer=ipv4:{peer} error=\"")]),
    ] {
        let event = format!("event=tls_handshake_failed reason={reason} ");
        assert_tells(&service.log().wait_for(&event), &parts);
        assert_eq!(counted(reason), 1.0, "{reason}");
    }
    // The C core says the same in its own words, and more; nobody has asked.
    let text = service.log().text();
    assert!(!text.contains("Handshake failed with fatal error"), "{text}");
    assert!(!text.contains("event=grpc_core"), "{text}");
    assert!(
        text.lines().all(|line| line.contains("event=") || line.contains("tiny_http")),
        "{text}"
    );
}

#[test]
fn the_c_core_says_more_where_its_own_variable_asks_for_it() {
    let service = Service::with_environment(&[("GRPC_VERBOSITY", "debug".into())]);
    let line = service.log().wait_for("event=grpc_core level=debug ");
    assert_tells(&line, &[" INFO ", " source=", " message=\""]);
}

#[test]
fn a_slow_statement_is_told_without_its_text_and_counted() {
    let service = Service::with(&["--slow-statement", "200ms"]);
    let tenant = tenant();
    let lease = service.lease(&tenant);
    lease.run(&["select 1"]);
    for _ in 0..3 {
        lease.run(&["select pg_sleep(0.4) as hidden_word"]);
    }
    let line = service.log().wait_for("event=slow_statement");
    let name = format!(" tenant={} lease=lease-", tenant.name);
    let told =
        [" WARN ", &name, " took_s=", " outcome=ok statements=1 rows=1 command=\"SELECT 1\""];
    assert_tells(&line, &told);
    assert_eq!(lines(&service, &["event=slow_statement"]).len(), 1);
    let series = format!("connpool_slow_statements_total{{tenant=\"{}\"}}", tenant.name);
    // One that was quick may have been slow on a busy machine.
    assert!(service.metric(&series).is_some_and(|count| count >= 3.0));
    assert!(!service.log().text().contains("hidden_word"));
}

#[test]
fn no_statement_is_slow_where_none_is_to_be_reported_until_a_reload_says_otherwise() {
    let service = Administered::with(&[], "[service]\nslow_statement = 0\n");
    let tenant = tenant();
    let lease = service.lease(&tenant);
    for _ in 0..3 {
        lease.run(&["select 1"]);
    }
    let ran = format!(
        "connpool_operations_total{{operation=\"execute\",outcome=\"ok\",place=\"lease\",tenant=\"{}\"}}",
        tenant.name
    );
    // The last is counted after what the two before it were found to be.
    eventually("all are counted", || service.metric(&ran) == Some(3.0));
    let series = format!("connpool_slow_statements_total{{tenant=\"{}\"}}", tenant.name);
    assert_eq!(service.metric(&series), Some(0.0));
    assert!(lines(&service, &["event=slow_statement"]).is_empty());
    service.rewrite("[service]\nslow_statement = \"1ms\"\n");
    service.signal(Signal::HUP);
    service.log().wait_for("event=reloaded applied=\"service.slow_statement\"");
    lease.run(&["select pg_sleep(0.1)"]);
    service.log().wait_for("event=slow_statement");
}

#[test]
fn a_line_about_a_tenant_or_a_lease_names_the_identity_where_it_is_known() {
    let flags = ["--log-level", "debug", "--leak-warning", "1", "--slow-statement", "1ms"];
    let service = Administered::with(&flags, "");
    let (tenant, other, client) = (tenant().pool_of(1), tenant(), service.client());
    let asked = ConnectionRequest { holder: "night job".to_owned(), ..request(&tenant) };
    let granted = client.acquire_with(&asked).unwrap();
    let waiting = acquire_later(&client, &asked);
    client.run(&granted.connection_id, &["select pg_sleep(0.1)"]).unwrap();
    let whose = format!(" tenant={} lease={} ", tenant.name, granted.lease.lease_name);
    let who = " identity=shop ";
    let waited = |event: &str| service.log().wait_for(&format!("event={event} "));
    for event in ["lease_granted", "lease_held_too_long", "slow_statement"] {
        assert_tells(&waited(event), &[&whose, who]);
    }
    let exhausted = waited("pool_exhausted");
    assert_tells(&exhausted, &[" holders=\"night job of shop (1)\""]);
    client.release(&granted.connection_id).unwrap();
    assert_tells(&waited("lease_ended reason=released"), &[&whose, who]);
    drop(waiting);
    // Who has brought the DSN.
    let created = waited("pool_created");
    assert_tells(&created, &[" server=\"", " database=\"", " user=\"", " sslmode=prefer "]);
    assert!(created.ends_with(" identity=shop"), "{created}");
    refused(client.acquire("lost", "postgres://u:secret@127.0.0.1:1/d"));
    assert_tells(&waited("connect_failed tenant=lost"), &[who]);
    // A one-shot has no lease.
    client.execute(&one_shot(&other, &["select pg_sleep(0.1)"])).unwrap();
    let name = format!("tenant={} ", other.name);
    assert_tells(&waited(&format!("slow_statement {name}identity=shop")), &[" took_s="]);
}
