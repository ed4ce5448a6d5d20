//! An identity that makes more requests than it may.

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use rustix::process::Signal;

use super::{file, identities, one_shot, OPS, SHOP};
use crate::harness::{code, eventually, millis, park, refused, request, tenant, Service, Tenant};

/// More than any machine makes wait so long that each finds a token again, one of which comes a
/// second.
const MANY: usize = 200;

/// Asks until it is refused.
fn refusal(client: &Client, tenant: &Tenant) -> CallError {
    let mut tried = (0..MANY).map(|_| client.execute(&one_shot(tenant)));
    tried.find_map(Result::err).expect("one request a second is too many")
}

#[test]
fn an_identity_is_told_when_to_come_again_and_another_notices_nothing() {
    let tenant = tenant();
    let limited = |service: &str| format!("[service]\n{service}\n{}", identities());
    let (_dir, path) = file(&limited("requests_per_second = 1\nrequest_burst = 3"));
    let service = Service::with(&["--config", path.to_str().unwrap()]).with_token(SHOP);
    let (shop, ops) = (service.client(), service.nameless().with_token(OPS).unwrap());
    let refused = refusal(&shop, &tenant);
    assert_eq!((refused.code, &*refused.reason), (code::RESOURCE_EXHAUSTED, "RATE_LIMITED"));
    let info = refused.info.as_ref().expect("details");
    assert_eq!((&*info.metadata["limit"], &*info.metadata["burst"]), ("1", "3"));
    let (told, delay) = refused.message.rsplit_once(" in ").expect("it says when to come again");
    assert!(told.contains("identity shop may make 1 requests a second, 3 at once"), "{told}");
    let millis: u64 = delay.trim_end_matches(" ms").parse().expect("a number");
    assert!((1..=1000).contains(&millis), "{delay}");
    // On any of its connections, while others have a bucket of their own.
    refusal(&service.client(), &tenant);
    ops.execute(&one_shot(&tenant)).expect("another identity");
    let line = service.log().wait_for("event=rate_limited ");
    assert!(line.contains("identity=shop requests_per_second=1 burst=3"), "{line}");
    let counted = "connpool_request_errors_total{reason=\"rate_limited\"}";
    eventually("it is counted", || service.metric(counted).is_some_and(|count| count >= 2.0));
    // What it is refused costs nothing and lasts no longer than it says.
    eventually("it is admitted again", || shop.execute(&one_shot(&tenant)).is_ok());
    // Another limit holds at once, and so does none.
    std::fs::write(&path, limited("requests_per_second = 0")).unwrap();
    service.signal(Signal::HUP);
    let line = service.log().wait_for("event=reloaded ");
    assert!(line.contains("service.requests_per_second"), "{line}");
    for _ in 0..MANY {
        shop.execute(&one_shot(&tenant)).expect("there is no limit");
    }
}

#[test]
fn without_identities_nobody_is_counted() {
    let tenant = tenant();
    let service = Service::with(&["--requests-per-second", "1", "--request-burst", "1"]);
    let client = service.client();
    for _ in 0..20 {
        client.execute(&one_shot(&tenant)).expect("a caller without an identity");
    }
}

#[test]
fn an_identity_waits_with_no_more_requests_than_it_may_and_others_wait_all_the_same() {
    let [one, two] = [(); 2].map(|()| tenant().pool_of(1));
    let limited = |service: &str| format!("[service]\n{service}\n{}", identities());
    let (_dir, path) = file(&limited("max_waiters_per_identity = 2"));
    let service = Service::with(&["--config", path.to_str().unwrap()]).with_token(SHOP);
    let ops = service.nameless().with_token(OPS).unwrap();
    let _leases = [&one, &two].map(|tenant| service.lease(tenant));
    let (first, second) = (service.client(), service.client());
    let _waiting = [park(&first, &one, 1), park(&second, &two, 1)];
    for tenant in [&one, &two] {
        service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
    }
    // On a third connection, at either of them.
    for tenant in [&one, &two] {
        let asked = ConnectionRequest { wait_timeout: millis(1_000), ..request(tenant) };
        let error = refused(service.client().acquire_with(&asked));
        assert_eq!((error.code, &*error.reason), (code::RESOURCE_EXHAUSTED, "CALLER_LIMIT"));
        assert!(error.message.contains("waiting requests of one identity"), "{error}");
        assert_eq!(error.info.unwrap().metadata["limit"], "2");
    }
    // What need not wait is served.
    service.lease(&tenant().pool_of(1)).release();
    let _others = park(&ops, &one, 1);
    service.wait_stats(&one.name, "another identity waits", |stats| stats.waiting == 2);
    std::fs::write(&path, limited("max_waiters_per_identity = 0")).unwrap();
    service.signal(Signal::HUP);
    let line = service.log().wait_for("event=reloaded ");
    assert!(line.contains("service.max_waiters_per_identity"), "{line}");
    let _more = park(&first, &two, 3);
    service.wait_stats(&two.name, "there is no limit", |stats| stats.waiting == 4);
}
