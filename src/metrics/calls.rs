//! Calls over gRPC, by method and code.

use prometheus::{IntCounter, IntCounterVec};

/// gRPC's codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const UNKNOWN: usize = 2;

/// The counters of one method's calls, one for each gRPC code.
pub struct MethodCalls([IntCounter; 17]);

impl MethodCalls {
    /// Counters at 0. The label is the method's name without the package.
    pub(super) fn new(family: &IntCounterVec, method: &str) -> MethodCalls {
        let method = method.trim_start_matches('/');
        let service = method.split('/').next().unwrap_or_default();
        let package = service.rfind('.').map_or(0, |dot| dot + 1);
        let name = method.get(package..).unwrap_or(method);
        MethodCalls(CODES.map(|code| family.with_label_values(&[code, name])))
    }

    /// Counts a call that ended with the code of this number.
    pub fn ended(&self, code: i32) {
        let code = usize::try_from(code).unwrap_or(UNKNOWN);
        if let Some(counter) = self.0.get(code).or(self.0.get(UNKNOWN)) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn a_method_is_named_without_its_package() {
        let family = IntCounterVec::new(Opts::new("a", "a"), &["code", "method"]).expect("one");
        let calls = MethodCalls::new(&family, "/grpc.health.v1.Health/Check");
        for code in [0, 9, 99, -1] {
            calls.ended(code);
        }
        let value = |code| family.with_label_values(&[code, "Health/Check"]).get();
        assert_eq!((value("OK"), value("FAILED_PRECONDITION"), value("UNKNOWN")), (1, 1, 2));
        assert_eq!(value("ABORTED"), 0);
    }
}
