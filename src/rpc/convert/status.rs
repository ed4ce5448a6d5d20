//! An error as gRPC says it: code, text, and google.rpc.Status in the details.

use std::time::Duration;

use grpcio::{RpcStatus, RpcStatusCode};
use protobuf::well_known_types::any::Any;
use protobuf::{EnumOrUnknown, Message, MessageFull};

use crate::core::lease_table::Tombstone;
use crate::error::{CancelCause, ConnectError, Error, Outcome, PgFault, Work};
use crate::proto::error_details::{ErrorInfo, RetryInfo};
use crate::proto::errors::work_outcome::Outcome as WireOutcome;
use crate::proto::errors::{Reason, WorkOutcome};
use crate::proto::status::Status;
use crate::rpc::convert;

use code::{code_of, code_of_lookup};
use room::Room;

mod code;
mod room;

type Code = RpcStatusCode;

/// The gRPC status of an error, as the end of a call.
pub(in crate::rpc) fn status(error: &Error) -> RpcStatus {
    let details = said(error, &Room::TRAILER);
    let code = RpcStatusCode::from(details.code);
    // Serialising into memory fails only for uninitialised proto2 fields.
    let bytes = details.write_to_bytes().unwrap_or_default();
    RpcStatus::with_details(code, details.message, bytes)
}

/// The same within a message, on a stream that goes on.
pub(in crate::rpc) fn in_message(error: &Error) -> Status {
    said(error, &Room::MESSAGE)
}

fn said(error: &Error, room: &Room) -> Status {
    let mut said = Said::of(error);
    said.info.reason = format!("{:?}", said.reason).trim_start_matches("REASON_").to_owned();
    said.info.domain = "connectionpool".to_owned();
    let message = room.text(&error.to_string());
    let mut details = Status { code: i32::from(said.code), message, ..Status::default() };
    pack(&mut details, &said.info);
    if let Some(delay) = said.retry {
        let retry_delay = Some(convert::fields::duration(delay)).into();
        pack(&mut details, &RetryInfo { retry_delay, ..RetryInfo::default() });
    }
    if let Some(work) = said.work {
        pack(&mut details, &outcome(work));
    }
    if let Some(fault) = said.fault {
        let fault = room.postgres(fault, details.compute_size());
        pack(&mut details, &fault);
    }
    details
}

/// What an error says beside its text.
struct Said<'a> {
    code: Code,
    reason: Reason,
    info: ErrorInfo,
    retry: Option<Duration>,
    work: Option<Work>,
    fault: Option<&'a PgFault>,
}

/// When to try again after a refusal for want of room.
const SOON: Duration = Duration::from_millis(100);
/// When to try again after the database or the service was away.
const LATER: Duration = Duration::from_secs(1);

