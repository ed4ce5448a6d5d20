//! One client's tenants keep nobody else's out, and cost the others nothing.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::harness;
use crate::harness::names::Names;
use crate::harness::siege::Siege;
use crate::harness::{
    acquire_later, code, eventually, millis, now, refused, request, tenant, Later, Service, Tenant,
};
use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};

/// A server that takes connections and says nothing.
fn mute() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("host=127.0.0.1 port={port} user=u password=p dbname=d"))
}

fn patient(name: String, dsn: &str) -> ConnectionRequest {
    ConnectionRequest {
        tenant_id: name,
        dsn: dsn.to_owned(),
        wait_timeout: millis(300_000),
        ..ConnectionRequest::default()
    }
}

/// A tenant of which no connection is left when nobody uses it.
fn passing(max: usize) -> Tenant {
    let mut tenant = tenant().pool_of(max);
    tenant.dsn += " pool_reset=close";
    tenant
}

/// Asks for many tenants at once, on one connection.
fn flood(client: &Client, dsn: &str, count: usize) -> Vec<Later<ConnectionResponse>> {
    let ask = |n| acquire_later(client, &patient(format!("flood{n}"), dsn));
    (0..count).map(ask).collect()
}

fn opening(service: &Service) -> f64 {
    service.metric("connpool_tenants{state=\"opening\"}").unwrap_or(0.0)
}

fn gave_way(service: &Service, state: &str) -> f64 {
    let series = format!("connpool_tenants_gave_way_total{{state=\"{state}\"}}");
    service.metric(&series).unwrap_or(0.0)
}

#[test]
fn tenants_that_lead_nowhere_keep_no_new_ones_out() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(2));
    let (_mute, dsn) = mute();
    let attacker = service.client();
    let calls = flood(&attacker, &dsn, 300);
    eventually("as many are being opened as may be", || opening(&service) == 100.0);
    let refused = "connpool_request_errors_total{reason=\"service_limit\"}";
    eventually("the others are refused", || service.metric(refused) >= Some(200.0));
    // Each comes on a connection of its own.
    for newcomer in (0..10).map(|_| passing(2)) {
        let lease = service.lease(&newcomer);
        lease.run(&["select 1"]);
        lease.release();
    }
    assert!(gave_way(&service, "opening") >= 1.0);
    siege.bystander_works(50);
    drop((calls, attacker));
    siege.end();
}

/// The same database under many names.
fn names(of: &Tenant, count: usize, max: usize) -> Vec<Tenant> {
    let one = |n| Tenant {
        name: format!("{}-{n}", of.name),
        password: of.password.clone(),
        dsn: format!("{} pool_max_conns={max}", of.dsn),
    };
    (0..count).map(one).collect()
}

#[test]
fn unused_tenants_give_way_and_those_in_use_stay() {
    let service = Service::with(&["--max-backends", "60"]);
    let siege = Siege::start(&service, tenant().pool_of(2));
    let (many, attacker) = (names(&passing(1), 5, 10), service.client());
    let mut leases = Vec::new();
    for one in &many {
        leases.push(attacker.acquire(&one.name, &one.dsn).unwrap());
    }
    // All are in use, and are told of by their sum: 2, and 5 times 10.
    let newcomer = passing(20);
    let error = refused(service.client().acquire_with(&request(&newcomer)));
    assert_eq!((error.code, &*error.reason), (code::RESOURCE_EXHAUSTED, "SERVICE_LIMIT"));
    let facts = error.info.unwrap().metadata;
    assert_eq!((&*facts["used"], &*facts["limit"]), ("72", "60"));
    // One stays in use, the others do not.
    for lease in &leases[1..] {
        attacker.release(&lease.connection_id).unwrap();
    }
    let client = service.client();
    let mut granted = None;
    eventually("there is room", || {
        granted = client.acquire(&newcomer.name, &newcomer.dsn).ok();
        granted.is_some()
    });
    assert_eq!(gave_way(&service, "unused"), 2.0);
    attacker.run(&leases[0].connection_id, &["select 1"]).unwrap();
    assert!(service.knows(&many[0].name));
    // What gave way comes back in place of another that is not used.
    let back = many[1..].iter().find(|one| !service.knows(&one.name)).unwrap();
    let again = attacker.acquire(&back.name, &back.dsn).unwrap();
    assert_eq!(gave_way(&service, "unused"), 3.0);
    assert!(service.knows(&newcomer.name), "it is in use");
    siege.bystander_works(50);
    for lease in [&leases[0], &again, &granted.unwrap()] {
        client.release_with(&lease.connection_id, true).unwrap();
    }
    drop((attacker, client));
    siege.end();
}

