//! Counts calls in the metrics, by method and code.

use std::sync::Arc;

use grpcio::{Deadline, RpcContext, RpcStatusCode};

use crate::error::RequestError;
use crate::metrics::{MethodCalls, Metrics};

/// Counts its call when it is dropped.
pub(super) struct CallMetrics {
    metrics: Metrics,
    /// `None`: the method is not registered in the metrics.
    calls: Option<Arc<MethodCalls>>,
    deadline: Deadline,
    /// `None`: the service did not end the call.
    code: Option<RpcStatusCode>,
}

impl CallMetrics {
    pub(super) fn new(metrics: &Metrics, ctx: &RpcContext<'_>) -> CallMetrics {
        let calls = metrics.calls(ctx.method());
        CallMetrics { metrics: metrics.clone(), calls, deadline: ctx.deadline(), code: None }
    }

    /// Sets the code with which the service ends the call.
    pub(super) fn set_code(&mut self, code: RpcStatusCode) {
        self.code = Some(code);
    }

    /// Counts a failed request by its reason.
    pub(super) fn failed(&self, error: &RequestError) {
        self.metrics.request_failed(error.as_str());
    }
}

impl Drop for CallMetrics {
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
