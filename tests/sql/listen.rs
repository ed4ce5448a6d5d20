//! Notifications.

use crate::harness;
use crate::harness::{
    backends_on, code, eventually, millis, refused, tenant, tenant_on, Administered, Service,
    Tenant,
};
use connection_pool_manager::client::service::listen::Listen;
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::admin::ReconnectTenantRequest;
use connection_pool_manager::proto::sql::listen_response::Kind;
use connection_pool_manager::proto::sql::ListenRequest;

fn on(tenant: &Tenant, channels: &[&str]) -> ListenRequest {
    ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: channels.iter().map(|&name| name.to_owned()).collect(),
        ..ListenRequest::default()
    }
}

fn next(listen: &mut Listen) -> Kind {
    let response = listen.next().unwrap_or_else(|error| panic!("{error}"));
    response.expect("it goes on").kind.expect("a kind")
}

/// A listener that hears.
fn started(client: &Client, tenant: &Tenant, channels: &[&str]) -> Listen {
    let mut listen = client.listen(&on(tenant, channels)).unwrap();
    assert!(matches!(next(&mut listen), Kind::Started(_)));
    listen
}

/// The next notification: channel, payload.
#[track_caller]
fn heard(listen: &mut Listen) -> (String, String) {
    match next(listen) {
        Kind::Notification(notification) => (notification.channel, notification.payload),
        other => panic!("{other:?}"),
    }
}

fn pair(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

fn failed(listen: &mut Listen) -> CallError {
    loop {
        match listen.next() {
            Ok(said) => assert!(said.is_some(), "it must not end well"),
            Err(error) => return error,
        }
    }
}

#[test]
fn listeners_share_one_connection_and_each_receives_its_channels_in_order() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    let client = service.client();
    let mut first = started(&client, &tenant, &["a", "Odd \"name\""]);
    let mut second = started(&service.client(), &tenant, &["a", "b"]);
    assert_eq!((tenant.backends(), client.stats(&tenant.name).unwrap().total_connections), (1, 1));
    let lease = service.lease(&tenant);
    lease.run(&[
        "notify a, '1'",
        "notify \"Odd \"\"name\"\"\", 'x'",
        "notify nobody, 'never'",
        "notify B, '2'",
        "begin",
        "notify a, 'only with the commit'",
        "notify b",
        "commit",
        "select pg_notify('a', 'ä' || repeat('x', 7000))",
    ]);
    assert_eq!(heard(&mut first), pair("a", "1"));
    assert_eq!(heard(&mut first), pair("Odd \"name\"", "x"));
    assert_eq!(heard(&mut first), pair("a", "only with the commit"));
    assert_eq!(heard(&mut first).1.len(), 7002);
    assert_eq!(heard(&mut second), pair("a", "1"));
    assert_eq!(heard(&mut second), pair("b", "2"));
    assert_eq!(heard(&mut second), pair("a", "only with the commit"));
    assert_eq!(heard(&mut second), pair("b", ""));
    assert_eq!(heard(&mut second).1.len(), 7002);
    // Who sends is told, so that a client can know its own.
    lease.run(&["notify b, 'mine'"]);
    let Kind::Notification(own) = next(&mut second) else { panic!("no notification") };
    assert_eq!(own.backend_pid, lease.pid);
}

#[test]
fn a_channel_is_left_with_its_last_listener_and_the_connection_with_the_last_of_all() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let first = started(&client, &tenant, &["a", "b"]);
    let mut second = started(&client, &tenant, &["b", "c"]);
    let listened = "select string_agg(query, '') from pg_stat_activity \
                    where datname = current_database() and application_name like 'connpool/%'";
    drop(first);
    eventually("a is left, b is not", || tenant.sql(listened).contains("UNLISTEN \"a\""));
    assert!(!tenant.sql(listened).contains("\"b\""));
    tenant.sql("notify a; notify b, 'still'; notify c, 'too'");
    assert_eq!(heard(&mut second), pair("b", "still"));
    assert_eq!(heard(&mut second), pair("c", "too"));
    // The only connection is taken, and comes back clean.
    let waits = harness::request(&tenant);
    let waits = connection_pool_manager::proto::connection_pool::ConnectionRequest {
        wait_timeout: millis(0),
        ..waits
    };
    assert_eq!(refused(client.acquire_with(&waits)).reason, "WAIT_TIMEOUT");
    drop(second);
    service.wait_quiet(&tenant.name);
    let lease = service.lease(&tenant);
    assert_eq!(lease.value("select count(*) from pg_listening_channels()"), "0");
}

