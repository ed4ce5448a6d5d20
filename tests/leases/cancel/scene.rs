//! A statement that waits until it is let go, on a lease whose way to PostgreSQL
//! and whose caller's way to the service can be held up.

use std::cell::Cell;
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use crate::harness::proxy::Proxy;
use crate::harness::{
    answer, eventually, millis, now, postgres, request, tenant, Held, Later, Service, Tenant,
};

/// When what comes first by the clock comes, after the start of a statement, and
/// what comes second. The cancel of the first is held up until after the second,
/// for which it has two seconds.
pub const FIRST: Duration = Duration::from_millis(700);
pub const SECOND: Duration = Duration::from_millis(1400);

/// The same where a lease's lifetime, of a second at least, comes first.
pub const LIFE: Duration = Duration::from_millis(1000);
pub const AFTER_LIFE: Duration = Duration::from_millis(1800);

/// Returns at this time.
pub fn pass(time: Instant) {
    eventually("the time comes", || now() >= time);
}

pub struct Scene {
    pub service: Service,
    /// Between the service and PostgreSQL.
    pub way: Proxy,
    /// Between the callers and the service.
    pub clients: Proxy,
    tenant: Tenant,
    /// Reached over the way, with one connection.
    through: Tenant,
    /// Keeps the statement waiting.
    keeper: Held,
    kept: Cell<bool>,
    numbers: Cell<u32>,
}

impl Scene {
    pub fn new() -> Scene {
        let (service, tenant) = (Service::start(), tenant());
        let way = Proxy::to(postgres().port());
        let through = tenant.over(&way).pool_of(1);
        let keeper = Tenant { name: format!("keeper-{}", tenant.name), ..tenant.clone() };
        let keeper = service.lease(&keeper.pool_of(1));
        keeper.run(&["create table marker (n int)"]);
        let clients = Proxy::to(service.port);
        let (kept, numbers) = (Cell::new(false), Cell::new(0));
        Scene { service, way, clients, tenant, through, keeper, kept, numbers }
    }

    /// A lease whose caller speaks over the proxy.
    pub fn lease(&self) -> Held {
        let mut lease = self.service.lease(&self.through);
        lease.client = self.service.client_by(self.clients.port);
        lease
    }

    /// The same lease without the proxy.
    pub fn direct(&self, lease: &Held) -> Held {
        Held { client: self.service.client(), id: lease.id.clone(), pid: lease.pid }
    }

    /// A lease of such terms.
    pub fn lease_of(&self, terms: ConnectionRequest) -> Held {
        let mut lease = self.service.lease_with(&self.asks(terms));
        lease.client = self.service.client_by(self.clients.port);
        lease
    }

    /// Asks for a connection on these terms.
    pub fn asks(&self, terms: ConnectionRequest) -> ConnectionRequest {
        let asked = request(&self.through);
        ConnectionRequest { tenant_id: asked.tenant_id, dsn: asked.dsn, ..terms }
    }

    /// A statement that will wait, not started.
    pub fn round(&self, lease: Held) -> Round<'_> {
        self.keep();
        Round {
            scene: self,
            lease,
            number: self.numbers.get(),
            timed: None,
            deadline: None,
            due: None,
            call: None,
        }
    }

    /// The next statement will wait.
    pub fn keep(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.keeper.run(&["select pg_advisory_lock(7)"]);
        self.kept.set(true);
        self.numbers.get()
    }

    /// The statement that waits.
    pub fn waiting(number: u32) -> String {
        format!(
            "with held as materialized (select pg_advisory_xact_lock(7)) \
             insert into marker select {number} from held"
        )
    }

    /// Lets the statement go.
    pub fn open(&self) {
        if self.kept.take() {
            self.keeper.run(&["select pg_advisory_unlock(7)"]);
        }
    }

    /// A statement waits, and that was seen by then.
    pub fn is_blocked_before(&self, time: Instant) -> bool {
        let mut seen = false;
        eventually("the statement waits", || {
            seen = self.is_blocked();
            seen || now() >= time
        });
        seen && now() < time
    }

    pub fn is_blocked(&self) -> bool {
        let blocked = "select count(*) from pg_locks where locktype = 'advisory' and not granted \
                       and database = (select oid from pg_database where datname = current_database())";
        self.tenant.sql(blocked) == "1"
    }

    /// Rows that the statement of this number has left.
    pub fn rows(&self, number: u32) -> usize {
        let sql = format!("select count(*) from marker where n = {number}");
        self.tenant.sql(&sql).parse().unwrap()
    }

    pub fn cancels(&self) -> Cancels {
        let count = |cause: &str, result: &str| {
            let series =
                format!("connpool_cancel_requests_total{{cause=\"{cause}\",result=\"{result}\"}}");
            self.service.metric(&series).unwrap_or(0.0) as u64
        };
        let sent = CAUSES.map(|cause| count(cause, "sent"));
        Cancels { sent, failed: CAUSES.map(|cause| count(cause, "failed")).iter().sum() }
    }

    /// The name of the tenant whose statements wait.
    pub fn tenant_name(&self) -> &str {
        &self.tenant.name
    }

    /// Everything is given back.
    pub fn is_quiet(&self) {
        // None: it may have been closed to see whether others could be let in.
        assert!(self.settle() <= 1);
    }

    /// Waits until everything is given back. Returns how many connections are left.
    pub fn settle(&self) -> i32 {
        self.service.wait_quiet(&self.tenant.name).total_connections
    }
}

