//! Attacks by way of connecting: by servers that never come to an end, and by clients
//! that try passwords.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::proxy::Proxy;
use crate::harness::siege::Siege;
use crate::harness::{
    acquire_later, answer, code, eventually, now, postgres, refused, request, retry_delay, tenant,
    Held, Service, Tenant,
};
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use futures_executor::block_on;

/// The tenant, reached over a proxy. It does not keep idle connections.
fn over(proxy: &Proxy, tenant: Tenant) -> Tenant {
    tenant.over(proxy).with("pool_max_conn_idle_time=1s")
}

#[test]
fn a_server_that_drips_on_cancels_keeps_no_thread_and_no_descriptor() {
    const CANCELS: usize = 20;
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let proxy = Proxy::to(postgres().port());
    let tenant = over(&proxy, tenant().pool_of(CANCELS));
    let leases: Vec<Held> = (0..CANCELS).map(|_| service.lease(&tenant)).collect();
    let calls: Vec<_> =
        leases.iter().map(|lease| lease.run_later("select pg_sleep(600)")).collect();
    eventually("they run", || tenant.running("pg_sleep") == CANCELS);
    proxy.drip();
    let before = proxy.taken();
    drop(calls);
    eventually("each is cancelled", || proxy.taken() >= before + CANCELS);
    eventually("none obeys", || service.client().stats(&tenant.name).unwrap().leases == 0);
    drop(leases);
    siege.end();
}

/// A tenant of this name on the account of another, with a password that is wrong.
fn guess(tenant: &Tenant, name: &str, n: usize) -> ConnectionRequest {
    let dsn = format!("{} password=guess-{n}", tenant.dsn);
    ConnectionRequest { tenant_id: name.to_owned(), dsn, ..ConnectionRequest::default() }
}

/// Refused without a try, and told when it is its turn.
#[track_caller]
fn turn(error: grpcio::Error) -> Duration {
    let turn = retry_delay(&error).expect("a RetryInfo");
    let error = CallError::from(error);
    let said = (error.code, error.reason.as_str());
    assert_eq!(said, (code::RESOURCE_EXHAUSTED, "LOGIN_LIMIT"), "{error}");
    assert!(error.message.contains("logins of user"), "{error}");
    turn
}

#[test]
fn passwords_are_tried_one_a_second_whatever_tenant_they_are_said_to_be_of() {
    const GUESSES: usize = 400;
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let proxy = Proxy::to(postgres().port());
    let victim = over(&proxy, tenant().pool_of(2));
    let lease = service.lease(&victim);
    let (client, began, before) = (service.client(), now(), proxy.taken());
    let mut tried = 0;
    for n in 0..GUESSES {
        let call = acquire_later(&client, &guess(&victim, &format!("made-up-{n}"), n));
        let error = block_on(call).expect_err("it is wrong");
        if retry_delay(&error).is_some() {
            turn(error);
            continue;
        }
        tried += 1;
        assert_eq!(CallError::from(error).reason, "CONNECT_REJECTED");
    }
    assert_eq!(proxy.taken() - before, tried, "nothing else was sent to PostgreSQL");
    let most = 5 + 2 + (now() - began).as_secs() as usize;
    assert!((5..=most).contains(&tried), "{tried} were tried, {most} may be");
    // Its own pool goes on, and opens what it needs.
    victim.sql(&format!("select pg_terminate_backend({})", lease.pid));
    lease.fails(&["select 1"]);
    let both = [service.lease(&victim), service.lease(&victim)];
    both.iter().for_each(Held::release);
    // So does everybody else's there.
    let other = over(&proxy, tenant().pool_of(1));
    service.lease(&other).release();
    drop((client, lease, both));
    siege.end();
}

#[test]
fn at_a_registered_tenant_the_right_password_fails_like_a_wrong_one() {
    const GUESSES: usize = 400;
    let (service, tenant) = (Service::start(), tenant().pool_of(20));
    let lease = service.lease(&tenant);
    let (client, began) = (service.client(), now());
    let mut compared = 0;
    for n in 0..GUESSES {
        let call = acquire_later(&client, &guess(&tenant, &tenant.name, n));
        let error = block_on(call).expect_err("it is wrong");
        match retry_delay(&error) {
            Some(_) => drop(turn(error)),
            None => compared += 1,
        }
    }
    let most = 5 + 2 + (now() - began).as_secs() as usize;
    assert!((5..=most).contains(&compared), "{compared} were compared, {most} may be");
    // The right one of a stranger has to wait like all the others. One may be in time.
    let clients: Vec<Client> = (0..3).map(|_| service.client()).collect();
    let ask = |client| block_on(acquire_later(client, &request(&tenant)));
    let (stranger, error) = clients
        .iter()
        .find_map(|client| ask(client).err().map(|error| (client, error)))
        .expect("one is put off");
    let due = now() + turn(error);
    // Whoever has shown it before is not.
    lease.client.acquire(&tenant.name, &tenant.dsn).expect("a lease at once");
    eventually("it is its turn", || now() >= due);
    ask(stranger).expect("a lease in its turn");
    ask(stranger).expect("it is known by now");
}

#[test]
fn guesses_do_not_keep_a_new_password_out() {
    let (service, old) = (Service::start(), tenant().pool_of(4));
    let lease = service.lease(&old);
    let (put_off, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = service.client();
            while !stop.load(Ordering::SeqCst) {
                let asks = |n| acquire_later(&client, &guess(&old, &old.name, n));
                let calls: Vec<_> = (0..8).map(asks).collect();
                let errors = calls.into_iter().map(|call| refused(answer(call)));
                let limited = errors.filter(|error| error.reason == "LOGIN_LIMIT").count();
                put_off.fetch_add(limited, Ordering::SeqCst);
            }
        });
        let stop = Stop(&stop);
        eventually("it is slowed down", || put_off.load(Ordering::SeqCst) > 50);
        old.sql(&format!("alter role {} password 'changed'", old.name));
        let dsn = format!("{} password=changed", old.dsn);
        let new = Tenant { name: old.name.clone(), password: "changed".to_owned(), dsn };
        let (client, mut asked) = (service.client(), 0);
        while let Err(error) = block_on(acquire_later(&client, &request(&new))) {
            asked += 1;
            assert!(asked < 5, "{error}");
            let due = now() + turn(error);
            eventually("it is its turn", || now() >= due);
        }
        service.log().wait_for("event=password_changed");
        drop(stop);
    });
    assert_eq!(lease.value("select 1"), "1");
}

/// Ends the guesses, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
