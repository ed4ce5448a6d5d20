//! Tenants share a server that has too few slots for all their pools.

use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, backends_on, code, eventually, millis, postgres, refused, request,
    tenant, tenant_on, Held, Later, Service, Tenant,
};
use connection_pool_manager::client::service::Client;
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};

/// Slots for everybody but superusers, who have their own.
const SLOTS: usize = 60;
const SUPERUSERS: usize = 5;
/// With the default minimum of 5 they would have more than twice as many.
const TENANTS: usize = 25;

/// A PostgreSQL that is small, and the database of all its tenants.
struct Place {
    postgres: Embedded,
    database: Tenant,
}

impl Place {
    fn new() -> Place {
        let extra = vec![("superuser_reserved_connections".to_owned(), SUPERUSERS.to_string())];
        let max_connections = (SLOTS + SUPERUSERS) as u32;
        let options = Options { max_connections, extra, ..Options::default() };
        let postgres = Embedded::start(options).expect("PostgreSQL starts");
        let database = tenant_on(&postgres);
        Place { postgres, database }
    }

    fn connections(&self) -> usize {
        backends_on(&self.postgres, &self.database.name)
    }

    /// Some pools are filled with connections at rest until no slot is left. They want no
    /// more, so that the service need not hear of it; it does where connections overlap on a
    /// slow machine, and then makes room by itself.
    fn fill(&self, service: &Service) {
        self.round(SLOTS / 5, &[service]);
        let has_heard = || {
            let log = service.log().text();
            log.contains("reason=gave_way") || log.contains("event=server_full")
        };
        eventually("nothing is left", || self.connections() == SLOTS || has_heard());
    }

    /// So many tenants ask at once at each of the services, for a wait as long as may be.
    /// Each keeps its lease until the one before has had its own.
    fn round(&self, tenants: usize, services: &[&Service]) {
        let clients: Vec<_> = services.iter().map(|service| service.client()).collect();
        let mut asked: Vec<Later<ConnectionResponse>> = Vec::new();
        for tenant in one_database(&self.database, tenants) {
            asked.extend(clients.iter().map(|client| acquire_later(client, &patient(&tenant))));
        }
        let mut refused = Vec::new();
        for (n, call) in asked.into_iter().enumerate() {
            match answer(call) {
                Ok(granted) => {
                    let client = &clients[n % clients.len()];
                    client.release(&granted.connection_id).expect("it is released");
                }
                Err(error) => refused.push(error.to_string()),
            }
        }
        assert_eq!(refused, Vec::<String>::new(), "somebody was not served");
    }
}

/// Waits for longer than any test looks for something.
fn patient(tenant: &Tenant) -> ConnectionRequest {
    ConnectionRequest { wait_timeout: millis(120_000), ..request(tenant) }
}

/// So many tenants of one database: it is the server that they share.
fn one_database(database: &Tenant, tenants: usize) -> impl Iterator<Item = Tenant> + '_ {
    (0..tenants).map(|n| Tenant {
        name: format!("{}-{n}", database.name),
        password: database.password.clone(),
        dsn: database.dsn.clone(),
    })
}

#[test]
fn every_tenant_is_served_where_all_minimums_together_are_more_than_the_server_has() {
    let (place, service) = (Place::new(), Service::with(&["--max-connections", "10"]));
    place.fill(&service);
    for _ in 0..3 {
        place.round(TENANTS, &[&service]);
    }
    let log = service.log().text();
    // One word of it, and no line a tenant or a try.
    assert!(
        log.contains("event=server_full") && !log.contains("event=connect_failed tenant=t0-24")
    );
}

#[test]
fn two_instances_side_by_side_serve_every_tenant() {
    let place = Place::new();
    let services = [(); 2].map(|()| Service::with(&["--max-connections", "10"]));
    place.fill(&services[0]);
    for _ in 0..3 {
        place.round(TENANTS, &[&services[0], &services[1]]);
    }
}

#[test]
fn an_instance_that_has_all_it_wants_makes_room_for_one_that_it_does_not_know() {
    let (place, first) = (Place::new(), Service::start());
    place.fill(&first);
    let second = Service::start();
    place.round(10, &[&second]);
    assert!(first.log().text().contains("reason=gave_way"));
}

