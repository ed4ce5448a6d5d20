//! How a call fails.

use std::fmt::{self, Write};
use std::time::Duration;

use grpcio::RpcStatus;
use protobuf::{Message, MessageFull};

use super::error::PoolError;
use crate::proto::error_details::RetryInfo;
use crate::proto::status::Status;

/// Why a call failed: in the pool, or on its way.
#[derive(Clone, Debug)]
pub enum Error {
    /// There was no connection, or a rule of the options is wrong; nothing was sent.
    Pool(PoolError),
    /// The call.
    Rpc(Box<RpcError>),
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// gRPC's code.
    pub code: Code,
    /// The server's text, or gRPC's.
    pub message: String,
    /// Whether it may have reached the server.
    pub delivery: Delivery,
    /// The service, as it was added.
    pub service: String,
    /// The method.
    pub method: String,
    /// The address, if there was a connection.
    pub address: Option<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// How long they took, pauses included.
    pub elapsed: Duration,
    /// An encoded `google.rpc.Status`, or nothing.
    pub details: Vec<u8>,
    /// What gRPC's C core tells of it for those who look for a fault.
    pub cause: Option<Cause>,
}

/// Words of gRPC's C core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Whether a call may have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never left: it may be repeated, whatever it does.
    NotSent,
    /// Nobody knows.
    Unknown,
}

macro_rules! codes {
    ($($code:ident = $number:literal, $text:literal, $go:literal;)+) => {
        /// gRPC's codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $text] $code,)+
            /// None of gRPC's, as it has come.
            Other(i32),
        }

        impl Code {
            /// The code of a number.
            pub fn of(number: i32) -> Code {
                match number {
                    $($number => Code::$code,)+
                    other => Code::Other(other),
                }
            }

            /// Its number.
            pub fn number(self) -> i32 {
                match self {
                    $(Code::$code => $number,)+
                    Code::Other(number) => number,
                }
            }

            /// Its name in gRPC's documents.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$code => $text,)+
                    Code::Other(_) => "OTHER",
                }
            }

            /// Its name in Go, which metrics of clients have everywhere.
            pub fn go_name(self) -> &'static str {
                match self {
                    $(Code::$code => $go,)+
                    Code::Other(_) => "Other",
                }
            }
        }
    };
}

codes! {
    Ok = 0, "OK", "OK";
    Cancelled = 1, "CANCELLED", "Canceled";
    Unknown = 2, "UNKNOWN", "Unknown";
    InvalidArgument = 3, "INVALID_ARGUMENT", "InvalidArgument";
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED", "DeadlineExceeded";
    NotFound = 5, "NOT_FOUND", "NotFound";
    AlreadyExists = 6, "ALREADY_EXISTS", "AlreadyExists";
    PermissionDenied = 7, "PERMISSION_DENIED", "PermissionDenied";
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED", "ResourceExhausted";
    FailedPrecondition = 9, "FAILED_PRECONDITION", "FailedPrecondition";
    Aborted = 10, "ABORTED", "Aborted";
    OutOfRange = 11, "OUT_OF_RANGE", "OutOfRange";
    Unimplemented = 12, "UNIMPLEMENTED", "Unimplemented";
    Internal = 13, "INTERNAL", "Internal";
    Unavailable = 14, "UNAVAILABLE", "Unavailable";
    DataLoss = 15, "DATA_LOSS", "DataLoss";
    Unauthenticated = 16, "UNAUTHENTICATED", "Unauthenticated";
}

impl RpcError {
    /// A part of the details, if the server sent it.
    pub fn detail<M: MessageFull>(&self) -> Option<M> {
        let status = Status::parse_from_bytes(&self.details).ok()?;
        status.details.iter().find_map(|any| any.unpack().ok().flatten())
    }

    /// Whether it is of a kind that may be better the next time: UNAVAILABLE, DEADLINE_EXCEEDED,
    /// RESOURCE_EXHAUSTED or ABORTED. Whether it does harm twice is another question.
    pub fn is_retryable(&self) -> bool {
        use Code::{Aborted, DeadlineExceeded, ResourceExhausted, Unavailable};
        matches!(self.code, Unavailable | DeadlineExceeded | ResourceExhausted | Aborted)
    }

