//! Settings of every kind that are read again, a hundred times, while clients do everything.

use std::fmt::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::RwLock;

use connection_pool_manager::client::service::{text_at, CallError, Client};
use connection_pool_manager::dev_certs;
use connection_pool_manager::proto::admin::{ListTenantsRequest, ReloadRequest};
use rustix::process::Signal;

use crate::harness::sql::one_shot;
use crate::harness::traffic::{Counts, Traffic};
use crate::harness::{
    acquire_later, answer, digest, eventually, park, parked, refused, tenant, Administered,
    Operator, Tenant,
};

const RELOADS: usize = 100;
/// Clients of the tenants that have many, one of each kind at least at the last.
const CLIENTS: [usize; 3] = [2, 4, 8];
/// Limits of the tenant that changes its limit.
const SIZES: [i32; 5] = [1, 4, 2, 6, 3];

/// The tenants, and where the one leads to that leads nowhere.
struct World {
    /// Nothing of it changes.
    steady: Tenant,
    /// Its limit changes, and who may use it.
    sized: Tenant,
    /// Its DSN changes: the role, and how it uses TLS.
    moved: Tenant,
    /// The other role of that one.
    role: Tenant,
    /// Two leases have all of it, for the whole time.
    busy: Tenant,
    /// It comes and goes.
    coming: Tenant,
    /// Whoever connects there is never answered.
    nowhere: [TcpListener; 2],
}

impl World {
    fn new() -> World {
        let nowhere = || TcpListener::bind("127.0.0.1:0").unwrap();
        World {
            steady: tenant(),
            sized: tenant(),
            moved: tenant(),
            role: tenant(),
            busy: tenant(),
            coming: tenant(),
            nowhere: [nowhere(), nowhere()],
        }
    }

    /// The DSN of the tenant that is moved, which role that is, and whether it uses TLS.
    fn destination(&self, n: usize) -> (String, &str, bool) {
        let tls = n.is_multiple_of(3);
        let sslmode = if tls { "require" } else { "disable" };
        let role = if n.is_multiple_of(2) { &self.moved } else { &self.role };
        let dsn = role.with(&format!("dbname={} sslmode={sslmode}", self.moved.name)).dsn;
        (dsn, &role.name, tls)
    }

    fn has_coming(n: usize) -> bool {
        !n.is_multiple_of(3)
    }

    /// With it the reload of this number is told in the log.
    fn is_told(n: usize) -> bool {
        n.is_multiple_of(2)
    }

    /// What the file is to say.
    fn file(&self, n: usize) -> String {
        let mut text = String::new();
        // Of the two tokens one is in use, and the other is what comes next.
        let _ = writeln!(
            text,
            "[identities.guest]\ntokens = [{{ sha256 = \"{}\" }}, {{ sha256 = \"{}\" }}]\n\
             [service]\nlog_level = \"{}\"\nmax_statements = {}\nwait = {}\n\
             [defaults]\nmin_connections = 0\nidle_timeout = {}",
            digest(&token(n)),
            digest(&token(n.saturating_sub(1))),
            if World::is_told(n) { "info" } else { ["warn", "off", "error"][n % 3] },
            100 + n % 7,
            200 + n % 5,
            600 + n / 10
        );
        let mut add = |tenant: &Tenant, lines: &str, users: &str| {
            text += &tenant.table(&format!("identities = [{users}]\n{lines}"));
        };
        add(&self.steady, "max_connections = 4\nidle_timeout = 500", "\"shop\"");
        let users = if n.is_multiple_of(2) { "\"shop\"" } else { "\"shop\", \"guest\"" };
        add(&self.sized, &format!("max_connections = {}", SIZES[n % SIZES.len()]), users);
        let moved = Tenant { dsn: self.destination(n).0, ..self.moved.clone() };
        // Nobody waits there, so that the guest is quick to get the next token.
        add(&moved, "max_connections = 12", "\"shop\", \"guest\"");
        let busy = self.busy.with(["sslmode=require", "sslmode=disable"][n % 2]);
        add(&busy, "max_connections = 2", "\"shop\"");
        if World::has_coming(n) {
            add(&self.coming, "max_connections = 2", "\"shop\"");
        }
        let stuck = format!(
            "host=127.0.0.1 port={} user=u password=p dbname=d sslmode=disable connect_timeout=60",
            self.nowhere[n % 2].local_addr().unwrap().port()
        );
        let stuck = Tenant { name: "stuck".to_owned(), password: String::new(), dsn: stuck };
        add(&stuck, &format!("max_connections = {}", 2 + n % 2), "\"shop\"");
        // It tells which file it is.
        add(&Tenant { name: marker(n), ..stuck }, "max_connections = 1", "\"shop\"");
        text
    }
}

