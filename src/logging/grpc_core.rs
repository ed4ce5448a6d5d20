//! Turns log lines of gRPC's C core into events.
//!
//! By itself it writes lines in a form of its own, at level ERROR, as many as any client causes,
//! and never says whose handshake failed. The reason of a failed handshake and, if the connection
//! broke, the peer are in a line at DEBUG. So the C core is always set to DEBUG, and most of its
//! lines are dropped here.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter};

use crate::core::quoted::Quoted;
use crate::core::repeats::Repeated;
use crate::logging::admits_state_of_all;

/// The variable that sets how much gRPC logs.
const VARIABLE: &str = "GRPC_VERBOSITY";

/// The target of the events.
pub const TARGET: &str = "connection_pool_manager::rpc";

/// Sources whose lines below errors can hold what clients send, when `GRPC_TRACE` asks for
/// them: they are never written.
const SHOW_DATA: [&str; 3] = ["tcp_posix.cc", "secure_endpoint.cc", "posix_endpoint.cc"];

/// Errors that are reported elsewhere: by the handshake's event, and by a failed start.
const REPORTED_ELSEWHERE: [&str; 2] =
    ["Handshake failed with fatal error", "No address added out of total"];

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// OpenSSL refused: not TLS at all, no version or cipher in common, or the client does not
    /// trust our certificate.
    Tls,
    /// The client did not offer HTTP/2.
    Alpn,
    /// The client disconnected, as a load balancer does that only checks whether the port is open.
    Closed,
    /// The handshake took too long.
    TimedOut,
    /// Anything else, such as a stop of the service.
    Other,
}

static FAILURES: [AtomicU64; HandshakeFailure::ALL.len()] =
    [const { AtomicU64::new(0) }; HandshakeFailure::ALL.len()];

impl HandshakeFailure {
    /// All of them, in the order of their declaration.
    pub const ALL: [HandshakeFailure; 5] = [
        HandshakeFailure::Tls,
        HandshakeFailure::Alpn,
        HandshakeFailure::Closed,
        HandshakeFailure::TimedOut,
        HandshakeFailure::Other,
    ];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            HandshakeFailure::Tls => "tls",
            HandshakeFailure::Alpn => "alpn",
            HandshakeFailure::Closed => "closed",
            HandshakeFailure::TimedOut => "timed_out",
            HandshakeFailure::Other => "other",
        }
    }

    /// A check of whether the port is open deserves no warning.
    fn level(self) -> Level {
        match self {
            HandshakeFailure::Tls | HandshakeFailure::Alpn | HandshakeFailure::TimedOut => {
                Level::Warn
            }
            HandshakeFailure::Closed | HandshakeFailure::Other => Level::Debug,
        }
    }
}

/// Handshakes of this process that failed so far.
pub fn failed_handshakes(reason: HandshakeFailure) -> u64 {
    FAILURES[reason as usize].load(Ordering::Relaxed)
}

/// How many of the C core's own lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verbosity(LevelFilter);

impl Verbosity {
    /// The value of `GRPC_VERBOSITY`, by gRPC's rules; without it, errors only.
    pub fn of_environment() -> Verbosity {
        let wanted = env::var(VARIABLE).unwrap_or_default().to_ascii_uppercase();
        Verbosity(match wanted.as_str() {
            "DEBUG" => LevelFilter::Debug,
            "INFO" => LevelFilter::Info,
            "NONE" => LevelFilter::Off,
            _ => LevelFilter::Error,
        })
    }

    /// The event for a line of the C core, with its level; `None` if it must not be written. Counts
    /// failed handshakes.
    pub fn event(self, level: Level, file: &'static str, text: &str) -> Option<(Level, String)> {
        if let Some(failure) = FailedHandshake::read(text) {
            FAILURES[failure.reason as usize].fetch_add(1, Ordering::Relaxed);
            let level = failure.reason.level();
            // A line below the filter is not counted as left out.
            if level == Level::Debug && !log::log_enabled!(target: TARGET, level) {
                return None;
            }
            let repeated = admits_state_of_all("tls_handshake_failed", failure.reason.as_str())?;
            return Some((level, failure.event(repeated)));
        }
        let file = file.rsplit('/').next().unwrap_or(file);
        if level > self.0 || (level > Level::Error && SHOW_DATA.contains(&file)) {
            return None;
        }
        let message = Quoted(text.trim_end());
        if level > Level::Error {
            // The operator has asked for all lines.
            let level = level.as_str().to_ascii_lowercase();
            let line = format!("event=grpc_core level={level} source={file} message={message}");
            return Some((Level::Info, line));
        }
        if REPORTED_ELSEWHERE.iter().any(|known| text.contains(known)) {
            return None;
        }
        let repeated = admits_state_of_all("grpc_core", file)?;
        let line = format!("event=grpc_core level=error source={file} message={message}{repeated}");
        Some((Level::Warn, line))
    }
}

/// A failed handshake of a client.
#[derive(Debug, PartialEq, Eq)]
struct FailedHandshake<'a> {
    reason: HandshakeFailure,
    /// gRPC reports it only if the connection broke.
    peer: Option<&'a str>,
    why: &'a str,
}

