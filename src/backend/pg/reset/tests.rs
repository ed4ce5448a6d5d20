//! Every clause of a reset is needed: with that one left out, something of a lease stays,
//! which is gone with all of them. On a real PostgreSQL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backend::connect::PgConnect;
use crate::backend::door::Door;
use crate::backend::dsn_reach::DsnReach;
use crate::backend::logins::{Logins, Tries};
use crate::backend::pg::reply::NoRows;
use crate::backend::session::{Backend, Done, Rows, RunError};
use crate::backend::statement::Statement;
use crate::backend::stream::watch::Watch;
use crate::backend::tls::BackendTls;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::lookup_slots::Asker;
use crate::core::value::Column;
use crate::embedded::{Embedded, Options};
use crate::error::ConnectError;
use crate::pgwire::values::Shape;

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Rollback,
    /// An expression of [`ResetStep::Look`].
    Look(&'static str),
    ResetAll,
    Plans,
    Temporary,
    Sequences,
    Unlisten,
    CloseAll,
    Deallocate,
}

/// The expressions of [`ResetStep::Look`] that do something, and what can stand for each.
const EXPRESSIONS: [(&str, &str); 4] = [
    ("pg_catalog.set_config('session_authorization', NULL, false)", "NULL"),
    ("pg_catalog.set_config('role', NULL, false)", "NULL"),
    ("pg_catalog.pg_advisory_unlock_all()", "NULL"),
    ("pg_catalog.setseed($1)", "$1::float8"),
];

/// A clause, what a lease leaves that the clause takes back, and what looks for it.
type Needed = (Clause, &'static [&'static str], &'static str);

const ADVISORY: &str =
    "select objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
const PREPARED: &str = "select name from pg_prepared_statements where from_sql";

const NEEDED: [Needed; 13] = [
    (Clause::Rollback, &["begin", "insert into thing values (1)"], "select count(*) from thing"),
    (Clause::Look(EXPRESSIONS[0].0), &["set session authorization auditor"], "select session_user"),
    // The role comes with the login.
    (Clause::Look(EXPRESSIONS[1].0), &["set role none"], "select current_user"),
    (Clause::Look(EXPRESSIONS[2].0), &["select pg_advisory_lock(42)"], ADVISORY),
    (Clause::Look(EXPRESSIONS[3].0), &["select setseed(0.42)"], "select random()"),
    (Clause::ResetAll, &["set work_mem = '77MB'"], "show work_mem"),
    (
        Clause::Plans,
        &["select set_config('timezone', 'Etc/GMT+4', false)", "select noon()"],
        "select noon()",
    ),
    (
        Clause::Temporary,
        &["create temp table mine (n int)"],
        "select count(*) from pg_class where relname = 'mine'",
    ),
    (Clause::Sequences, &["select nextval('ticks')"], "select lastval() > 0"),
    (Clause::Unlisten, &["listen news"], "select pg_listening_channels()"),
    (
        Clause::CloseAll,
        &["declare mine cursor with hold for select 1"],
        "select name from pg_cursors where is_holdable",
    ),
    (Clause::Deallocate, &["prepare mine as select 1"], PREPARED),
    (Clause::Deallocate, &["prepare \"My; \"\"s\"\"\" as select 1"], PREPARED),
];

/// Every server lets everybody in.
struct Open;

impl Door for Open {
    fn enter(&self, _: SocketAddr) -> Result<(), ConnectError> {
        Ok(())
    }
    fn record(&self, _: Option<&ConnectError>) {}
}

/// A PostgreSQL whose user `boss`, a superuser, has a role that comes with its login.
fn server() -> Embedded {
    let server = Embedded::start(Options::default()).unwrap();
    server.create_tenant("boss", "secret").unwrap();
    let sql = "create role auditor; create role app superuser; alter role boss superuser;
         grant app to boss; alter role boss set role = 'app';
         create table thing (n int); create sequence ticks;
         create function noon() returns float8 language plpgsql as
             $$ begin return extract(hour from timestamptz '2024-07-01 12:00' at time zone 'UTC'); end $$";
    server.sql("boss", sql).unwrap();
    server
}

/// A backend that was made as new once, and so has the steps prepared.
fn backend(server: &Embedded) -> PgBackend {
    let dsn = Dsn::parse(&server.tenant_dsn("boss", "secret")).unwrap();
    let (tenant, caller) = (TenantId::parse("boss").unwrap(), CallerId::new("boss"));
    let tries = Tries::new(&Logins::default(), &dsn.user, &caller);
    let asker = Asker { tenant, caller };
    let tls = BackendTls::unverified().unwrap();
    let (name, pool) = ("boss".to_owned(), TenantPoolConfig::default());
    let connect = PgConnect::new(dsn, tries, asker, name, tls, DsnReach::anything(), &pool);
    let watch = Arc::<Watch>::default();
    let mut backend = connect.attempt(&watch, Duration::from_secs(30), &Open).unwrap();
    assert!(backend.reset());
    backend
}

