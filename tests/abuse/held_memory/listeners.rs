//! Listeners that do not listen.

use connection_pool_manager::client::service::listen::Listen;
use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::sql::listen_response::Kind;
use connection_pool_manager::proto::sql::ListenRequest;
use protobuf::Message;

use super::{bystander, held, nothing_is_held, refused, victim};
use crate::harness::h2::{message, DATA, H2};
use crate::harness::siege::Siege;
use crate::harness::{code, eventually, Service, Tenant};

fn on(tenant: &Tenant, channel: &str) -> ListenRequest {
    ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: vec![channel.to_owned()],
        ..ListenRequest::default()
    }
}

/// A listener that has heard that it hears.
fn started(client: &Client, tenant: &Tenant, channel: &str) -> Listen {
    let mut listen = client.listen(&on(tenant, channel)).unwrap();
    let first = listen.next().unwrap().unwrap();
    assert!(matches!(first.kind, Some(Kind::Started(_))), "{first:?}");
    listen
}

/// So many of them on one connection, that take nothing more than this; a client of
/// gRPC takes megabytes before it is asked for any.
fn deaf(service: &Service, tenant: &Tenant, count: usize) -> H2 {
    let mut client = H2::connect(service.port).unwrap();
    let request = message(&on(tenant, "a").write_to_bytes().unwrap(), false);
    for _ in 0..count {
        let call = client.call("/connectionpool.SqlService/Listen", &[]).unwrap();
        client.data(call, &request, true).unwrap();
    }
    let mut heard = 0;
    let all = client.read_until(|frame| {
        heard += usize::from(frame.kind == DATA && !frame.payload.is_empty());
        heard == count
    });
    assert!(all.is_some(), "the connection lives");
    client
}

/// Notifications of 7.9 kB each.
fn flood(tenant: &Tenant, count: usize) {
    tenant.sql(&format!(
        "select count(pg_notify('a', i || repeat('x', 7900))) from generate_series(1, {count}) i"
    ));
}

#[test]
fn unread_notifications_are_held_once() {
    let service = Service::with(&["--insecure"]);
    let tenant = victim(&service);
    let siege = Siege::start(&service, bystander());
    let listeners = [deaf(&service, &tenant, 150), deaf(&service, &tenant, 150)];
    flood(&tenant, 450);
    eventually("they wait", || held(&service, "notifications") > 3 << 20);
    // Those that wait, once, and a place for each listener.
    assert!(held(&service, "notifications") < 16 << 20);
    siege.bystander_works(50);
    drop(listeners);
    service.wait_quiet(&tenant.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn where_the_memory_is_spent_the_slow_go_and_the_quick_hear_all() {
    let limits = ["--memory-per-tenant", "4MiB", "--memory-per-connection", "4MiB"];
    let patient = ["--insecure", "--stall-timeout", "3600"];
    let service = Service::with(&[&patient[..], &limits].concat());
    let tenant = victim(&service);
    let siege = Siege::start(&service, bystander());
    let slow = deaf(&service, &tenant, 20);
    let client = service.client();
    let mut quick = started(&client, &tenant, "a");
    // More than there is room for, and less than a listener may be behind.
    for _ in 0..8 {
        flood(&tenant, 50);
        for _ in 0..50 {
            let said = quick.next().unwrap().unwrap();
            assert!(matches!(said.kind, Some(Kind::Notification(_))));
        }
        assert!(held(&service, "notifications") <= 2 << 20);
    }
    assert!(refused(&service, "tenant", "notifications") > 0);
    drop((quick, client));
    // Nobody listens any more, although the slow are still there.
    service.wait_quiet(&tenant.name);
    nothing_is_held(&service);
    drop(slow);
    siege.end();
}

#[test]
fn a_listener_that_takes_nothing_is_given_up_in_time() {
    let service = Service::with(&["--insecure", "--stall-timeout", "4"]);
    let (tenant, other) = (victim(&service), victim(&service));
    let client = service.client();
    let mut idle = started(&client, &other, "a");
    let mut stalled = deaf(&service, &tenant, 1);
    flood(&tenant, 100);
    eventually("something waits", || held(&service, "notifications") > 0);
    // Nobody has to say anything more for that.
    service.wait_quiet(&tenant.name);
    eventually("nothing waits", || held(&service, "notifications") == 0);
    // It has as long again to take what is left, and to hear why.
    stalled.take(1, 1 << 20).unwrap();
    assert_eq!(stalled.status(1), code::ABORTED);
    // Who has nothing to take is left alone.
    other.sql("notify a, 'still'");
    let said = idle.next().unwrap().unwrap();
    assert!(matches!(said.kind, Some(Kind::Notification(_))));
}