#[test]
fn a_lost_connection_is_re_established_and_the_gap_is_reported() {
    let (service, tenant) = (Service::start(), tenant());
    let mut listen = started(&service.client(), &tenant, &["a"]);
    for n in 0..3 {
        tenant.sql(&format!("notify a, 'before {n}'"));
        assert_eq!(heard(&mut listen), pair("a", &format!("before {n}")));
        tenant.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%' \
             and datname = current_database()",
        );
        let Kind::Gap(gap) = next(&mut listen) else { panic!("no gap") };
        assert!(gap.lost_at.seconds > 1_700_000_000);
        tenant.sql("notify a, 'after'");
        assert_eq!(heard(&mut listen), pair("a", "after"));
    }
}

#[test]
fn listeners_move_to_a_new_connection_when_those_of_their_tenant_are_replaced() {
    let (service, tenant) = (Administered::start(), tenant().pool_of(2));
    let ops = service.operator("ops");
    let mut first = started(&service.client(), &tenant, &["a"]);
    let mut second = started(&service.client(), &tenant, &["a", "b"]);
    let listening = || {
        tenant.sql(
            "select pid from pg_stat_activity where query like 'LISTEN%' \
             and datname = current_database()",
        )
    };
    for n in 0..3 {
        let before = listening();
        let asked = ReconnectTenantRequest {
            tenant_id: tenant.name.clone(),
            ..ReconnectTenantRequest::default()
        };
        ops.ask(|stub, option| stub.reconnect_tenant(&asked, option)).expect("it is done");
        // Nothing is sent and nobody comes or goes, so only the swap can move them.
        for listen in [&mut first, &mut second] {
            assert!(matches!(next(listen), Kind::Gap(_)));
        }
        assert_ne!(listening(), before);
        tenant.sql(&format!("notify a, 'after {n}'"));
        for listen in [&mut first, &mut second] {
            assert_eq!(heard(listen), pair("a", &format!("after {n}")));
        }
        eventually("the connection before is closed", || tenant.backends() == 1);
    }
}

#[test]
fn a_database_that_was_away_is_listened_to_again() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let tenant = tenant_on(&postgres);
    let service = Service::start();
    let client = service.client().with_timeout(5 * harness::PATIENCE);
    let mut listen = started(&client, &tenant, &["a"]);
    postgres.stop(StopMode::Immediate).unwrap();
    // Who comes now is told, who listened before waits.
    let error = failed(&mut client.listen(&on(&tenant, &["b"])).unwrap());
    assert_eq!(error.code, code::UNAVAILABLE, "{error}");
    postgres.start_again().unwrap();
    assert!(matches!(next(&mut listen), Kind::Gap(_)));
    postgres.sql(&tenant.name, "notify a, 'again'").unwrap();
    assert_eq!(heard(&mut listen), pair("a", "again"));
    assert!(backends_on(&postgres, &tenant.name) > 0);
}

