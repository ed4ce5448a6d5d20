//! Everything that clients do, at once, and what they count of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use connection_pool_manager::client::service::{statement, text_at, CallError, Client};
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{
    copy_out_response, CopyInStart, CopyOutRequest, ExecuteRequest, QueryRequest,
};

use super::sql::{one_shot, with};
use super::{code, eventually, request, Service, Tenant};

/// Rows of a streamed result: several messages of it.
const ROWS: u64 = 2_000;
/// Statements that are sent ahead on a session.
const AHEAD: u64 = 8;
/// Rows of one COPY.
const COPIED: u64 = 10;

type Work = fn(&Caller<'_>, u64) -> Result<u64, Failure>;

/// What callers do, each one of these: the rows that it has added.
const WORKS: &[Work] = &[ask, on_lease, atomically, on_session, stream, copy, fail, give_up];

/// Clients of these tenants, each with a connection of its own.
pub struct Traffic<'a> {
    pub service: &'a Service,
    pub tenants: &'a [Tenant],
    pub clients: usize,
}

/// What was counted.
#[derive(Default)]
pub struct Counts {
    /// Rounds that were begun, that have ended as they should, and that have not.
    pub begun: AtomicU64,
    pub good: AtomicU64,
    pub failed: AtomicU64,
    /// Rows that were added, as their callers were told.
    pub added: AtomicU64,
    /// The first of those that did not end as they should.
    pub failures: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// How many failures are kept.
const KEPT: usize = 20;

/// Why a round is no good one.
struct Failure(String);

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        Failure(error.to_string())
    }
}

fn unless(good: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if good {
        return Ok(());
    }
    Err(Failure(what()))
}

/// Ends the callers when it is dropped, also if a test fails meanwhile.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Caller<'a> {
    client: Client,
    tenant: &'a Tenant,
    number: usize,
}

impl Traffic<'_> {
    /// Makes the table that the callers add rows to.
    pub fn prepare(&self) {
        for tenant in self.tenants {
            tenant.sql(&format!(
                "create table traffic (caller int, n bigint); alter table traffic owner to {}",
                tenant.name
            ));
        }
    }

    /// Goes on until `watch` says that it is over, which is asked again and again.
    pub fn run(&self, counts: &Counts, mut watch: impl FnMut(&Counts) -> bool) {
        counts.over.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let _end = End(&counts.over);
            for number in 0..self.clients {
                let tenant = &self.tenants[number / WORKS.len() % self.tenants.len()];
                let work = WORKS[number % WORKS.len()];
                scope.spawn(move || {
                    let client = self.service.client();
                    counts.repeat(work, &Caller { client, tenant, number });
                });
            }
            while !watch(counts) {
                let _ = crossbeam_channel::never::<()>().recv_timeout(Duration::from_millis(20));
            }
        });
    }

    /// Waits until nothing is in use, and shows that what is left adds up: the rows to what
    /// the callers were told, the backends to what the service says, and the permits to all
    /// that there may be.
    #[track_caller]
    pub fn assert_adds_up(&self, counts: &Counts) {
        let failures = counts.failures.lock().unwrap();
        assert!(failures.is_empty(), "failures, first of them: {failures:#?}");
        let (begun, good) = (&counts.begun, &counts.good);
        assert_eq!(begun.load(Ordering::SeqCst), good.load(Ordering::SeqCst));
        let mut rows = 0;
        for tenant in self.tenants {
            let figures = self.service.wait_quiet(&tenant.name);
            assert!(figures.total_connections <= figures.max_connections, "{figures:?}");
            let what = format!("{} has as many backends as it is said", tenant.name);
            eventually(&what, || {
                let said = self.service.client().stats(&tenant.name).unwrap().total_connections;
                said as usize == tenant.backends()
            });
            self.assert_has_all_its_permits(tenant, figures.max_connections);
            rows += tenant.sql("select count(*) from traffic").parse::<u64>().unwrap();
        }
        assert_eq!(rows, counts.added.load(Ordering::SeqCst), "rows, and what callers were told");
    }
}

impl Traffic<'_> {
    /// As many leases as there may be are granted at once; figures do not tell of a permit
    /// that nobody has.
    #[track_caller]
    fn assert_has_all_its_permits(&self, tenant: &Tenant, count: i32) {
        let held: Vec<_> = (0..count).map(|_| self.service.lease(tenant)).collect();
        held.iter().for_each(super::Held::release);
        self.service.wait_quiet(&tenant.name);
    }
}

impl Counts {
    fn repeat(&self, work: Work, caller: &Caller<'_>) {
        let mut round = 0;
        while !self.over.load(Ordering::SeqCst) {
            round += 1;
            self.begun.fetch_add(1, Ordering::SeqCst);
            match work(caller, round) {
                Ok(added) => {
                    self.good.fetch_add(1, Ordering::SeqCst);
                    self.added.fetch_add(added, Ordering::SeqCst);
                }
                Err(Failure(why)) => {
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    let mut failures = self.failures.lock().unwrap();
                    if failures.len() < KEPT {
                        failures.push(format!("caller {}: {why}", caller.number));
                    }
                }
            }
        }
    }
}

const INSERT: &str = "insert into traffic values ($1, $2)";

fn int(value: u64) -> connection_pool_manager::proto::sql::Value {
    super::sql::value(connection_pool_manager::proto::sql::value::Kind::Int(value as i64))
}

