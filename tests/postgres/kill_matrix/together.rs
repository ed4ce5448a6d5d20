//! Requests of a session that PostgreSQL has all of while it runs the first, and what shows
//! that it has.

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_request::Kind as Ask;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{SessionExecute, SessionOpened, Statement};

use super::scene::{Gatekeeper, Scene};
use crate::harness::sql::{state, text, value, with};
use crate::harness::{eventually, millis};

/// The lock that nobody holds.
pub const FREE: i64 = 0;
/// The lock that those who are sent together wait for before they are sent.
const START: i64 = 2;

/// Bytes of the third parameter of a long statement: so many and more are sent for each.
pub const LONG: usize = 8000;

/// Enters its first parameter once the lock of its second is free.
const ENTER: &str = "insert into ledger select $1::text \
                     from pg_advisory_xact_lock_shared($2::bigint) where $3::text <> ''";

/// A statement that enters this once the lock is free, and has this many bytes besides. Its
/// text is the same each time.
pub fn enter(entry: &str, lock: i64, bytes: usize) -> Statement {
    with(ENTER, &[text(entry), value(Kind::Int(lock)), text(&"x".repeat(bytes))])
}

/// Has requests 1 to 3 of a session enter `name 1` to `name 3`, each once its lock is free.
/// Returns once PostgreSQL waits for the first one's lock, and all of them were sent to it.
pub fn send(
    scene: &Scene,
    gatekeeper: &mut Gatekeeper,
    (session, opened): &mut (Session, SessionOpened),
    name: &str,
    locks: [i64; 3],
) {
    let pid = opened.lease.backend_pid;
    // It is kept prepared from now on.
    execute(session, 0, enter(&format!("before: {name}"), FREE, 1));
    done(session);
    gatekeeper.lock(START);
    session.execute(0, &[&format!("select pg_advisory_xact_lock_shared({START})")]).unwrap();
    gatekeeper.has_waiting_for(pid, START);
    for (n, lock) in (1..).zip(locks) {
        execute(session, n, enter(&format!("{name} {n}"), lock, LONG));
    }
    // Those that wait when the one before them is done are sent together.
    let read = || scene.service.metric("connpool_memory_bytes{use=\"read_ahead\"}");
    eventually("all were read", || read() > Some((locks.len() * LONG) as f64));
    let port = gatekeeper.client_port(pid);
    let since = scene.way.sent_from(port);
    gatekeeper.unlock(START);
    done(session);
    gatekeeper.has_waiting_for(pid, locks[0]);
    eventually("all were sent", || scene.way.sent_from(port) > since + locks.len() * LONG);
    gatekeeper.has_waiting_for(pid, locks[0]);
}

fn execute(session: &mut Session, id: u64, statement: Statement) {
    let (statements, timeout) = (vec![statement], millis(3_600_000));
    let execute = SessionExecute { id, statements, timeout, ..SessionExecute::default() };
    session.send(Ask::Execute(execute)).unwrap();
}

/// Request 0 is done.
#[track_caller]
fn done(session: &mut Session) {
    let said = session.next().expect("an answer").and_then(|response| response.kind);
    let Some(Said::Executed(executed)) = said else { panic!("not an answer: {said:?}") };
    let Some(Outcome::Response(response)) = executed.outcome else { panic!("{executed:?}") };
    assert_eq!((executed.id, state(&response)), (0, TransactionState::TRANSACTION_STATE_NONE));
}