/// A service with at most so many connections to the shared PostgreSQL, and so many tenants.
struct Limited {
    service: Service,
    client: Client,
    database: Tenant,
    tenants: Vec<Tenant>,
}

impl Limited {
    fn to(limit: usize, tenants: usize, arguments: &[&str]) -> Limited {
        let limit = limit.to_string();
        let mut all = vec!["--max-connections-per-server", &*limit];
        all.extend(arguments);
        let (service, database) = (Service::with(&all), tenant());
        let tenants = one_database(&database, tenants).collect();
        Limited { client: service.client(), service, database, tenants }
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", postgres().port())
    }

    fn waits(&self, count: usize) {
        let series = format!("connpool_server_waiters{{server=\"{}\"}}", self.server());
        eventually(&format!("{count} wait"), || self.service.metric(&series) == Some(count as f64));
    }

    fn later(&self, tenant: usize) -> Later<ConnectionResponse> {
        acquire_later(&self.client, &patient(&self.tenants[tenant]))
    }

    fn lease(&self, tenant: usize) -> Held {
        self.service.lease(&self.tenants[tenant])
    }
}

#[test]
fn the_limit_of_a_server_holds_and_the_tenant_with_most_idle_connections_gives_way() {
    let limited = Limited::to(6, 4, &["--min-connections", "3"]);
    let (service, database) = (&limited.service, &limited.database);
    let most = || database.backends() <= 6;
    for n in 0..2 {
        limited.lease(n).release();
    }
    eventually("two pools are warm", || database.backends() == 6);
    // What is in use is not touched: of the second tenant one is, so the first has most.
    let used = limited.lease(1);
    let third = limited.lease(2);
    let gone = "connpool_backend_closes_total{reason=\"gave_way\",tenant=";
    assert_eq!(service.metric(&format!("{gone}\"{}\"}}", limited.tenants[0].name)), Some(1.0));
    assert_eq!(service.metric(&format!("{gone}\"{}\"}}", limited.tenants[1].name)), Some(0.0));
    assert!(most());
    let max = format!("connpool_server_connections_max{{server=\"{}\"}}", limited.server());
    assert_eq!(service.metric(&max), Some(6.0));
    for _ in 0..3 {
        for n in 0..4 {
            limited.lease(n).release();
            assert!(most());
        }
    }
    assert_eq!(used.value("select pg_backend_pid()"), used.pid.to_string());
    assert_eq!(third.value("select pg_backend_pid()"), third.pid.to_string());
}

#[test]
fn requests_that_wait_for_a_server_are_served_by_arrival_over_all_tenants() {
    let limited = Limited::to(2, 4, &["--min-connections", "0"]);
    let held = [limited.lease(0), limited.lease(0)];
    let first = limited.later(1);
    limited.waits(1);
    let second = limited.later(2);
    limited.waits(2);
    // It has come last, and its own tenant's connection comes back first.
    let own = limited.later(0);
    limited.waits(3);
    held[0].release();
    let granted = answer(first).expect("the first");
    limited.waits(2);
    let client = &limited.client;
    client.release(&granted.connection_id).unwrap();
    let granted = answer(second).expect("the second");
    limited.waits(1);
    held[1].release();
    answer(own).expect("the last");
    client.release(&granted.connection_id).unwrap();
    assert!(limited.database.backends() <= 2);
}

#[test]
fn a_caller_that_leaves_gives_up_its_place_and_a_stop_fails_the_waiting_ones() {
    let limited = Limited::to(1, 3, &["--min-connections", "0"]);
    let held = limited.lease(0);
    let left = limited.later(1);
    limited.waits(1);
    let stays = limited.later(2);
    limited.waits(2);
    drop(left);
    limited.waits(1);
    limited.service.signal(rustix::process::Signal::TERM);
    let error = refused(answer(stays));
    assert_eq!((error.code, &*error.reason), (code::UNAVAILABLE, "DRAINING"), "{error}");
    held.release();
}

#[test]
fn tenants_that_wait_for_a_server_keep_none_from_being_opened_at_another() {
    // More than may be opened at a time.
    let limited = Limited::to(1, 103, &["--min-connections", "0"]);
    let held = limited.lease(0);
    let waits: Vec<_> = (1..102).map(|tenant| limited.later(tenant)).collect();
    limited.waits(101);
    let proxy = Proxy::to(postgres().port());
    let other = Tenant {
        name: "elsewhere".to_owned(),
        password: limited.database.password.clone(),
        dsn: format!("{} port={}", limited.database.dsn, proxy.port),
    };
    limited.service.lease(&other).release();
    limited.waits(101);
    drop(waits);
    held.release();
    limited.lease(102).release();
}