fn token(n: usize) -> String {
    format!("token-of-guest-{n:03}")
}

fn marker(n: usize) -> String {
    format!("marker-{n:03}")
}

/// Puts the file of this number in force, by a signal or by a call.
fn reload(service: &Administered, ops: &Operator, world: &World, n: usize) {
    service.rewrite(&world.file(n));
    let told = format!("tenants.{}", marker(n));
    if World::is_told(n) && n.is_multiple_of(4) {
        service.signal(Signal::HUP);
        let line = service.log().wait_for(&format!(",{told}"));
        let nothing = ["needs_restart=\"\"", "tenants_not_changed=0"];
        assert!(nothing.iter().all(|part| line.contains(part)), "{line}");
        return;
    }
    let done = ops.ask(|stub, option| stub.reload(&ReloadRequest::default(), option)).unwrap();
    assert!(done.applied.contains(&told), "{done}");
    assert!(done.needs_restart.is_empty() && done.unchanged_tenants.is_empty(), "{done}");
}

/// What the file of this number says holds, for who comes after the reload.
fn holds(client: &Client, world: &World, n: usize) {
    let size = client.stats(&world.sized.name).unwrap().max_connections;
    assert_eq!(size, SIZES[n % SIZES.len()]);
    let (_, role, tls) = world.destination(n);
    let who = "select current_user || ' ' || \
               (select ssl from pg_stat_ssl where pid = pg_backend_pid())";
    let said = client.execute(&one_shot(&world.moved.by_name(), &[who])).unwrap();
    assert_eq!(text_at(&said, 0, 0, 0), format!("{role} {tls}"), "after reload {n}");
    let coming = client.execute(&one_shot(&world.coming.by_name(), &["select 1"]));
    match coming {
        Ok(_) => assert!(World::has_coming(n), "after reload {n}"),
        Err(error) => assert!(is_gone(&error) && !World::has_coming(n), "{error}"),
    }
    assert!(client.stats(&marker(n)).is_ok());
    assert!(is_gone(&refused(client.stats(&marker(n - 1)))));
    let guest = client.with_token(&token(n)).unwrap().stats(&world.sized.name);
    let reason = guest.err().map(|error| error.reason);
    let may = !n.is_multiple_of(2);
    assert_eq!(reason.as_deref(), (!may).then_some("PERMISSION_DENIED"), "after reload {n}");
    if n >= 2 {
        let old = client.with_token(&token(n - 2)).unwrap();
        assert_eq!(refused(old.stats(&world.moved.name)).reason, "UNAUTHENTICATED");
    }
}

/// The files of the certificate, as the service started with them.
struct Certificate {
    paths: [PathBuf; 2],
    first: [Vec<u8>; 2],
}

impl Certificate {
    fn of(service: &Administered) -> Certificate {
        let paths = ["key.pem", "cert.pem"].map(|name| service.certs.path().join(name));
        let first = [0, 1].map(|n| std::fs::read(&paths[n]).unwrap());
        Certificate { paths, first }
    }

    /// New files take the place of the old ones; at last the first do, which clients trust.
    fn renew(&self, n: usize) {
        if n == RELOADS {
            for (path, first) in self.paths.iter().zip(&self.first) {
                std::fs::write(path, first).unwrap();
            }
            return;
        }
        let dir = tempfile::tempdir_in(self.paths[0].parent().unwrap()).unwrap();
        let made = dev_certs::write(dir.path(), &["localhost", "127.0.0.1"]).unwrap();
        std::fs::rename(&made.key, &self.paths[0]).unwrap();
        std::fs::rename(&made.cert, &self.paths[1]).unwrap();
    }
}

