//! What a failed call says: the code and text of gRPC, and the details behind them.

use std::error::Error;

use prost::Message;
use tonic::Status;

use crate::proto::connectionpool::{PostgresError, WorkOutcome};
use crate::proto::google::rpc::{self, ErrorInfo};

/// An error with all that is behind it.
pub fn whole(error: &dyn Error) -> String {
    let behind = error.source().map(|source| format!(": {}", whole(source)));
    error.to_string() + &behind.unwrap_or_default()
}

/// A failed call.
pub fn told(status: &Status) -> String {
    // The trailer grpc-status-details-bin; empty where the failure is gRPC's own.
    let packed = rpc::Status::decode(status.details()).unwrap_or_default();
    format!("{:?}: {}{}", status.code(), status.message(), details(&packed))
}

/// The details, a line each, found by their type's name.
pub fn details(status: &rpc::Status) -> String {
    let mut lines = String::new();
    for detail in &status.details {
        let bytes = detail.value.as_slice();
        let line = match detail.type_url.rsplit('/').next() {
            Some("google.rpc.ErrorInfo") => ErrorInfo::decode(bytes).map(|info| info.reason),
            Some("connectionpool.WorkOutcome") => {
                WorkOutcome::decode(bytes).map(|work| work.outcome().as_str_name().to_owned())
            }
            Some("connectionpool.PostgresError") => PostgresError::decode(bytes)
                .map(|error| format!("SQLSTATE {} {}", error.sqlstate, error.constraint)),
            // Others may come with a later version.
            _ => continue,
        };
        lines += &format!("\n  {}", line.unwrap_or_else(|error| error.to_string()));
    }
    lines
}