/// A one-shot; the answer is that to its own question.
fn ask(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let question = with("select $1::bigint", &[int(round)]);
    let request = one_shot(caller.tenant, &[]);
    let answer =
        caller.client.execute(&ExecuteRequest { statements: vec![question], ..request })?;
    let said = text_at(&answer, 0, 0, 0);
    unless(said == round.to_string(), || format!("{said} answers {round}"))?;
    Ok(0)
}

/// A lease with a transaction.
fn on_lease(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let lease = caller.client.acquire_with(&request(caller.tenant))?;
    let insert = with(INSERT, &[int(caller.number as u64), int(round)]);
    let statements = [statement("begin"), insert, statement("commit")];
    for statement in statements {
        caller.client.execute(&ExecuteRequest {
            connection_id: lease.connection_id.clone(),
            statements: vec![statement],
            ..ExecuteRequest::default()
        })?;
    }
    caller.client.release(&lease.connection_id)?;
    Ok(1)
}

/// An atomic one-shot.
fn atomically(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let insert = |n| with(INSERT, &[int(caller.number as u64), int(n)]);
    let request = ExecuteRequest { atomic: true, ..one_shot(caller.tenant, &[]) };
    let statements = vec![insert(round), insert(round)];
    caller.client.execute(&ExecuteRequest { statements, ..request })?;
    Ok(2)
}

/// Statements ahead of their answers, which come in order; every other session is dropped.
fn on_session(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let (mut session, _) = caller.client.open_session(request(caller.tenant))?;
    for id in 1..=AHEAD {
        session.execute(id, &[&format!("select {id}")])?;
    }
    for id in 1..=AHEAD {
        let said = session.next()?.and_then(|said| said.kind);
        let good = match &said {
            Some(Said::Executed(done)) => done.id == id && done.has_response(),
            _ => false,
        };
        unless(good, || format!("{said:?} instead of answer {id}"))?;
    }
    if round.is_multiple_of(2) {
        session.close()?;
        let closed = session.next()?.and_then(|said| said.kind);
        unless(matches!(closed, Some(Said::Closed(_))), || format!("{closed:?} to a close"))?;
    }
    Ok(0)
}

/// A streamed result.
fn stream(caller: &Caller<'_>, _: u64) -> Result<u64, Failure> {
    let sql = format!("select n, repeat('x', 50) from generate_series(1, {ROWS}) n");
    let mut query = caller.client.query(&QueryRequest {
        tenant_id: caller.tenant.name.clone(),
        dsn: caller.tenant.dsn.clone(),
        statement: Some(statement(&sql)).into(),
        ..QueryRequest::default()
    })?;
    let mut rows = 0;
    while let Some(message) = query.next()? {
        if let Some(Kind::Batch(batch)) = message.kind {
            rows += batch.rows.len() as u64;
        }
    }
    unless(rows == ROWS, || format!("{rows} rows"))?;
    Ok(0)
}

/// A COPY in and one out.
fn copy(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let (tenant_id, dsn) = (caller.tenant.name.clone(), caller.tenant.dsn.clone());
    let mut copy = caller.client.copy_in(CopyInStart {
        tenant_id: tenant_id.clone(),
        dsn: dsn.clone(),
        sql: "copy traffic from stdin".to_owned(),
        ..CopyInStart::default()
    })?;
    for _ in 0..COPIED {
        // Why it ended is told by the answer.
        let _ = copy.data(format!("{}\t{round}\n", caller.number).as_bytes());
    }
    let added = copy.finish()?.rows_affected as u64;
    unless(added == COPIED, || format!("{added} rows were copied"))?;
    let sql = format!("copy (select generate_series(1, {COPIED})) to stdout");
    let request = CopyOutRequest { tenant_id, dsn, sql, ..CopyOutRequest::default() };
    let (mut copy, mut rows) = (caller.client.copy_out(&request)?, 0);
    while let Some(message) = copy.next()? {
        if let Some(copy_out_response::Kind::Trailer(trailer)) = message.kind {
            rows = trailer.rows_affected as u64;
        }
    }
    unless(rows == COPIED, || format!("{rows} rows came out"))?;
    Ok(added)
}

/// A statement that fails, and takes back what came before it.
fn fail(caller: &Caller<'_>, round: u64) -> Result<u64, Failure> {
    let insert = with(INSERT, &[int(caller.number as u64), int(round)]);
    let request = ExecuteRequest { atomic: true, ..one_shot(caller.tenant, &[]) };
    let statements = vec![insert, statement("select 1 / 0")];
    match caller.client.execute(&ExecuteRequest { statements, ..request }) {
        Ok(_) => Err(Failure("1 / 0 was answered".to_owned())),
        Err(error) if error.reason == "SQL_ERROR" => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A call that lasts longer than its caller waits.
fn give_up(caller: &Caller<'_>, _: u64) -> Result<u64, Failure> {
    let client = caller.client.with_timeout(Duration::from_millis(50));
    match client.execute(&super::sql::sleeping_one_shot(caller.tenant)) {
        Ok(_) => Err(Failure("an endless statement was answered".to_owned())),
        Err(error) if error.code == code::DEADLINE_EXCEEDED => Ok(0),
        Err(error) => Err(error.into()),
    }
}
