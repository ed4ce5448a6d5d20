//! One service, one PostgreSQL, and a tenant with leases in every state.

use std::fs;
use std::time::SystemTime;

use ::postgres::{Client as Driver, NoTls};
use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::connection_pool::ConnectionResponse;
use connection_pool_manager::proto::sql::{ExecuteResponse, SessionOpened};

use super::busy::wall_clock;
use super::together::{self, FREE};
use crate::harness::proxy::{Hold, Proxy};
use crate::harness::{acquire_later, eventually, request, tenant_on, Held, Later, Service, Tenant};

/// The tenant's permits for the leases of `stage`: one more than there are.
pub const CONNECTIONS: usize = 8;

/// The most connections of PostgreSQL, so few that it can be filled.
pub const SLOTS: u32 = 24;

/// Who waits for this waits until the gatekeeper lets go.
pub const GATE: &str = "pg_advisory_xact_lock_shared(1)";
/// The lock that it waits for.
pub const GATE_LOCK: i64 = 1;

/// Where it happens. Dropped in this order.
pub struct Scene {
    pub service: Service,
    pub tenant: Tenant,
    pub way: Proxy,
    pub postgres: Embedded,
    /// The tenant's permits.
    pub connections: usize,
}

/// A session of ours inside PostgreSQL, on whose locks the leases wait. Opened
/// before any of them: a PostgreSQL that stops ends its youngest sessions first,
/// and this one must not let go while they can still go on.
pub struct Gatekeeper(Driver);

/// The leases, each in its state, and who waits for answers.
pub struct Leases {
    pub gatekeeper: Gatekeeper,
    pub idle: Held,
    pub busy: (Held, Later<ExecuteResponse>),
    pub transaction: Held,
    /// Some rows have come, the rest is to come.
    pub delivering: (Session, SessionOpened),
    /// PostgreSQL has three requests, and runs the first.
    pub pipelined: (Session, SessionOpened),
    /// Released, and PostgreSQL runs the reset.
    pub resetting: Held,
    /// A moment before its release.
    pub resetting_since: SystemTime,
    /// PostgreSQL has a process for it, and nobody has heard of that yet.
    pub connecting: Later<ConnectionResponse>,
    pub opening_pid: i32,
    pub hold: Hold,
}

impl Scene {
    /// A scene without leases, of a tenant with so many permits.
    pub fn new(connections: usize) -> Scene {
        let settings = [
            // What is committed survives a crash of PostgreSQL.
            ("synchronous_commit", "on"),
            // PostgreSQL's processes are ours alone.
            ("autovacuum", "off"),
        ];
        let postgres = Embedded::start(Options {
            max_connections: SLOTS,
            extra: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Options::default()
        });
        let postgres = postgres.expect("PostgreSQL starts");
        let way = Proxy::to(postgres.port());
        let tenant = tenant_on(&postgres).pool_of(connections).over(&way);
        // A check of what is at rest has a permit for that long. Probes go on.
        let service = Service::with(&["--health-check-interval", "0"]);
        let scene = Scene { service, tenant, way, postgres, connections };
        scene.sql("create table ledger (entry text); grant all on ledger to public");
        scene
    }

    /// Asks PostgreSQL itself, as superuser, in the tenant's database.
    pub fn sql(&self, sql: &str) -> String {
        let out = self.postgres.sql(&self.tenant.name, sql).expect("SQL runs");
        out.trim().to_owned()
    }

    /// What has been entered and committed, in order.
    pub fn ledger(&self) -> Vec<String> {
        let entries = self.sql("select entry from ledger order by entry collate \"C\"");
        entries.lines().map(str::to_owned).collect()
    }

    /// A connection to PostgreSQL that has nothing to do with the service.
    pub fn outside(&self, dsn: &str) -> Result<Driver, ::postgres::Error> {
        Driver::connect(dsn, NoTls)
    }

    /// Brings a lease into each state.
    pub fn stage(&self) -> Leases {
        let (service, tenant) = (&self.service, &self.tenant);
        let mut gatekeeper = Gatekeeper::of(self);
        let idle = service.lease(tenant);
        let transaction = service.lease(tenant);
        let busy = service.lease(tenant);
        let resetting = service.lease(tenant);
        let mut delivering = service.client().open_session(request(tenant)).expect("a session");
        let mut pipelined = service.client().open_session(request(tenant)).expect("a session");

        for (lease, name) in
            [(&idle, "idle"), (&transaction, "transaction"), (&busy, "busy"), (&resetting, "reset")]
        {
            lease.run(&[&format!("insert into ledger values ('before: {name}')")]);
        }
        transaction.run(&["begin", "insert into ledger values ('transaction')"]);
        resetting.run(&["create temp table held (n int)"]);
        gatekeeper.shut();
        gatekeeper.hold_reset_up();

        let enter = |name| format!("insert into ledger select '{name}' from {GATE}");
        let running = busy.run_later(&enter("busy"));
        gatekeeper.has_waiting(busy.pid);
        // Three rows that fill what PostgreSQL buffers, and one that waits.
        let rows = format!(
            "select case n when 4 then {GATE}::text else repeat('x', {WIDE}) end \
             from generate_series(1, 4) as n"
        );
        delivering.0.execute(1, &[&rows]).unwrap();
        gatekeeper.has_waiting(delivering.1.lease.backend_pid);
        let port = gatekeeper.client_port(delivering.1.lease.backend_pid);
        eventually("rows have come", || self.way.brought(port) > 2 * WIDE);
        let locks = [GATE_LOCK, FREE, FREE];
        together::send(self, &mut gatekeeper, &mut pipelined, "pipelined", locks);

        // Last, because the service gives these two little time.
        let before = self.processes();
        let hold = self.way.hold_next();
        let connecting = acquire_later(&resetting.client, &request(tenant));
        hold.wait();
        // A cancel request has a process of its own for a moment.
        let mut new = Vec::new();
        eventually("PostgreSQL has one process more", || {
            new = self.processes();
            new.retain(|pid| !before.contains(pid));
            new.len() == 1
        });
        let opening_pid = new[0];
        let resetting_since = wall_clock();
        resetting.release();
        gatekeeper.has_waiting(resetting.pid);
        Leases {
            gatekeeper,
            idle,
            busy: (busy, running),
            transaction,
            delivering,
            pipelined,
            resetting,
            resetting_since,
            connecting,
            opening_pid,
            hold,
        }
    }

