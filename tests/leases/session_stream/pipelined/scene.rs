//! A stream whose requests are sent together, and what they wait for.

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::session_request::Kind as Ask;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteResponse, SessionExecute, Statement, Value};

use super::super::{answer, open};
use crate::harness::{eventually, millis, Service, Tenant};

/// Leaves a row once the number of its second parameter may pass.
pub(super) const WAITS: &str = "insert into thing select $1::int from passes($2::int)";
/// The number that may always pass.
pub(super) const FREE: i64 = 0;
const SETUP: &str = "\
    create table thing (n int unique deferrable initially deferred, at bigserial); \
    create table passed (number int); insert into passed values (0); \
    grant all on thing, thing_at_seq, passed to public; \
    create function passes(number int) returns int language plpgsql as $$ begin \
        perform pg_advisory_xact_lock_shared(number); \
        if number > 0 then raise notice 'it waits'; end if; \
        while not exists (select from passed p where p.number = passes.number) loop \
            perform pg_sleep(0.002); \
        end loop; \
        return number; end $$";

pub(super) fn statement(sql: &str, parameters: &[Kind]) -> Statement {
    let value = |kind: &Kind| Value { kind: Some(kind.clone()), ..Value::default() };
    let parameters = parameters.iter().map(value).collect();
    Statement { sql: sql.to_owned(), parameters, ..Statement::default() }
}

/// A stream whose last request waits; those that are sent meanwhile are sent together.
pub(super) struct Scene {
    pub(super) tenant: Tenant,
    pub(super) session: Session,
    pub(super) pid: i32,
    pub(super) gate: i64,
    /// Requests since the gate was shut.
    sent: usize,
    pub(super) service: Service,
}

impl Scene {
    pub(super) fn new(tenant: Tenant) -> Scene {
        let service = Service::with(&["--cancel-grace", "60s"]);
        tenant.sql(SETUP);
        let (session, opened) = open(&service, &tenant);
        let mut scene =
            Scene { tenant, session, pid: opened.lease.backend_pid, gate: 1000, sent: 0, service };
        scene.prepare(WAITS, &[Kind::Int(0), Kind::Int(FREE)]);
        scene
    }

    /// Runs it, so that it is kept prepared and its answer is known to be short.
    pub(super) fn prepare(&mut self, sql: &str, parameters: &[Kind]) {
        self.send(0, statement(sql, parameters), 60_000);
        self.answer(0).expect("it runs");
        self.say(0, "delete from thing", &[]);
        self.answer(0).expect("it runs");
    }

    pub(super) fn shut(&mut self) {
        (self.gate, self.sent) = (self.gate + 1, 0);
        self.say(-1, WAITS, &[-1, self.gate]);
        self.eventually_waits(self.gate);
    }

    /// Those that were sent since are sent together, and the gate's is answered.
    pub(super) fn open(&mut self) {
        // Each counts a KiB and more, once it was read.
        let read = || self.service.metric("connpool_memory_bytes{use=\"read_ahead\"}");
        eventually("all were read", || read() > Some((self.sent << 10) as f64));
        self.pass(self.gate);
        self.answer(-1).expect("it runs");
    }

    pub(super) fn pass(&self, number: i64) {
        self.tenant.sql(&format!("insert into passed values ({number})"));
    }

    pub(super) fn send(&mut self, id: i64, statement: Statement, timeout: u64) {
        let (id, statements, timeout) = (id as u64, vec![statement], millis(timeout));
        let execute = SessionExecute { id, statements, timeout, ..SessionExecute::default() };
        self.session.send(Ask::Execute(execute)).unwrap();
        self.sent += 1;
    }

    pub(super) fn say(&mut self, id: i64, sql: &str, numbers: &[i64]) {
        let parameters: Vec<_> = numbers.iter().map(|n| Kind::Int(*n)).collect();
        self.send(id, statement(sql, &parameters), 60_000);
    }

    /// True while the statement of this number waits.
    pub(super) fn waits(&self, number: i64) -> bool {
        let sql = format!(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = {number} \
             and pid = {}",
            self.pid
        );
        self.tenant.sql(&sql) == "1"
    }

    pub(super) fn eventually_waits(&self, number: i64) {
        eventually("it waits", || self.waits(number));
    }

    #[track_caller]
    pub(super) fn answer(&mut self, id: i64) -> Result<ExecuteResponse, CallError> {
        let (answered, outcome) = answer(&mut self.session);
        assert_eq!(answered, id as u64);
        outcome
    }

    /// The rows in the order in which they were written.
    pub(super) fn rows(&self) -> String {
        let rows = "select coalesce(string_agg(n::text, ' ' order by at), '') from thing";
        self.tenant.sql(&format!("{rows} where n >= 0"))
    }
}