    /// The server's word on when to come again.
    pub fn retry_after(&self) -> Option<Duration> {
        let delay = self.detail::<RetryInfo>()?.retry_delay.into_option()?;
        let (secs, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
        Some(Duration::from_secs(secs) + Duration::from_nanos(u64::from(nanos)))
    }
}

/// Words with which gRPC's C core, and nobody else, fails a call that it could not send.
const UNSENT: [&str; 3] =
    ["failed to connect to all addresses", "DNS resolution failed", "empty address list"];

/// Whether a call that failed so may have reached the server. A status that a peer has sent
/// is marked in the debug text, so that no server can say that it got nothing.
pub(super) fn delivery(status: &RpcStatus) -> Delivery {
    let is_unsent = Code::of(status.code().into()) == Code::Unavailable
        && UNSENT.iter().any(|words| status.message().starts_with(words))
        && !status.debug_error_string().contains("Error received from peer");
    if is_unsent {
        Delivery::NotSent
    } else {
        Delivery::Unknown
    }
}

/// Words with which gRPC's C core fails the calls of a connection that has ended. Its debug text
/// does not tell them from a peer's, so a gateway that hands them on is taken for one that is down.
const CUT: [&str; 4] = ["Socket closed", "recvmsg:", "sendmsg:", "keepalive watchdog timeout"];

impl RpcError {
    /// Whether it ended because its connection did.
    pub(super) fn is_cut(&self) -> bool {
        self.code == Code::Unavailable && CUT.iter().any(|words| self.message.starts_with(words))
    }
}

impl Error {
    /// gRPC's code, or the one that says most nearly why there was no connection.
    pub fn code(&self) -> Code {
        match self {
            Error::Rpc(error) => error.code,
            Error::Pool(error) => match error {
                PoolError::NotConnected { .. } | PoolError::NotReady { .. } => Code::Unavailable,
                PoolError::CheckoutTimeout { .. } | PoolError::DeadlineExceeded { .. } => {
                    Code::DeadlineExceeded
                }
                PoolError::TooManyWaiters { .. } | PoolError::NoThread { .. } => {
                    Code::ResourceExhausted
                }
                PoolError::Closed { .. } => Code::Cancelled,
                _ => Code::FailedPrecondition,
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Pool(error) => error.fmt(f),
            Error::Rpc(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // What either says is said by this.
        match self {
            Error::Pool(error) => error.source(),
            Error::Rpc(error) => error.source(),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RpcError { code, message, method, service, attempts, .. } = self;
        write!(f, "{method} of {service} failed with {}: ", code.as_str())?;
        // It is the server's, and may end up in a log.
        for char in message.chars() {
            match char.is_control() {
                true => write!(f, "{}", char.escape_default())?,
                false => f.write_char(char)?,
            }
        }
        write!(f, " (attempts: {attempts}, {} ms", self.elapsed.as_millis())?;
        match &self.address {
            Some(address) => write!(f, ", at {address})"),
            None => f.write_str(")"),
        }
    }
}

impl std::error::Error for RpcError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl From<RpcError> for Error {
    fn from(error: RpcError) -> Error {
        Error::Rpc(Box::new(error))
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Error {
        Error::Pool(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: i32, message: &str, debug: &str) -> RpcStatus {
        let (message, debug) = (message.to_owned(), debug.to_owned());
        RpcStatus::with_details_and_error_string(code, message, Vec::new(), debug)
    }

    #[test]
    fn only_the_c_core_can_say_that_a_call_was_never_sent() {
        let words = "failed to connect to all addresses; last error: refused";
        assert_eq!(delivery(&status(14, words, "UNKNOWN:refused")), Delivery::NotSent);
        let peer = "UNKNOWN:Error received from peer ipv4:127.0.0.1:1";
        assert_eq!(delivery(&status(14, words, peer)), Delivery::Unknown);
        assert_eq!(delivery(&status(13, words, "")), Delivery::Unknown);
        assert_eq!(delivery(&status(14, "Socket closed", "")), Delivery::Unknown);
    }

    #[test]
    fn codes_have_the_numbers_and_names_of_grpc_and_others_stay_as_they_came() {
        assert_eq!((Code::of(14), Code::of(0)), (Code::Unavailable, Code::Ok));
        assert_eq!((Code::of(99), Code::of(16).as_str()), (Code::Other(99), "UNAUTHENTICATED"));
        assert_eq!((Code::of(0).go_name(), Code::of(1).go_name()), ("OK", "Canceled"));
    }
}