#[test]
fn a_reader_that_falls_behind_is_ended_and_the_others_hear_on() {
    let (service, tenant) = (Service::start(), tenant());
    let mut slow = started(&service.client(), &tenant, &["a"]);
    let mut quick = started(&service.client(), &tenant, &["a"]);
    let reader = harness::now();
    let rounds = 40;
    for round in 0..rounds {
        tenant.sql(&format!(
            "select count(pg_notify('a', {round} || '.' || n || repeat('x', 7000))) \
             from generate_series(1, 100) n"
        ));
        for n in 1..=100 {
            assert!(heard(&mut quick).1.starts_with(&format!("{round}.{n}x")));
        }
    }
    let mut kept = 0;
    let error = loop {
        match slow.next() {
            Ok(Some(_)) => kept += 1,
            Ok(None) => panic!("it must not end well"),
            Err(error) => break error,
        }
    };
    assert!(kept < 100 * rounds, "{kept} after {:?}", reader.elapsed());
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"));
    assert_eq!(error.info.unwrap().metadata["cause"], "stalled");
    tenant.sql("notify a, 'end'");
    assert_eq!(heard(&mut quick), pair("a", "end"));
}

#[test]
fn a_listener_waits_for_its_start_only_so_long() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let short = ListenRequest { wait_timeout: millis(0), ..on(&tenant, &["a"]) };
    let error = failed(&mut lease.client.listen(&short).unwrap());
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
    // One that leaves takes its question back.
    drop(lease.client.listen(&on(&tenant, &["a"])).unwrap());
    service.wait_stats(&tenant.name, "nobody waits", |stats| stats.waiting == 0);
    let mut listen = lease.client.listen(&on(&tenant, &["a"])).unwrap();
    service.wait_stats(&tenant.name, "it waits", |stats| stats.waiting == 1);
    lease.release();
    assert!(matches!(next(&mut listen), Kind::Started(_)));
}

#[test]
fn wrong_requests_fail_with_the_rule_and_none_listens_without_the_dsn() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(64);
    for (channels, rule) in [
        (&[][..], "channels must be 1 to 64"),
        (&many, "channels must be 1 to 64"),
        (&["a", ""], "channels[1]"),
        (&[long.as_str()], "channels[0]"),
        (&["a\0b"], "channels[0]"),
    ] {
        let error = failed(&mut client.listen(&on(&tenant, channels)).unwrap());
        assert_eq!(
            (error.code, error.info.unwrap().metadata["field"].as_str()),
            (code::INVALID_ARGUMENT, "channels")
        );
        assert!(error.message.contains(rule), "{}", error.message);
    }
    let _listen = started(&client, &tenant, &["a"]);
    let without = ListenRequest { dsn: String::new(), ..on(&tenant, &["a"]) };
    assert_eq!(failed(&mut client.listen(&without).unwrap()).code, code::INVALID_ARGUMENT);
    let other =
        ListenRequest { dsn: format!("{} dbname=postgres", tenant.dsn), ..on(&tenant, &["a"]) };
    assert_eq!(failed(&mut client.listen(&other).unwrap()).reason, "DSN_MISMATCH");
    let wrong = harness::tenant();
    let wrong = Tenant { dsn: wrong.dsn.replace("password=", "password=x"), ..wrong };
    let error = failed(&mut client.listen(&on(&wrong, &["a"])).unwrap());
    assert_eq!(
        (error.code, error.reason.as_str()),
        (code::FAILED_PRECONDITION, "CONNECT_REJECTED")
    );
    assert!(!service.knows(&wrong.name));
}

#[test]
fn a_stop_ends_the_listening_and_counts_as_clean() {
    let (service, tenant) = (Service::start(), tenant());
    let mut listen = started(&service.client(), &tenant, &["a"]);
    let status = service.stop();
    assert!(status.success(), "{status}");
    let error = failed(&mut listen);
    assert_eq!((error.code, error.reason.as_str()), (code::UNAVAILABLE, "DRAINING"));
    eventually("no backend is left", || tenant.backends() == 0);
}

#[test]
fn a_listener_that_may_not_wait_starts_where_no_start_is_pending() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let hurried = ListenRequest { wait_timeout: millis(0), ..on(&tenant, &["a", "b"]) };
    let mut first = service.client().listen(&hurried).unwrap();
    assert!(matches!(next(&mut first), Kind::Started(_)));
    for _ in 0..20 {
        let mut listen = service.client().listen(&hurried).unwrap();
        assert!(matches!(next(&mut listen), Kind::Started(_)));
    }
}