/// How a tenant's row on the health page begins and ends.
fn row(service: &Service, tenant: &Tenant) -> Option<String> {
    let page = service.get("/health/ready").1;
    let start = page.find(&format!("{{\"tenant\":\"{}\"", tenant.name))?;
    page[start..].split_inclusive('}').next().map(str::to_owned)
}

/// Whether a tenant is said to get no connection, in all places where that is said.
#[track_caller]
fn is_starving(limited: &Limited, tenant: usize, status: &str) {
    let (service, tenant) = (&limited.service, &limited.tenants[tenant]);
    let series = format!("connpool_tenant_starving{{tenant=\"{}\"}}", tenant.name);
    eventually("it is said", || service.metric(&series) == Some(1.0));
    let row = row(service, tenant).expect("it has a row");
    assert!(row.contains("\"starving\":true") && row.contains(&limited.server()), "{row}");
    let health = limited.client.health(&tenant.name).expect("it is known");
    assert_eq!(health.status, status);
    assert!(health.tenants[0].starving, "{health:?}");
    assert!(health.tenants[0].last_error.contains(&limited.server()), "{health:?}");
}

#[test]
fn a_tenant_without_a_connection_is_starving_whether_registered_or_not() {
    let limited = Limited::to(2, 2, &["--min-connections", "0"]);
    let service = &limited.service;
    let held = [limited.lease(0), limited.lease(0)];
    assert!(row(service, &limited.tenants[0]).unwrap().contains("\"starving\":false"));
    let waits = [limited.later(0), limited.later(1)];
    is_starving(&limited, 0, "degraded");
    is_starving(&limited, 1, "unhealthy");
    assert_eq!(service.get("/health/ready").0, 200, "the service is well");
    drop(waits);
    limited.waits(0);
    // It is still said when it has been told so.
    let hurried = ConnectionRequest { wait_timeout: millis(10), ..request(&limited.tenants[1]) };
    let error = refused(limited.client.acquire_with(&hurried));
    let said = (error.code, &*error.reason);
    assert_eq!(said, (code::RESOURCE_EXHAUSTED, "DATABASE_FULL"), "{error}");
    assert!(error.message.contains(&limited.server()), "{error}");
    is_starving(&limited, 1, "unhealthy");
    held[0].release();
    limited.lease(1).release();
    let row = row(service, &limited.tenants[1]).unwrap();
    assert!(row.contains("\"status\":\"healthy\"") && row.contains("\"starving\":false"), "{row}");
}

#[test]
fn a_tenant_whose_checks_find_no_room_is_starving_although_no_request_waits() {
    let mut limited = Limited::to(1, 2, &["--min-connections", "0"]);
    limited.tenants[0].dsn += " pool_health_check_period=1s";
    limited.lease(0).release();
    let held = limited.lease(1);
    is_starving(&limited, 0, "unhealthy");
    limited.waits(0);
    held.release();
    let service = &limited.service;
    let is_well =
        |row: String| row.contains("\"status\":\"healthy\"") && row.contains("\"starving\":false");
    eventually("it is well", || row(service, &limited.tenants[0]).is_some_and(is_well));
    assert_eq!(limited.database.backends(), 1, "it has none, and would get one");
}

#[test]
fn a_tenant_that_waits_for_its_server_is_not_said_to_be_exhausted_itself() {
    let mut limited = Limited::to(1, 2, &["--min-connections", "0"]);
    limited.tenants[0].dsn += " pool_max_conns=1";
    let held = limited.lease(0);
    // One stands in line for both, as their tenant has yet to be opened, and to be named.
    let of_server = [limited.later(1), limited.later(1)];
    let waiting = "connpool_waiters{tenant=\"_other\"}";
    eventually("the other waits", || limited.service.metric(waiting) == Some(1.0));
    let of_tenant = limited.later(0);
    let told = |n: usize| format!("event=pool_exhausted tenant={} ", limited.tenants[n].name);
    limited.service.log().wait_for(&told(0));
    assert!(!limited.service.log().text().contains(&told(1)));
    drop((of_server, of_tenant));
    held.release();
}
