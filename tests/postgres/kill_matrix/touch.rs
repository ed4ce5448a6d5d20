//! The next touch of each lease, and what its caller hears.

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::connection_pool::ReleaseOutcome;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::session_executed::Outcome as Streamed;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use super::cause::Cause;
use super::scene::{Gatekeeper, Leases};
use crate::harness::sql::on_lease;
use crate::harness::{answer, execute_later, millis, Held, Later};

/// What the caller of a lease hears.
pub type Heard = Result<(), Failure>;

/// A call that failed, and how the lease ended with it; empty: there was none.
pub struct Failure {
    pub error: CallError,
    pub end: String,
}

impl Failure {
    /// gRPC's code, the reason, what became of the work, and how the lease ended.
    pub fn in_short(&self) -> (i32, &str, Option<Outcome>, &str) {
        let work = self.error.work.as_ref().map(|work| work.outcome.enum_value().unwrap());
        (self.error.code, &self.error.reason, work, &self.end)
    }
}

/// What all callers have heard.
pub struct Touched {
    pub idle: Heard,
    pub busy: Heard,
    pub transaction: Heard,
    pub delivering: Heard,
    pub pipelined: Heard,
    pub connecting: Heard,
    /// Has let go, unless some are frozen: they would go on when they thaw.
    pub gatekeeper: Gatekeeper,
}

impl Leases {
    /// Touches every lease, and gives those back that go on.
    pub fn touch(self, cause: Cause) -> Touched {
        let Leases { mut gatekeeper, idle, busy, transaction, .. } = self;
        let (mut delivering, mut pipelined) = (self.delivering.0, self.pipelined.0);
        drop(self.hold);
        let frozen = cause == Cause::Frozen;
        if !frozen {
            gatekeeper.let_go();
        }
        // Nothing else ends a call on a backend that stands still.
        let timeout = millis(if frozen { 1000 } else { 3_600_000 });
        let call = |lease: &Held, sql: &[&str]| {
            let request = ExecuteRequest { timeout: timeout.clone(), ..on_lease(lease, sql) };
            execute_later(&lease.client, &request)
        };
        let idles = call(&idle, &["insert into ledger values ('idle')"]);
        let commits = call(&transaction, &["insert into ledger values ('more')", "commit"]);
        if frozen {
            busy.0.client.release_with(&busy.0.id, true).expect("it is being cancelled");
            delivering.cancel(1).unwrap();
            pipelined.cancel(1).unwrap();
        }
        Touched {
            idle: unary(&idle, idles),
            busy: unary(&busy.0, busy.1),
            transaction: unary(&transaction, commits),
            delivering: streamed(&mut delivering, 1, |rows| assert_eq!(rows, 4)),
            pipelined: streamed(&mut pipelined, 3, |rows| assert_eq!(rows, 0)),
            connecting: match answer(self.connecting) {
                Ok(granted) => {
                    let (client, id) = (self.resetting.client, granted.connection_id);
                    let pid = granted.lease.backend_pid;
                    let lease = Held { client, id, pid };
                    lease.run(&["select 1"]);
                    lease.release();
                    Ok(())
                }
                Err(error) => Err(Failure { error, end: String::new() }),
            },
            gatekeeper,
        }
    }
}

/// What came of the call on a lease, which either has ended or works.
pub fn unary(lease: &Held, call: Later<ExecuteResponse>) -> Heard {
    match answer(call) {
        Ok(_) => {
            let same = lease.value("select pg_backend_pid()");
            assert_eq!(same, lease.pid.to_string());
            lease.release();
            Ok(())
        }
        Err(error) => Err(Failure { error, end: lease.end_reason() }),
    }
}

/// What came of the requests on a stream: all are done and it is closed well, or
/// the first has failed and the end of the lease is all that follows.
fn streamed(session: &mut Session, requests: usize, check: impl Fn(usize)) -> Heard {
    let mut heard = each(session, requests, check).into_iter();
    let first = heard.next().expect("a request");
    for behind in heard {
        let unsaid = behind.err().map(|failure| failure.error.reason);
        assert_eq!(unsaid, first.as_ref().err().map(|_| "LEASE_ENDED".to_owned()));
    }
    first
}

/// What came of each of the requests on a stream, which number from 1: all are done and it
/// is closed well, or it has failed with the end of the lease, which is then said of those
/// that were not answered too.
pub fn each(session: &mut Session, requests: usize, check: impl Fn(usize)) -> Vec<Heard> {
    let mut heard = Vec::new();
    let ended = loop {
        let said = match session.next() {
            Ok(said) => said.and_then(|response| response.kind),
            Err(ended) => break ended,
        };
        let Some(Said::Executed(executed)) = said else { panic!("not an answer: {said:?}") };
        assert_eq!(executed.id, heard.len() as u64 + 1);
        match executed.outcome.expect("an outcome") {
            Streamed::Response(response) => {
                check(response.results[0].rows.len());
                heard.push(Ok(()));
            }
            Streamed::Error(status) => {
                heard.push(Err(Failure { error: status.into(), end: String::new() }));
            }
            other => panic!("{other:?}"),
        }
        if heard.len() == requests && heard.iter().all(Result::is_ok) {
            close(session);
            return heard;
        }
    };
    assert_eq!(ended.reason, "LEASE_ENDED", "{ended}");
    let end = ended.info.as_ref().expect("an ErrorInfo").metadata["end_reason"].clone();
    assert!(ended.work.is_none(), "{ended}");
    let unsaid = || CallError {
        code: ended.code,
        message: ended.message.clone(),
        reason: ended.reason.clone(),
        info: None,
        work: None,
        postgres: None,
    };
    assert!(heard.len() <= requests, "answered more than once");
    heard.resize_with(requests, || Err(Failure { error: unsaid(), end: String::new() }));
    for failure in heard.iter_mut().filter_map(|heard| heard.as_mut().err()) {
        failure.end.clone_from(&end);
    }
    heard
}

fn close(session: &mut Session) {
    session.close().unwrap();
    let said = session.next().expect("an answer").and_then(|response| response.kind);
    let Some(Said::Closed(closed)) = said else { panic!("not closed: {said:?}") };
    assert_eq!(closed.outcome.unwrap(), ReleaseOutcome::RELEASE_OUTCOME_RELEASED);
}
