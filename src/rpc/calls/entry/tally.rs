//! How a call has ended, for the metrics.

use std::sync::Arc;

use grpcio::{Deadline, RpcContext, RpcStatusCode};

use crate::error::Error;
use crate::metrics::{Calls, Metrics};

/// Counts its call once it is dropped.
pub(super) struct Tally {
    metrics: Metrics,
    /// None: nobody has said that such a method is served.
    calls: Option<Arc<Calls>>,
    deadline: Deadline,
    /// None: the call was not ended by us.
    code: Option<RpcStatusCode>,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics, ctx: &RpcContext<'_>) -> Tally {
        let calls = metrics.calls(ctx.method());
        Tally { metrics: metrics.clone(), calls, deadline: ctx.deadline(), code: None }
    }

    /// We end the call with this code.
    pub(super) fn ends(&mut self, code: RpcStatusCode) {
        self.code = Some(code);
    }

    /// For this reason.
    pub(super) fn failed(&self, error: &Error) {
        self.metrics.request_failed(error.as_str());
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let left = || match (std::thread::panicking(), self.deadline.exceeded()) {
            (true, _) => RpcStatusCode::INTERNAL,
            (false, true) => RpcStatusCode::DEADLINE_EXCEEDED,
            (false, false) => RpcStatusCode::CANCELLED,
        };
        let code = self.code.unwrap_or_else(left);
        if let Some(calls) = &self.calls {
            calls.ended(code.into());
        }
    }
}