/// Sets it when it is dropped, also if a test fails meanwhile.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A guest whose token is exchanged again and again: it is served with whichever holds.
fn exchange(client: &Client, world: &World, current: &RwLock<usize>) -> Result<(), CallError> {
    // No reload but the next one is over before the call is.
    let number = current.read().unwrap();
    let asked = one_shot(&world.moved.by_name(), &["select 1"]);
    client.with_token(&token(*number)).unwrap().execute(&asked).map(drop)
}

/// A tenant that is not there is nobody's to use; it may also go between the two questions.
fn is_gone(error: &CallError) -> bool {
    ["PERMISSION_DENIED", "TENANT_NOT_FOUND"].contains(&error.reason.as_str())
}

/// A client of the tenant that comes and goes is served, or told that there is none.
fn come_and_go(client: &Client, world: &World) -> Result<(), CallError> {
    let held = match client.acquire(&world.coming.name, "") {
        Err(error) if is_gone(&error) => return Ok(()),
        held => held?,
    };
    // What is leased goes on if the tenant goes.
    client.run(&held.connection_id, &["select 1"])?;
    client.release(&held.connection_id).map(drop)
}

#[test]
fn no_request_fails_by_a_hundred_reloads_and_no_tenant_waits_for_another() {
    let world = World::new();
    let service = Administered::undisturbed(&world.file(0));
    let (ops, client) = (service.operator("ops"), service.client());
    let loaded = [&world.steady, &world.sized, &world.moved].map(Tenant::by_name);
    let traffic: Vec<_> = loaded
        .iter()
        .zip(CLIENTS)
        .map(|(one, clients)| Traffic {
            service: &service,
            tenants: std::slice::from_ref(one),
            clients,
        })
        .collect();
    traffic.iter().for_each(Traffic::prepare);
    world.moved.sql(&format!("grant all on traffic to {}", world.role.name));
    let counts: Vec<Counts> = loaded.iter().map(|_| Counts::default()).collect();
    // One statement of the busy tenant waits until the other lease lets go, and somebody else
    // for either of the two; nobody is ever connected to the stuck one.
    let busy = world.busy.by_name();
    let [first, second] = [service.lease(&busy), service.lease(&busy)];
    first.run(&["select pg_advisory_lock(7)"]);
    let waits = second.run_later("select pg_advisory_lock(7)");
    let queued = acquire_later(&client, &parked(&busy));
    let stuck = Tenant { name: "stuck".to_owned(), ..busy.clone() };
    let _unanswered = park(&service.client(), &stuck, 3);
    let certificate = Certificate::of(&service);
    let (over, current) = (AtomicBool::new(false), RwLock::new(0));
    let is_over = &|| over.load(Ordering::SeqCst);
    let repeat = |ask: &dyn Fn() -> Result<(), CallError>| {
        let _ends = Ends(&over);
        while !is_over() {
            ask().unwrap();
        }
    };
    let (guest, visitor) = (service.client(), service.client());
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        for (traffic, counts) in traffic.iter().zip(&counts) {
            scope.spawn(move || traffic.run(counts, |_| is_over()));
        }
        scope.spawn(|| repeat(&|| exchange(&guest, &world, &current)));
        scope.spawn(|| repeat(&|| come_and_go(&visitor, &world)));
        for n in 1..=RELOADS {
            if n.is_multiple_of(10) {
                certificate.renew(n);
            }
            reload(&service, &ops, &world, n);
            *current.write().unwrap() = n;
            holds(&client, &world, n);
            if n.is_multiple_of(10) {
                let newcomer = service.operator("eyes");
                let asked = ListTenantsRequest::default();
                newcomer.ask(|stub, option| stub.list_tenants(&asked, option)).unwrap();
            }
            let good = || counts.iter().map(|one| one.good.load(Ordering::SeqCst));
            let before: Vec<u64> = good().collect();
            eventually("every tenant's clients are served", || {
                is_over() || good().zip(&before).all(|(now, before)| now > *before)
            });
            assert!(!is_over(), "a client has failed before reload {}", n + 1);
        }
    });
    for (traffic, counts) in traffic.iter().zip(&counts) {
        traffic.assert_adds_up(counts);
    }
    first.run(&["select pg_advisory_unlock(7)"]);
    answer(waits).expect("the statement has gone on");
    first.release();
    answer(queued).expect("who waited is served");
    let told = format!("event=pool_changed tenant={} ", world.steady.name);
    assert!(!service.log().text().contains(&told), "nothing of it has changed");
}