/// All values of a statement, or that it fails.
fn run(backend: &mut PgBackend, sql: &str) -> String {
    let mut found = String::new();
    let done = simple(&mut backend.conversation, sql, |values| {
        for value in values.iter().flatten() {
            found.push_str(&String::from_utf8_lossy(value));
        }
    });
    match done {
        Ok(()) => found,
        Err(fault) => fault.expect("PostgreSQL is there").sqlstate,
    }
}

/// A reset without this clause.
fn reset_without(backend: &mut PgBackend, clause: Clause) {
    let is_open = backend.conversation.facts.transaction.is_open();
    if is_open && clause != Clause::Rollback {
        run(backend, "ROLLBACK");
    }
    let out = &mut backend.conversation.out;
    if let Clause::Look(text) = clause {
        let (name, mut sql) =
            (ResetStep::Look.statement().0, ResetStep::Look.statement().1.to_owned());
        // PostgreSQL since 15.9, 16.5 and 17.1 takes the role back with the session's
        // authorization. Before, that left no role at all.
        let is_role = text == EXPRESSIONS[1].0;
        for (at, (known, instead)) in EXPRESSIONS.into_iter().enumerate() {
            if known == text || is_role && at == 0 {
                sql = sql.replace(known, instead);
            }
        }
        out.close(name).unwrap();
        out.parse(name, &sql).unwrap();
    }
    let left_out = match clause {
        Clause::ResetAll => Some(ResetStep::ResetAll),
        Clause::Plans => Some(ResetStep::Plans),
        Clause::Temporary => Some(ResetStep::Temporary),
        Clause::Sequences => Some(ResetStep::Sequences),
        _ => None,
    };
    let steps: Vec<ResetStep> =
        ResetStep::ALL.into_iter().filter(|step| Some(*step) != left_out).collect();
    backend.write_steps(&steps, false).unwrap();
    backend.conversation.out.sync();
    backend.conversation.send().ok().unwrap();
    let told = backend.read_steps(&steps).unwrap();
    assert!(told.failed.is_none(), "{:?}", told.failed);
    let mut seen = told.seen.unwrap();
    match clause {
        Clause::Temporary => seen.has_temporary = false,
        Clause::Unlisten => seen.listens = false,
        Clause::CloseAll => seen.has_cursors = false,
        Clause::Deallocate => seen.has_prepared = false,
        _ => {}
    }
    assert!(backend.finish(Found { seen, differs: false }));
}

#[test]
fn no_clause_can_be_left_out() {
    let server = server();
    for (clause, leaves, looks) in NEEDED {
        let what = format!("{clause:?}, {leaves:?}");
        let mut dirty = backend(&server);
        let leave = |backend: &mut PgBackend| leaves.iter().for_each(|sql| drop(run(backend, sql)));
        leave(&mut dirty);
        let stays = run(&mut dirty, looks);
        // PostgreSQL takes back all that it held.
        drop(dirty);

        let found = run(&mut backend(&server), looks);
        assert_ne!(found, stays, "{what}: it is there before");
        let mut left = backend(&server);
        leave(&mut left);
        reset_without(&mut left, clause);
        assert_eq!(run(&mut left, looks), stays, "{what}: it goes without the clause");
        // With all clauses goes what has just stayed, and what a new session leaves.
        left.resets.forget();
        assert!(left.reset(), "{what}");
        assert_ne!(run(&mut left, looks), stays, "{what}: it stays");
        let mut whole = backend(&server);
        leave(&mut whole);
        assert!(whole.reset(), "{what}");
        assert_ne!(run(&mut whole, looks), stays, "{what}: it stays");
    }
}

#[test]
fn a_role_is_taken_back_for_itself() {
    let server = server();
    let mut backend = backend(&server);
    run(&mut backend, "set role none");
    assert_eq!(run(&mut backend, "select current_user"), "boss");
    reset_without(&mut backend, Clause::Look(EXPRESSIONS[0].0));
    assert_eq!(run(&mut backend, "select current_user"), "app");
}

#[test]
fn every_clause_is_among_those_that_are_left_out() {
    let is_left_out = |clause| NEEDED.iter().any(|(needed, ..)| *needed == clause);
    let (_, look) = ResetStep::Look.statement();
    let mut rest = look.strip_prefix("SELECT ").unwrap();
    for (expression, _) in EXPRESSIONS {
        assert!(is_left_out(Clause::Look(expression)), "{expression}");
        rest = rest.strip_prefix(expression).and_then(|rest| rest.strip_prefix(", ")).unwrap();
    }
    // The rest only tells.
    assert!(rest.starts_with(SETTINGS.strip_prefix("SELECT ").unwrap()), "{rest}");
    for step in ResetStep::ALL {
        let clause = match step {
            ResetStep::Look | ResetStep::Settings => continue,
            ResetStep::ResetAll => Clause::ResetAll,
            ResetStep::Plans => Clause::Plans,
            ResetStep::Temporary => Clause::Temporary,
            ResetStep::Sequences => Clause::Sequences,
        };
        assert!(is_left_out(clause), "{step:?}");
    }
}

