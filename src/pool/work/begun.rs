//! What of a request is sent before a worker waits for it.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::backend::session::{Backend, RunError};
use crate::backend::statement::Coming;
use crate::error::CancelCause;
use crate::pool::checkout::Checkout;
use crate::pool::work::operation::Operation;
use crate::pool::work::progress::{Progress, SendPlan};
use crate::pool::work::task::{Flow, Request, Task};

/// A request that has a backend, and may have been sent there.
pub(in crate::pool) struct Begun {
    /// False: it was cancelled before.
    bound: bool,
    /// All of it was sent, except perhaps its COMMIT.
    sent: bool,
    progress: Progress,
    /// Why it goes no further.
    failed: Option<RunError>,
}

/// How a request goes on once the answers to all that was sent have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum AfterAnswers {
    /// The rest was sent: its answer is awaited.
    Awaits,
    /// It ends without a wait.
    Ends,
    /// It may have to wait.
    Blocks,
}

impl Begun {
    fn unsent(bound: bool) -> Begun {
        Begun { bound, sent: false, progress: Progress::default(), failed: None }
    }

    /// True if its answer can be awaited.
    pub(in crate::pool) fn is_sent(&self) -> bool {
        self.sent
    }

    /// The answers to all that was sent have come. Of an atomic call they are read, and the COMMIT
    /// is sent if it was held back. Does not block.
    pub(in crate::pool) fn advance(
        &mut self,
        checkout: &mut Checkout,
        operation: &Arc<Operation>,
        work: &mut Task,
        ends: bool,
    ) -> AfterAnswers {
        if !self.progress.holds_commit_back() {
            return AfterAnswers::Ends;
        }
        let ends = ends && checkout.backends.resets();
        let (backend, request) = (&mut *checkout.taken.backend, &work.request);
        let plan = SendPlan { ends, ahead: true, together: true };
        let ran = self.progress.until_commit(backend, operation, request, &mut work.flow, plan);
        self.failed = ran.err();
        let commits = self.failed.is_none()
            && self.progress.begins_commit(backend, operation, request.timeout, ends);
        match commits {
            true => AfterAnswers::Awaits,
            false => AfterAnswers::Blocks,
        }
    }

    /// Runs what is left of it, as far as it goes.
    pub(super) fn go_on(
        self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        request: &Request,
        flow: &mut Flow,
        ends: bool,
    ) -> (Result<(), RunError>, Progress) {
        let Begun { bound, mut progress, failed, .. } = self;
        let outcome = match (bound, failed) {
            (false, _) => Err(RunError::Interrupted),
            (true, Some(error)) => Err(error),
            (true, None) => {
                let plan = SendPlan { ends, ahead: true, together: true };
                progress.statements(backend, operation, request, flow, plan)
            }
        };
        (outcome, progress)
    }
}

/// Binds a request to its backend, and sends it if that needs no wait: PostgreSQL works on it
/// while a worker is being woken. `ends` tells that the backend is given back after it. Does
/// not block.
pub(in crate::pool) fn begin(
    checkout: &mut Checkout,
    operation: &Arc<Operation>,
    work: &Task,
    ends: bool,
) -> Begun {
    let Request { statements, atomic, timeout, max_rows, max_bytes } = &work.request;
    let (atomic, timeout, max_rows, max_bytes) = (*atomic, *timeout, *max_rows, *max_bytes);
    let ends = ends && checkout.backends.resets();
    let backend = &mut *checkout.taken.backend;
    backend.take_notices();
    let mut bound = operation.bind(backend.watch(), backend.canceller());
    cancel_in_a_flood(backend, operation);
    if !bound && backend.has_sent(statements) {
        // It was sent before it was cancelled: now it is its turn.
        operation.cancel_again();
        bound = true;
    }
    if !bound || !atomic && statements.len() != 1 || work.flow.is_streamed() {
        return Begun::unsent(bound);
    }
    let (together, followers) = (atomic, &work.behind.followers);
    let coming =
        Coming { statements, atomic, max_rows, max_bytes, ends, timeout, together, followers };
    // It begins before PostgreSQL does, which may answer before this thread goes on.
    let clock = match atomic {
        true => operation.timeout_together(timeout),
        false => operation.timeout(timeout),
    };
    let sent = backend.begin(coming);
    work.behind.sent.store(backend.in_flight().saturating_sub(1), Ordering::Relaxed);
    if !sent {
        return Begun::unsent(bound);
    }
    let progress = match atomic {
        true => Progress::together(clock, backend.has_committed_ahead()),
        false => Progress::lone(clock),
    };
    Begun { bound, sent, progress, failed: None }
}

/// More notices than are kept cancel the operation.
pub(super) fn cancel_in_a_flood(backend: &dyn Backend, operation: &Arc<Operation>) {
    let flooded = Arc::downgrade(operation);
    backend.watch().on_flood(move || {
        if let Some(operation) = flooded.upgrade() {
            operation.cancel(CancelCause::Notices);
        }
    });
}
