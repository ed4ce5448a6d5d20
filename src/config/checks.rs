//! How the service checks that it can be reached.

use std::time::Duration;

/// How the service calls itself over its own port, as a client would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    /// How often; zero: never.
    pub interval: Duration,
    /// A slower answer counts as none.
    pub timeout: Duration,
    /// Failures in a row before gRPC counts as unreachable.
    pub failures: u32,
}

impl Default for SelfCheck {
    fn default() -> SelfCheck {
        SelfCheck {
            // A load balancer that checks every few seconds sees the result in its next round, and
            // a handshake every 5 s costs nothing.
            interval: Duration::from_secs(5),
            // A client would have given up too.
            timeout: Duration::from_secs(5),
            // One may be temporary.
            failures: 2,
        }
    }
}