const CAUSES: [&str; 5] = ["caller", "timeout", "release", "max_lifetime", "stream_lost"];

/// Cancels that were sent, each operation's counted once.
pub struct Cancels {
    sent: [u64; CAUSES.len()],
    pub failed: u64,
}

impl Cancels {
    pub fn since(&self, before: &Cancels) -> Cancels {
        let sent = std::array::from_fn(|i| self.sent[i] - before.sent[i]);
        Cancels { sent, failed: self.failed - before.failed }
    }

    pub fn of(&self, cause: Option<&str>) -> u64 {
        let index = CAUSES.iter().position(|name| Some(*name) == cause);
        index.map_or(0, |index| self.sent[index])
    }

    pub fn total(&self) -> u64 {
        self.sent.iter().sum()
    }
}

/// One statement, and what is planned for it.
pub struct Round<'a> {
    pub scene: &'a Scene,
    pub lease: Held,
    pub number: u32,
    /// The statement's timeout.
    pub timed: Option<Duration>,
    /// The caller's deadline.
    pub deadline: Option<Duration>,
    /// When the next of the two passes.
    pub due: Option<Instant>,
    pub call: Option<Later<ExecuteResponse>>,
}

impl Round<'_> {
    pub fn start(&mut self) {
        let sql = Scene::waiting(self.number);
        let hour = Duration::from_secs(3600);
        let request = ExecuteRequest {
            connection_id: self.lease.id.clone(),
            statements: vec![statement(&sql)],
            timeout: millis(self.timed.unwrap_or(hour).as_millis() as u64),
            ..ExecuteRequest::default()
        };
        let patient = grpcio::CallOption::default().wait_for_ready(true);
        let options = patient.timeout(self.deadline.unwrap_or(hour));
        self.call = Some(self.lease.client.sql_stub().execute_async(&request, options).unwrap());
    }

    /// The statement waits, and that was seen by then.
    pub fn is_blocked_before(&self, time: Instant) -> bool {
        self.scene.is_blocked_before(time)
    }

    /// What the caller is told; `None` if it does not listen.
    pub fn answer(&mut self) -> Option<Result<ExecuteResponse, CallError>> {
        self.call.take().map(answer)
    }

    /// Nothing runs on the lease any more.
    pub fn is_over(&self) {
        let lease = self.scene.direct(&self.lease);
        eventually("the operation is over", || {
            let next = lease.client.run(&lease.id, &["select 1"]);
            next.map_or_else(|error| error.reason != "LEASE_BUSY", |_| true)
        });
    }

    /// The lease is free, and is the same. False: it has ended, as it does on a machine so
    /// busy that a clock or the limit of a cancel has passed meanwhile.
    #[must_use]
    pub fn lease_is_usable(&self) -> bool {
        let lease = self.scene.direct(&self.lease);
        let mut found = None;
        eventually("the lease is free", || {
            let answer = lease.client.run(&lease.id, &["select pg_backend_pid()"]);
            let is_busy = answer.as_ref().is_err_and(|error| error.reason == "LEASE_BUSY");
            found = Some(answer);
            !is_busy
        });
        match found.expect("it was asked") {
            Ok(answer) => {
                let pid = connection_pool_manager::client::service::text_at(&answer, 0, 0, 0);
                assert_eq!(pid, self.lease.pid.to_string());
                lease.client.run(&lease.id, &["select 1", "select pg_sleep(0.01)"]).is_ok()
            }
            Err(error) => {
                assert_eq!(error.reason, "LEASE_ENDED", "{error}");
                false
            }
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.scene.clients.forward();
        self.scene.open();
        // Nobody else gets the connection before.
        let lease = self.scene.direct(&self.lease);
        let _ = lease.client.release_with(&lease.id, true);
    }
}
