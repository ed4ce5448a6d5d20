//! Errors as gRPC statuses: code, text, and google.rpc.Status in the details.

use grpcio::{RpcStatus, RpcStatusCode as Code};
use protobuf::well_known_types::any::Any;
use protobuf::{EnumOrUnknown, Message, MessageFull};

use crate::error::{Outcome, RequestError, Work};
use crate::proto::error_details::RetryInfo;
use crate::proto::errors::work_outcome::Outcome as WireOutcome;
use crate::proto::errors::WorkOutcome;
use crate::proto::status::Status;
use crate::rpc::convert;
use crate::rpc::convert::encode::encoded;

use parts::StatusParts;
use room::StatusRoom;

mod code;
mod parts;
mod room;

/// The gRPC status of an error, as the end of a call.
pub(in crate::rpc) fn status(error: &RequestError) -> RpcStatus {
    let details = details(error, &StatusRoom::TRAILER);
    let code = Code::from(details.code);
    let bytes = encoded(&details);
    RpcStatus::with_details(code, details.message, bytes)
}

/// The status of an error within a message, on a stream that continues.
pub(in crate::rpc) fn as_message(error: &RequestError) -> Status {
    details(error, &StatusRoom::MESSAGE)
}

fn details(error: &RequestError, room: &StatusRoom) -> Status {
    let mut parts = StatusParts::of(error);
    parts.info.reason = format!("{:?}", parts.reason).trim_start_matches("REASON_").to_owned();
    parts.info.domain = "connectionpool".to_owned();
    let message = room.text(&error.to_string());
    let mut details = Status { code: i32::from(parts.code), message, ..Status::default() };
    pack(&mut details, &parts.info);
    if let Some(delay) = parts.retry {
        let retry_delay = Some(convert::fields::duration(delay)).into();
        pack(&mut details, &RetryInfo { retry_delay, ..RetryInfo::default() });
    }
    if let Some(work) = parts.work {
        pack(&mut details, &outcome(work));
    }
    if let Some(fault) = parts.fault {
        let fault = room.postgres(fault, details.compute_size());
        pack(&mut details, &fault);
    }
    details
}

fn pack<M: MessageFull>(details: &mut Status, message: &M) {
    // Packing fails only for uninitialised proto2 fields.
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