#[test]
fn a_gateway_for_all_may_use_the_whole_budget_on_one_connection() {
    let service = Service::with(&["--max-backends", "40"]);
    let (many, gateway) = (names(&passing(1), 40, 1), service.client());
    let calls: Vec<_> = many.iter().map(|one| acquire_later(&gateway, &request(one))).collect();
    for call in calls {
        harness::answer(call).unwrap();
    }
    let one_more = passing(1);
    let error = refused(gateway.acquire_with(&request(&one_more)));
    assert_eq!(error.reason, "SERVICE_LIMIT", "{error}");
}

/// The same tenant by a name that has to be looked up.
fn by_name(mut tenant: Tenant, host: &str) -> Tenant {
    tenant.dsn += &format!(" host={host}");
    tenant
}

/// Threads of this name.
fn threads_named(service: &Service, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    let comm = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(comm).filter(|comm| comm.trim() == name).count()
}

#[test]
fn names_without_an_answer_keep_no_other_names_from_being_looked_up() {
    let names = Names::start();
    let service = Service::with_environment(&names.environment());
    // Each of its rounds looks a name up.
    let siege = Siege::start(&service, by_name(passing(2), "bystander.test"));
    let attacker = service.client();
    let hosts = |n| (0..32).map(|host| format!("h{host}.t{n}.mute.test")).collect::<Vec<_>>();
    let dsn = |n| format!("host={} user=u password=p dbname=d", hosts(n).join(","));
    let ask = |n| acquire_later(&attacker, &patient(format!("mute{n}"), &dsn(n)));
    let calls: Vec<_> = (0..20).map(ask).collect();
    let running = || threads_named(&service, "resolver");
    // What one client connection may have; each of its tenants has 4 at most.
    eventually("they look names up", || running() >= 16);
    for n in 0..10 {
        let newcomer = by_name(passing(2), &format!("newcomer{n}.test"));
        let lease = service.lease(&newcomer);
        lease.run(&["select 1"]);
        lease.release();
        assert!(running() <= 16 + 2, "{} look-ups", running());
    }
    siege.bystander_works(50);
    drop((calls, attacker, names));
    siege.end();
}

#[test]
fn while_the_name_server_does_not_answer_its_last_answer_is_used() {
    let names = Names::start();
    let service = Service::with_environment(&names.environment());
    let known = by_name(passing(2), "known.test");
    service.lease(&known).release();
    names.silence();
    let lease = service.lease(&known);
    lease.run(&["select 1"]);
    let unknown = by_name(passing(2), "unknown.test");
    let hurried = ConnectionRequest { wait_timeout: millis(1_000), ..request(&unknown) };
    let error = refused(service.client().acquire_with(&hurried));
    assert_eq!((error.code, &*error.reason), (code::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
    assert!(error.message.contains("host name lookup"), "{error}");
}

#[test]
fn connections_that_die_young_are_not_opened_without_end() {
    let service = Service::start();
    let mut young = tenant().pool_of(10);
    young.dsn += " pool_min_conns=10 pool_max_conn_lifetime=1ms";
    let began = now();
    service.lease(&young).release();
    let series = format!("connpool_backend_opens_total{{tenant=\"{}\"}}", young.name);
    let opened = || service.metric(&series).unwrap_or(0.0);
    // One for the caller, the minimum twice, and from then on one a second.
    let allowed = || 1.0 + 20.0 + began.elapsed().as_secs_f64().ceil();
    eventually("they are opened anew", || {
        // What was opened by then counts for the time that has passed by then.
        let opened = opened();
        assert!(opened <= allowed(), "{opened} of {}", allowed());
        // By then the minimum has died of age several times.
        opened >= 24.0 && began.elapsed() > Duration::from_secs(6)
    });
}