impl FailedHandshake<'_> {
    fn read(text: &str) -> Option<FailedHandshake<'_>> {
        let error = text.strip_prefix("Handshaking failed: ")?;
        let reason = if error.contains("Handshake timed out") {
            HandshakeFailure::TimedOut
        } else if error.contains("Ssl handshake failed") {
            HandshakeFailure::Tls
        } else if error.contains("ALPN") {
            HandshakeFailure::Alpn
        } else if error.contains("Handshake read failed") || error.contains("write failed") {
            HandshakeFailure::Closed
        } else {
            HandshakeFailure::Other
        };
        let address = error.split_once("target_address:\"").map(|(_, rest)| rest);
        let peer = address.and_then(|rest| rest.split('"').next());
        // The innermost error is the cause; each is `CODE:words {fields}`.
        let cause = error.rsplit("children:[").next().unwrap_or(error);
        let words = cause.split(" {").next().unwrap_or(cause);
        let why = words.split_once(':').map_or(words, |(_, words)| words);
        Some(FailedHandshake { reason, peer, why })
    }

    fn event(&self, repeated: Repeated) -> String {
        let (reason, why) = (self.reason.as_str(), Quoted(self.why));
        let peer = self.peer.map_or_else(String::new, |peer| format!(" peer={peer}"));
        format!("event=tls_handshake_failed reason={reason}{peer} error={why}{repeated}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (HandshakeFailure, Option<&str>, &str) {
        let failure = FailedHandshake::read(text).expect("it is a failed handshake");
        (failure.reason, failure.peer, failure.why)
    }

    #[test]
    fn a_failed_handshake_is_read_from_grpcs_own_message() {
        assert_eq!(
            read(
                "Handshaking failed: UNKNOWN:Ssl handshake failed: SSL_ERROR_SSL: \
                 error:0A00009C:SSL routines::http request {tsi_code:10, \
                 tsi_error:\"TSI_PROTOCOL_FAILURE\", created_time:\"2026-11-28T00:41:35+00:00\"}"
            ),
            (
                HandshakeFailure::Tls,
                None,
                "Ssl handshake failed: SSL_ERROR_SSL: error:0A00009C:SSL routines::http request"
            )
        );
        assert_eq!(
            read(
                "Handshaking failed: UNKNOWN:Handshake read failed {created_time:\"x\", \
                 children:[INTERNAL:Socket closed {target_address:\"ipv4:127.0.0.1:34562\", \
                 grpc_status:14, fd:19}]}"
            ),
            (HandshakeFailure::Closed, Some("ipv4:127.0.0.1:34562"), "Socket closed")
        );
        assert_eq!(
            read(
                "Handshaking failed: UNKNOWN:Handshake read failed {created_time:\"x\", \
                 children:[UNKNOWN:FD Shutdown {created_time:\"x\", \
                 children:[UNKNOWN:Handshake timed out {created_time:\"x\"}]}]}"
            ),
            (HandshakeFailure::TimedOut, None, "Handshake timed out")
        );
        assert_eq!(
            read(
                "Handshaking failed: UNKNOWN:Cannot check peer: missing selected ALPN property. \
                 {created_time:\"x\"}"
            ),
            (HandshakeFailure::Alpn, None, "Cannot check peer: missing selected ALPN property.")
        );
        assert_eq!(read("Handshaking failed: x"), (HandshakeFailure::Other, None, "x"));
        assert_eq!(FailedHandshake::read("Security handshake failed: x"), None);
    }

    #[test]
    fn below_errors_the_c_core_is_silent_unless_it_is_asked() {
        let event = |filter, level, file, text: &str| Verbosity(filter).event(level, file, text);
        let (quiet, loud) = (LevelFilter::Error, LevelFilter::Debug);
        let (info, line) = event(loud, Level::Debug, "a/b.cc", "x\n").expect("it was asked for");
        let wanted = "event=grpc_core level=debug source=b.cc message=\"x\"";
        assert_eq!((info, line.as_str()), (Level::Info, wanted));
        assert_eq!(event(quiet, Level::Debug, "a/b.cc", "x"), None);
        assert_eq!(event(quiet, Level::Info, "a/b.cc", "x"), None);
        let (warn, line) = event(quiet, Level::Error, "a/one.cc", "x").expect("an error");
        let wanted = "event=grpc_core level=error source=one.cc message=\"x\"";
        assert_eq!((warn, line.as_str()), (Level::Warn, wanted));
        assert_eq!(event(LevelFilter::Off, Level::Error, "a/two.cc", "x"), None);
        // What clients send is never written, whatever the log level.
        assert_eq!(event(loud, Level::Info, "a/tcp_posix.cc", "DATA: secret"), None);
    }

    #[test]
    fn failed_handshakes_are_counted_even_if_they_are_not_logged() {
        let before = failed_handshakes(HandshakeFailure::TimedOut);
        let text = "Handshaking failed: UNKNOWN:Handshake timed out {}";
        let logged = (0..20).filter_map(|_| {
            Verbosity(LevelFilter::Off).event(Level::Debug, "chttp2_server.cc", text)
        });
        assert_eq!(logged.count(), 1);
        assert_eq!(failed_handshakes(HandshakeFailure::TimedOut) - before, 20);
        // Nobody reads DEBUG here, so it is not left out either.
        let text = "Handshaking failed: UNKNOWN:something new {}";
        let event = || Verbosity(LevelFilter::Off).event(Level::Debug, "chttp2_server.cc", text);
        assert!((0..20).all(|_| event().is_none()));
        assert_eq!(failed_handshakes(HandshakeFailure::Other), 20);
    }
}