impl<'a> Said<'a> {
    fn new(code: Code, reason: Reason) -> Said<'a> {
        Said { code, reason, info: ErrorInfo::default(), retry: None, work: None, fault: None }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Said<'a> {
        self.info.metadata.insert(key.to_owned(), room::value(&value.to_string()));
        self
    }

    fn retry(mut self, delay: Duration) -> Said<'a> {
        self.retry = Some(delay);
        self
    }

    fn work(mut self, work: &Work) -> Said<'a> {
        self.work = Some(*work);
        self
    }

    fn fault(mut self, fault: &'a PgFault) -> Said<'a> {
        self.fault = Some(fault);
        self.with("sqlstate", &fault.sqlstate)
    }

    fn of(error: &'a Error) -> Said<'a> {
        match error {
            Error::Invalid { field, .. } => {
                Said::new(Code::INVALID_ARGUMENT, Reason::REASON_INVALID_ARGUMENT)
                    .with("field", field)
            }
            Error::RequestTimeout { .. } => {
                Said::new(Code::DEADLINE_EXCEEDED, Reason::REASON_REQUEST_TIMEOUT)
            }
            Error::LeaseNotFound => Said::new(Code::NOT_FOUND, Reason::REASON_LEASE_NOT_FOUND),
            Error::LeaseEnded(tombstone) => Said::ended(tombstone),
            Error::LeaseBusy { lease_name } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_BUSY)
                    .with("lease_name", lease_name)
                    .retry(SOON)
            }
            Error::TenantNotFound(tenant) => {
                Said::new(Code::NOT_FOUND, Reason::REASON_TENANT_NOT_FOUND).with("tenant", tenant)
            }
            Error::DsnMismatch { tenant, keys } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_DSN_MISMATCH)
                    .with("tenant", tenant)
                    .with("keys", keys.join(","))
            }
            Error::QueueFull { tenant, used, waiting, limit } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_QUEUE_FULL)
                    .with("tenant", tenant)
                    .with("used", used)
                    .with("waiting", waiting)
                    .with("limit", limit)
                    .with("position", waiting + 1)
                    .retry(SOON)
            }
            Error::ServiceLimit { used, limit, .. } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_SERVICE_LIMIT)
                    .with("used", used)
                    .with("limit", limit)
                    .retry(LATER)
            }
            Error::WaitTimeout { tenant, standing, .. } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_WAIT_TIMEOUT)
                    .with("tenant", tenant)
                    .with("used", standing.used)
                    .with("waiting", standing.waiting)
                    .with("limit", standing.limit)
                    .with("position", standing.position)
                    .retry(SOON)
            }
            Error::CallerLimit { tenant, used, limit, .. } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_CALLER_LIMIT)
                    .with("tenant", tenant)
                    .with("used", used)
                    .with("limit", limit)
                    .retry(SOON)
            }
            Error::Superseded => Said::new(Code::ABORTED, Reason::REASON_SUPERSEDED),
            Error::LeaseOnStream { lease_name } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_ON_STREAM)
                    .with("lease_name", lease_name)
            }
            Error::Draining => Said::new(Code::UNAVAILABLE, Reason::REASON_DRAINING).retry(LATER),
            Error::Connect { tenant, cause } => Said::connect(cause).with("tenant", tenant),
            Error::BreakerOpen { tenant, cause, retry, .. } => {
                let said = Said::new(Code::UNAVAILABLE, Reason::REASON_BREAKER_OPEN)
                    .with("tenant", tenant)
                    .retry((*retry).max(SOON));
                match cause {
                    ConnectError::Rejected(fault) | ConnectError::Busy(fault) => said.fault(fault),
                    _ => said,
                }
            }
            Error::BackendLost { work, fault, .. } => {
                let said = match work.outcome {
                    Outcome::NotStarted => {
                        Said::new(Code::UNAVAILABLE, Reason::REASON_BACKEND_LOST).retry(SOON)
                    }
                    Outcome::NotApplied => Said::new(Code::ABORTED, Reason::REASON_BACKEND_LOST),
                    Outcome::Applied | Outcome::Unknown => {
                        Said::new(Code::UNKNOWN, Reason::REASON_BACKEND_LOST)
                    }
                };
                let said = said.work(work);
                match fault {
                    Some(fault) => said.fault(fault),
                    None => said,
                }
            }
            Error::Sql { fault, work } => {
                Said::new(code_of(&fault.sqlstate), Reason::REASON_SQL_ERROR)
                    .work(work)
                    .fault(fault)
            }
            // Its words are of a statement that the caller never sent.
            Error::Lookup { fault, work } => {
                Said::new(code_of_lookup(&fault.sqlstate), Reason::REASON_LOOKUP_FAILED)
                    .with("sqlstate", &fault.sqlstate)
                    .work(work)
            }
            Error::StatementTimeout { work, .. } => {
                Said::new(Code::DEADLINE_EXCEEDED, Reason::REASON_STATEMENT_TIMEOUT).work(work)
            }
            Error::Cancelled { by, work } => {
                let code = match by {
                    CancelCause::Caller | CancelCause::Unfinished => Code::CANCELLED,
                    // Another try would come to the same.
                    CancelCause::Notices => Code::FAILED_PRECONDITION,
                    _ => Code::ABORTED,
                };
                Said::new(code, Reason::REASON_CANCELLED).work(work).with("cause", by.as_str())
            }
            Error::Parameter { work, .. } => {
                Said::new(Code::INVALID_ARGUMENT, Reason::REASON_INVALID_ARGUMENT)
                    .with("field", "statements.parameters")
                    .work(work)
            }
            Error::Undecodable { work, .. } => {
                Said::new(Code::UNIMPLEMENTED, Reason::REASON_UNSUPPORTED).work(work)
            }
            Error::ResultTooLarge { limit_bytes, work, .. } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_RESULT_TOO_LARGE)
                    .with("limit", limit_bytes)
                    .work(work)
            }
            Error::RolledBack { work } => {
                Said::new(Code::ABORTED, Reason::REASON_TRANSACTION_ROLLED_BACK).work(work)
            }
            Error::LeftOpen { work } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_TRANSACTION_LEFT_OPEN)
                    .work(work)
            }
            Error::Unsupported { work, .. } => {
                Said::new(Code::UNIMPLEMENTED, Reason::REASON_UNSUPPORTED).work(work)
            }
            Error::Internal(_) => Said::new(Code::INTERNAL, Reason::REASON_INTERNAL),
        }
    }

    fn ended(tombstone: &Tombstone) -> Said<'a> {
        Said::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_ENDED)
            .with("lease_name", &tombstone.lease_name)
            .with("tenant", &tombstone.tenant)
            .with("end_reason", tombstone.reason.as_str())
    }

    fn connect(cause: &'a ConnectError) -> Said<'a> {
        match cause.lead() {
            ConnectError::Rejected(fault) => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_CONNECT_REJECTED).fault(fault)
            }
            ConnectError::Deferred { refusals, retry, .. } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_LOGIN_LIMIT)
                    .with("refusals", refusals)
                    .retry((*retry).max(SOON))
            }
            ConnectError::Settings(_) | ConnectError::Untrusted { .. } => {
                Said::new(Code::FAILED_PRECONDITION, Reason::REASON_CONNECT_REJECTED)
            }
            ConnectError::Busy(fault) if fault.sqlstate.starts_with("53") => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_DATABASE_FULL)
                    .fault(fault)
                    .retry(LATER)
            }
            ConnectError::NoRoom { used, waiting, .. } => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_DATABASE_FULL)
                    .with("used", used)
                    .with("waiting", waiting)
                    .retry(LATER)
            }
            ConnectError::Busy(fault) => {
                Said::new(Code::UNAVAILABLE, Reason::REASON_DATABASE_UNAVAILABLE)
                    .fault(fault)
                    .retry(LATER)
            }
            ConnectError::Unreachable { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::Unfit { .. } => {
                Said::new(Code::UNAVAILABLE, Reason::REASON_DATABASE_UNAVAILABLE).retry(LATER)
            }
            ConnectError::Starved(_) => {
                Said::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_SERVICE_LIMIT).retry(LATER)
            }
            ConnectError::Panicked | ConnectError::Several(_) => {
                Said::new(Code::INTERNAL, Reason::REASON_INTERNAL)
            }
        }
    }
}

fn pack<M: MessageFull>(details: &mut Status, message: &M) {
    // As above: packing fails only for uninitialised proto2 fields.
    if let Ok(any) = Any::pack(message) {
        details.details.push(any);
    }
}

fn outcome(work: Work) -> WorkOutcome {
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    WorkOutcome {
        outcome: EnumOrUnknown::new(match work.outcome {
            Outcome::NotStarted => WireOutcome::NOT_STARTED,
            Outcome::NotApplied => WireOutcome::NOT_APPLIED,
            Outcome::Applied => WireOutcome::APPLIED,
            Outcome::Unknown => WireOutcome::UNKNOWN,
        }),
        statements_completed: number(work.completed),
        failed_statement: work.failed.map_or(-1, number),
        transaction_state: work
            .transaction
            .map(convert::lease::transaction)
            .unwrap_or_default()
            .into(),
        ..WorkOutcome::default()
    }
}

#[cfg(test)]
mod tests;
