//! Classifies the failures of an attempt to open a backend.

use std::error::Error;
use std::io;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode};

use crate::backend::refusal::{Refusal, UNAVAILABLE};
use crate::backend::resource_exhaustion::exhaustion;
use crate::backend::sqlstate;
use crate::backend::stream::socket::Unresponsive;
use crate::backend::stream::watch::Watch;
use crate::error::{ConnectError, PgFault};

/// The error for a socket that could not be connected.
pub(super) fn dial_error(error: &io::Error, target: String, limit: Duration) -> ConnectError {
    if let Some(exhausted) = exhaustion(error) {
        return exhausted;
    }
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectError::TimedOut { target, step: "TCP connect", limit },
        _ => ConnectError::Unreachable { target, why: error.to_string() },
    }
}

/// The error for a login that PostgreSQL refused.
pub(super) fn refused(fault: PgFault) -> ConnectError {
    match sqlstate::is_busy(&fault.sqlstate) {
        true => ConnectError::Busy(Box::new(fault)),
        false => ConnectError::Rejected(Box::new(fault)),
    }
}

/// The error for a session that was lost before it was used.
pub(super) fn lost(watch: &Watch, target: String, limit: Duration) -> ConnectError {
    match watch.is_aborted() {
        true => ConnectError::TimedOut { target, step: HANDSHAKE, limit },
        false => ConnectError::Unreachable { target, why: HUNG_UP.to_owned() },
    }
}

/// The error for a failed login, from the driver's error and the stream's state.
pub(super) fn login_error(
    error: &postgres::Error,
    fault: Option<PgFault>,
    watch: &Watch,
    target: String,
    limit: Duration,
) -> ConnectError {
    if let Some(fault) = fault.filter(|_| error.as_db_error().is_some()) {
        return refused(fault);
    }
    let timed_out = |step| ConnectError::TimedOut { target: target.clone(), step, limit };
    if watch.is_aborted() {
        return timed_out(HANDSHAKE);
    }
    let unreachable =
        |why: &str| ConnectError::Unreachable { target: target.clone(), why: why.to_owned() };
    let causes = causes(error);
    if let Some(refusal) = find::<Refusal>(&causes) {
        return match refusal {
            Refusal::Mismatch(why) => ConnectError::Settings(format!("{target}: {why}")),
            Refusal::Untrusted(why) => ConnectError::Untrusted { target, why: why.clone() },
            Refusal::Unavailable => unreachable(UNAVAILABLE),
        };
    }
    if find::<Unresponsive>(&causes).is_some() {
        return timed_out(HANDSHAKE);
    }
    if let Some(tls) = find::<ssl::Error>(&causes) {
        if is_hang_up(tls) {
            return unreachable(HUNG_UP);
        }
        if let Some(stack) = tls.ssl_error() {
            return ConnectError::Settings(format!("{target}: TLS: {}", reasons(stack)));
        }
    }
    let io = find::<io::Error>(&causes);
    if let Some(exhausted) = io.and_then(exhaustion) {
        return exhausted;
    }
    let why = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => unreachable(HUNG_UP),
        Some(_) => unreachable(&why),
        None if error.is_closed() => unreachable(HUNG_UP),
        None => ConnectError::Settings(format!("{target}: {why}")),
    }
}

const HANDSHAKE: &str = "TLS and authentication";
const HUNG_UP: &str = "the server closed the connection";

/// The causes of an error, outermost first. `io::Error::source` skips the error that it
/// wraps.
fn causes(error: &postgres::Error) -> Vec<&(dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    causes
}

fn find<'a, T: Error + 'static>(causes: &[&'a (dyn Error + 'static)]) -> Option<&'a T> {
    causes.iter().find_map(|cause| cause.downcast_ref())
}

/// True if the server closed the connection during the handshake. That is no mismatch of
/// settings: the server may be stopping.
fn is_hang_up(error: &ssl::Error) -> bool {
    // SYSCALL without a system error is the end of the stream; some versions of OpenSSL
    // report it as an error of its own.
    matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN)
        || error.to_string().contains("unexpected eof")
}

/// OpenSSL's reasons without the places in its source.
fn reasons(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack.errors().iter().filter_map(|error| error.reason()).collect();
    match reasons.is_empty() {
        true => "the handshake failed".to_owned(),
        false => reasons.join(", "),
    }
}