/// Runs a statement as the last of a session's use.
fn run_last(backend: &mut PgBackend, sql: &str) -> Result<Done, RunError> {
    backend.expect_end();
    backend.run(&Statement::new(sql, Vec::new()), &mut NoRows)
}

#[test]
fn one_sync_follows_the_last_statement_and_the_reset() {
    let server = server();
    let mut backend = backend(&server);
    let steps = |backend: &PgBackend| backend.resets.sent.as_ref().map(|sent| sent.place);
    assert!(run_last(&mut backend, "insert into thing values (1)").is_ok());
    assert_eq!(steps(&backend), Some(ResetBehind::Transaction));
    assert!(backend.reset());
    // Settings that it changes are reported with its own Sync.
    assert!(run_last(&mut backend, "select set_config('work_mem', '77MB', false)").is_ok());
    assert_eq!(steps(&backend), Some(ResetBehind::Sync));
    assert!(backend.reset());
    assert!(backend.run(&Statement::new("BEGIN", Vec::new()), &mut NoRows).is_ok());
    assert!(run_last(&mut backend, "COMMIT").is_ok());
    assert_eq!(steps(&backend), Some(ResetBehind::Commit));
    assert!(backend.reset());
    assert_eq!(run(&mut backend, "select count(*) from thing"), "1");
}

#[test]
fn a_reset_that_was_skipped_is_made_up_for() {
    let server = server();
    let mut backend = backend(&server);
    run(&mut backend, "insert into thing values (1)");
    let sql = "select 1 / count(*) from thing";
    assert!(run_last(&mut backend, sql).is_ok());
    assert!(backend.reset());
    run(&mut backend, "truncate thing");
    backend.closing.put_back(vec!["gone".to_owned()]);
    assert!(matches!(run_last(&mut backend, sql), Err(RunError::Fault(_))));
    assert!(backend.resets.sent.is_none());
    assert_eq!(backend.conversation.facts.transaction, TransactionState::None);
    assert!(backend.closing.take().contains(&"gone".to_owned()));
    assert!(backend.reset());
    // What it did is known before the statement that fails, and not after the reset.
    assert!(backend.run(&Statement::new("set work_mem = '5MB'", Vec::new()), &mut NoRows).is_ok());
    assert!(matches!(run_last(&mut backend, sql), Err(RunError::Fault(_))));
    assert!(backend.statements.session_reset(), "what is prepared since then is kept");
    backend.write_reset(false, ResetBehind::Sync);
    let steps = &backend.resets.sent.as_ref().unwrap().steps;
    assert!(steps.contains(&ResetStep::Plans), "{steps:?}");
}

/// Waits at the first row until PostgreSQL has ended the session.
struct Slow<'a>(&'a Embedded, Option<i32>);

impl Rows for Slow<'_> {
    fn head(&mut self, _: &[Column]) {}
    fn row(&mut self, _: &[Shape], _: &RawRow<'_>) {
        let Some(pid) = self.1.take() else { return };
        let sql = format!("select count(*) from pg_stat_activity where pid = {pid}");
        while self.0.sql("boss", &sql).unwrap().trim() != "0" {}
    }
    fn too_long(&mut self, _: usize) {}
}

#[test]
fn a_session_that_ends_before_the_rollback_of_its_last_statement_does_not_hide_its_error() {
    let server = server();
    let mut backend = backend(&server);
    run(&mut backend, "set idle_in_transaction_session_timeout = 1");
    let sql = "select n, 1 / (1000 - n) from generate_series(1, 1000) n";
    backend.expect_end();
    let mut slow = Slow(&server, Some(backend.pid()));
    match backend.run(&Statement::new(sql, Vec::new()), &mut slow) {
        Err(RunError::Fault(fault)) => assert_eq!(fault.sqlstate, "22012"),
        other => panic!("{other:?}"),
    }
    assert!(!backend.reset());
}

#[test]
fn a_cancel_that_hits_a_reset_costs_it_no_step() {
    let server = server();
    let there_and_back = "create function there_and_back() returns float8 language plpgsql as $$
         declare hour float8; zone text := current_setting('timezone'); begin
             perform set_config('timezone', 'Etc/GMT+4', false);
             hour := noon();
             perform set_config('timezone', zone, false);
             return hour;
         end $$";
    server.sql("boss", there_and_back).unwrap();
    let mut backend = backend(&server);
    assert_eq!(run(&mut backend, "select there_and_back()"), "16");
    // A cancel for the statement before comes as late as that.
    let cancels =
        "do 'begin perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(3600); end'";
    backend.conversation.out.parse("", cancels).unwrap();
    backend.conversation.out.bind("", &[], &[]).unwrap();
    backend.conversation.out.execute(0).unwrap();
    backend.write_reset(true, ResetBehind::Sync);
    assert!(backend.reset());
    assert_eq!(run(&mut backend, "select noon()"), "12");
}