    /// The processes that PostgreSQL's first one has started.
    fn processes(&self) -> Vec<i32> {
        let pid = self.postgres.postmaster_pid().expect("it runs");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

/// Characters of a row that does not fit into any buffer on the way.
const WIDE: usize = 100_000;

/// The backends that are struck.
pub struct Victims {
    /// They end at once.
    pub leased: Vec<i32>,
    /// At its reset, it waits for a lock before it ends.
    pub resetting: i32,
    /// Nobody has heard of it yet.
    pub opening: Option<i32>,
}

impl Victims {
    /// Those that the service knows.
    pub fn known(&self) -> Vec<i32> {
        self.leased.iter().copied().chain([self.resetting]).collect()
    }
}

impl Leases {
    /// The backends of the leases.
    pub fn victims(&self) -> Victims {
        let on_stream = |stream: &(Session, SessionOpened)| stream.1.lease.backend_pid;
        let (delivering, pipelined) = (on_stream(&self.delivering), on_stream(&self.pipelined));
        let (idle, busy, transaction) = (self.idle.pid, self.busy.0.pid, self.transaction.pid);
        Victims {
            leased: vec![idle, busy, transaction, delivering, pipelined],
            resetting: self.resetting.pid,
            opening: Some(self.opening_pid),
        }
    }
}

impl Gatekeeper {
    pub fn of(scene: &Scene) -> Gatekeeper {
        let dsn = scene.postgres.superuser_dsn(&scene.tenant.name);
        Gatekeeper(scene.outside(&dsn).expect("the superuser may connect"))
    }

    pub fn shut(&mut self) {
        self.0.batch_execute("begin; select pg_advisory_xact_lock(1)").unwrap();
    }

    /// Keeps the temporary table from being dropped.
    fn hold_reset_up(&mut self) {
        let sql = "select relnamespace::regnamespace::text from pg_class where relname = 'held'";
        let schema: String = self.0.query_one(sql, &[]).unwrap().get(0);
        let lock = format!("lock table {schema}.held in access share mode");
        self.0.batch_execute(&lock).unwrap();
    }

    /// Waits until this backend waits for a lock.
    pub fn has_waiting(&mut self, pid: i32) {
        let sql = "select exists (select from pg_locks where pid = $1 and not granted)";
        eventually("it waits for a lock", || self.0.query_one(sql, &[&pid]).unwrap().get(0));
    }

    /// Waits until this backend waits for the lock of this number.
    pub fn has_waiting_for(&mut self, pid: i32, lock: i64) {
        let sql = "select exists (select from pg_locks where pid = $1 and not granted \
                   and locktype = 'advisory' and objid::bigint = $2)";
        let mut waits = || self.0.query_one(sql, &[&pid, &lock]).unwrap().get(0);
        eventually("it waits for that lock", &mut waits);
    }

    /// Holds the lock of this number, until it is given back.
    pub fn lock(&mut self, lock: i64) {
        self.0.execute("select pg_advisory_lock($1)", &[&lock]).unwrap();
    }

    /// Gives it back.
    pub fn unlock(&mut self, lock: i64) {
        self.0.execute("select pg_advisory_unlock($1)", &[&lock]).unwrap();
    }

    /// Keeps every temporary table from being made and dropped.
    pub fn hold_temporary_tables(&mut self) {
        self.0.batch_execute("lock table pg_depend in exclusive mode").unwrap();
    }

    /// Where this backend's client connects from.
    pub fn client_port(&mut self, pid: i32) -> u16 {
        let sql = "select client_port from pg_stat_activity where pid = $1";
        let port: i32 = self.0.query_one(sql, &[&pid]).unwrap().get(0);
        u16::try_from(port).unwrap()
    }

    /// Lets all who wait go on. It keeps its connection, so that nobody gets its
    /// place in a PostgreSQL that is full.
    pub fn let_go(&mut self) {
        // PostgreSQL may have ended it.
        let _ = self.0.batch_execute("rollback");
    }
}
