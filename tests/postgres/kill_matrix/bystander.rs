//! Another customer of the same service, who must not notice anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{text_at, CallError};
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender};

use super::busy::any_gave_way;
use crate::harness::sql::one_shot;
use crate::harness::{eventually, request, Held, Service, Tenant};

/// Works all the time: on a lease, by one-shots and on a stream.
pub struct Bystander {
    tenant: String,
    stop: Sender<()>,
    rounds: Arc<AtomicU64>,
    working: JoinHandle<Vec<String>>,
}

/// What it needs before and after.
pub const CONNECTIONS: usize = 3;

impl Bystander {
    /// Starts to work as this tenant, which must have `CONNECTIONS` at most: then
    /// it opens none while others are in trouble.
    pub fn start(service: &Service, tenant: Tenant) -> Bystander {
        let (stop, stopped) = bounded(0);
        let rounds = Arc::<AtomicU64>::default();
        let lease = service.lease(&tenant);
        let (stream, _) = service.client().open_session(request(&tenant)).expect("a session");
        let at_work = Work {
            lease,
            stream,
            once: one_shot(&tenant, &["select 3"]),
            rounds: Arc::clone(&rounds),
            errors: Vec::new(),
        };
        #[allow(clippy::disallowed_methods)] // A test's own, joined in `end`.
        let working = std::thread::spawn(move || at_work.until(&stopped));
        let bystander = Bystander { tenant: tenant.name, stop, rounds, working };
        bystander.works();
        bystander
    }

    /// Waits until it has done more work than it had when this was called.
    pub fn works(&self) {
        let rounds = || self.rounds.load(Ordering::Acquire);
        let enough = rounds() + 10;
        eventually("the bystander goes on", || rounds() >= enough || self.working.is_finished());
        assert!(!self.working.is_finished(), "the bystander has stopped");
    }

    /// Ends its work, of which nothing may have failed.
    pub fn end(self, service: &Service) {
        drop(self.stop);
        let errors = self.working.join().expect("the bystander did not panic");
        assert!(errors.is_empty(), "{} errors, first {:#?}", errors.len(), errors.first());
        let total = service.wait_quiet(&self.tenant).total_connections;
        // Where PostgreSQL was full, one that is idle may have given way.
        let gave_way = any_gave_way(service, &self.tenant);
        assert!(total == CONNECTIONS as i32 || gave_way, "{total} connections");
    }
}

struct Work {
    lease: Held,
    stream: Session,
    once: ExecuteRequest,
    rounds: Arc<AtomicU64>,
    errors: Vec<String>,
}

impl Work {
    fn until(mut self, stopped: &Receiver<()>) -> Vec<String> {
        // The pause leaves the processor to those in trouble.
        while stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
            let leased = self.lease.client.run(&self.lease.id, &["select 1", "select 2"]);
            self.note("lease", leased, &["1", "2"]);
            let once = self.lease.client.execute(&self.once);
            self.note("one-shot", once, &["3"]);
            let streamed = self.stream();
            self.note("stream", streamed, &["4"]);
            self.rounds.fetch_add(1, Ordering::AcqRel);
        }
        let released = self.lease.client.release(&self.lease.id);
        self.errors.extend(released.err().map(|error| format!("release: {error}")));
        self.errors
    }

    fn note(&mut self, where_: &str, answer: Result<ExecuteResponse, CallError>, wanted: &[&str]) {
        match answer {
            Ok(answer) => {
                let got: Vec<_> = (0..wanted.len()).map(|n| text_at(&answer, n, 0, 0)).collect();
                if got != wanted {
                    self.errors.push(format!("{where_}: {got:?} instead of {wanted:?}"));
                }
            }
            Err(error) => self.errors.push(format!("{where_}: {error}")),
        }
    }

    /// Sends two requests at once and returns the second answer.
    fn stream(&mut self) -> Result<ExecuteResponse, CallError> {
        self.stream.execute(1, &["select 0"])?;
        self.stream.execute(2, &["select 4"])?;
        let mut last = None;
        for id in [1, 2] {
            let said = self.stream.next()?.and_then(|response| response.kind);
            let Some(Said::Executed(executed)) = said else { panic!("not an answer: {said:?}") };
            assert_eq!(executed.id, id);
            match executed.outcome.expect("an outcome") {
                Outcome::Response(response) => last = Some(response),
                Outcome::Error(status) => return Err(status.into()),
                other => panic!("{other:?}"),
            }
        }
        Ok(last.expect("two answers"))
    }
}
