//! Counters that are kept outside `Metrics`, where no `Metrics` is at hand.

use prometheus::{IntCounterVec, Opts};

use crate::logging;
use crate::logging::grpc_core::{self, HandshakeFailure};
use crate::pool::memory::{LimitLevel, Use};
use crate::pool::service::Service;

/// All of them, with their present values.
pub(super) fn counters(service: &Service) -> Vec<IntCounterVec> {
    let all = [refusals(service), lines_lost(), failed_handshakes()];
    all.into_iter().flatten().collect()
}

/// Never `None`: names and labels are constants.
fn counter(name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels).ok()
}

fn refusals(service: &Service) -> Option<IntCounterVec> {
    let help = "Requests for memory that were refused, by the limit that was reached and by use.";
    let refusals = counter("connpool_memory_refusals_total", help, &["level", "use"])?;
    let memory = &service.context().memory;
    for (one, level) in Use::ALL.iter().flat_map(|one| LimitLevel::ALL.map(|level| (*one, level))) {
        let count = refusals.with_label_values(&[level.as_str(), one.as_str()]);
        count.inc_by(memory.refused(one, level));
    }
    Some(refusals)
}

/// Lines that the log has dropped. The log starts before any `Metrics` exists.
fn lines_lost() -> Option<IntCounterVec> {
    let help = "Log lines that were not written, by reason.";
    let lost = counter("connpool_log_lines_lost_total", help, &["reason"])?;
    lost.with_label_values(&["queue_full"]).inc_by(logging::dropped());
    lost.with_label_values(&["repeated"]).inc_by(logging::left_out());
    Some(lost)
}

/// Failed TLS handshakes of clients, which gRPC reports only in its log.
fn failed_handshakes() -> Option<IntCounterVec> {
    let help = "TLS handshakes of clients that failed, by reason.";
    let failed = counter("connpool_tls_handshake_failures_total", help, &["reason"])?;
    for reason in HandshakeFailure::ALL {
        let count = grpc_core::failed_handshakes(reason);
        failed.with_label_values(&[reason.as_str()]).inc_by(count);
    }
    Some(failed)
}
