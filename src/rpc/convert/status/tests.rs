//! Every error as it goes over the wire.

mod words;

use std::sync::Arc;
use std::time::Duration;

use super::code::code_of;
use super::*;
use crate::clock;
use crate::core::access::{AccessDenied, AuthFailure, CallerIdentity, Role};
use crate::core::ids::TenantId;
use crate::core::lease_table::{EndReason, Tombstone};
use crate::core::token_bucket::TokenRate;
use crate::error::{CancelCause, ConnectError, PgFault, QueuePosition};
use crate::proto::error_details::ErrorInfo;

#[test]
fn the_most_specific_sqlstate_row_wins() {
    for (sqlstate, code) in [
        ("40001", Code::ABORTED),
        ("23505", Code::ALREADY_EXISTS),
        ("23503", Code::FAILED_PRECONDITION),
        ("42P01", Code::NOT_FOUND),
        ("42601", Code::INVALID_ARGUMENT),
        ("42501", Code::PERMISSION_DENIED),
        ("25P02", Code::FAILED_PRECONDITION),
        ("53100", Code::RESOURCE_EXHAUSTED),
        ("0A000", Code::UNIMPLEMENTED),
        ("XX001", Code::DATA_LOSS),
        ("58030", Code::INTERNAL),
        ("23514", Code::INVALID_ARGUMENT),
        ("ZZ999", Code::UNKNOWN),
        ("", Code::UNKNOWN),
    ] {
        assert_eq!(code_of(sqlstate), code, "{sqlstate}");
    }
}

#[test]
fn details_carry_the_reason_and_the_work() {
    let error = RequestError::RolledBack {
        work: Work {
            outcome: Outcome::NotApplied,
            completed: 1,
            failed: Some(1),
            transaction: None,
        },
    };
    let status = status(&error);
    assert_eq!(status.code(), Code::ABORTED);
    let details = Status::parse_from_bytes(status.details()).expect("a google.rpc.Status");
    let info: ErrorInfo = details.details[0].unpack().expect("fits").expect("an ErrorInfo");
    assert_eq!(info.reason, "TRANSACTION_ROLLED_BACK");
    let work: WorkOutcome = details.details[1].unpack().expect("fits").expect("the work");
    assert_eq!((work.statements_completed, work.failed_statement), (1, 1));
}

fn work(outcome: Outcome) -> Work {
    Work { outcome, completed: 0, failed: Some(0), transaction: None }
}

/// One error of each kind and cause, with the code and the reason it must have.
fn table() -> Vec<(RequestError, Code, &'static str)> {
    let tenant = TenantId::parse("t").expect("a good name");
    let fault =
        |sqlstate: &str| Box::new(PgFault { sqlstate: sqlstate.to_owned(), ..PgFault::default() });
    let connect = |cause| RequestError::Connect { tenant: tenant.clone(), cause };
    let undone = work(Outcome::NotApplied);
    let lost =
        |outcome| RequestError::BackendLost { work: work(outcome), fault: None, excess: None };
    let cancelled = |by| RequestError::Cancelled { by, work: work(Outcome::NotApplied) };
    let lookup = |sqlstate| RequestError::Lookup { fault: fault(sqlstate), work: undone };
    let target = || "host:1".to_owned();
    let second = Duration::from_secs(1);
    let identity = Arc::new(CallerIdentity::new("shop", None).expect("a good name"));
    vec![
        (RequestError::invalid("f", "r"), Code::INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (
            RequestError::RequestTimeout { limit: second },
            Code::DEADLINE_EXCEEDED,
            "REQUEST_TIMEOUT",
        ),
        (RequestError::LeaseNotFound, Code::NOT_FOUND, "LEASE_NOT_FOUND"),
        (RequestError::NoLeaseNamed, Code::NOT_FOUND, "LEASE_NOT_FOUND"),
        (
            RequestError::LeaseEnded(Tombstone {
                lease_name: "l".to_owned(),
                tenant: tenant.clone(),
                reason: EndReason::Ttl,
                ended_at: clock::now(),
            }),
            Code::FAILED_PRECONDITION,
            "LEASE_ENDED",
        ),
        (
            RequestError::LeaseBusy { lease_name: "l".to_owned() },
            Code::FAILED_PRECONDITION,
            "LEASE_BUSY",
        ),
        (RequestError::TenantNotFound(tenant.clone()), Code::NOT_FOUND, "TENANT_NOT_FOUND"),
        (
            RequestError::DsnMismatch {
                tenant: tenant.clone(),
                keys: vec!["host".to_owned()],
                configured: false,
            },
            Code::FAILED_PRECONDITION,
            "DSN_MISMATCH",
        ),
        (
            RequestError::DsnNotTaken { tenant: tenant.clone() },
            Code::PERMISSION_DENIED,
            "DSN_NOT_TAKEN",
        ),
        (
            RequestError::QueueFull { tenant: tenant.clone(), used: 1, waiting: 2, limit: 2 },
            Code::RESOURCE_EXHAUSTED,
            "QUEUE_FULL",
        ),
        (
            RequestError::ServiceLimit { what: "w", used: 2, limit: 1 },
            Code::RESOURCE_EXHAUSTED,
            "SERVICE_LIMIT",
        ),
        (
            RequestError::WaitTimeout {
                tenant: tenant.clone(),
                waited: second,
                standing: QueuePosition {
                    used: 1,
                    limit: 1,
                    waiting: 0,
                    position: 1,
                    is_paused: false,
                },
            },
            Code::RESOURCE_EXHAUSTED,
            "WAIT_TIMEOUT",
        ),
        (
            RequestError::CallerLimit { tenant: tenant.clone(), what: "leases", used: 2, limit: 2 },
            Code::RESOURCE_EXHAUSTED,
            "CALLER_LIMIT",
        ),
        (
            RequestError::RateLimited {
                identity: Arc::new(CallerIdentity::new("shop", None).expect("a good name")),
                rate: TokenRate { per_second: 1, burst: 1 },
                retry: second,
            },
            Code::RESOURCE_EXHAUSTED,
            "RATE_LIMITED",
        ),
        (
            RequestError::ReloadFailed { faults: "f".to_owned() },
            Code::FAILED_PRECONDITION,
            "RELOAD_FAILED",
        ),
        (RequestError::TenantPaused(tenant.clone()), Code::UNAVAILABLE, "TENANT_PAUSED"),
        (RequestError::Superseded, Code::ABORTED, "SUPERSEDED"),
        (
            RequestError::LeaseOnStream { lease_name: "lease-1".to_owned() },
            Code::FAILED_PRECONDITION,
            "LEASE_ON_STREAM",
        ),
        (RequestError::Draining, Code::UNAVAILABLE, "DRAINING"),
        (
            RequestError::BreakerOpen {
                tenant: tenant.clone(),
                cause: ConnectError::Busy(fault("57P03")),
                age: second,
                retry: second,
            },
            Code::UNAVAILABLE,
            "BREAKER_OPEN",
        ),
        (
            connect(ConnectError::Rejected(fault("28P01"))),
            Code::FAILED_PRECONDITION,
            "CONNECT_REJECTED",
        ),
        (
            connect(ConnectError::Settings("s".to_owned())),
            Code::FAILED_PRECONDITION,
            "CONNECT_REJECTED",
        ),
        (connect(ConnectError::Busy(fault("53300"))), Code::RESOURCE_EXHAUSTED, "DATABASE_FULL"),
        (
            connect(ConnectError::NoRoom { target: target(), used: 9, waiting: 1 }),
            Code::RESOURCE_EXHAUSTED,
            "DATABASE_FULL",
        ),
        (connect(ConnectError::Busy(fault("57P03"))), Code::UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (
            connect(ConnectError::Unreachable { target: target(), why: "w".to_owned() }),
            Code::UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
        ),
        (
            connect(ConnectError::TimedOut { target: target(), step: "s", limit: second }),
            Code::UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
        ),
        (
            connect(ConnectError::Forbidden { target: target(), why: None }),
            Code::PERMISSION_DENIED,
            "HOST_NOT_ALLOWED",
        ),
        (
            connect(ConnectError::Untrusted { target: target(), why: "w".to_owned() }),
            Code::FAILED_PRECONDITION,
            "CONNECT_REJECTED",
        ),
        (
            connect(ConnectError::WrongRole { target: target(), why: "w", wanted: "primary" }),
            Code::UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
        ),
        (
            connect(ConnectError::several(vec![
                ConnectError::Settings("s".to_owned()),
                ConnectError::Busy(fault("53300")),
            ])),
            Code::RESOURCE_EXHAUSTED,
            "DATABASE_FULL",
        ),
        (
            connect(ConnectError::Deferred {
                target: target(),
                user: "u".to_owned(),
                refusals: 5,
                retry: second,
            }),
            Code::RESOURCE_EXHAUSTED,
            "LOGIN_LIMIT",
        ),
        (connect(ConnectError::Starved("w".to_owned())), Code::RESOURCE_EXHAUSTED, "SERVICE_LIMIT"),
        (connect(ConnectError::Panicked), Code::INTERNAL, "INTERNAL"),
        (lost(Outcome::NotStarted), Code::UNAVAILABLE, "BACKEND_LOST"),
        (lost(Outcome::NotApplied), Code::ABORTED, "BACKEND_LOST"),
        (lost(Outcome::Applied), Code::UNKNOWN, "BACKEND_LOST"),
        (lost(Outcome::Unknown), Code::UNKNOWN, "BACKEND_LOST"),
        (
            RequestError::Sql { fault: fault("23505"), work: undone },
            Code::ALREADY_EXISTS,
            "SQL_ERROR",
        ),
        (lookup("42501"), Code::FAILED_PRECONDITION, "LOOKUP_FAILED"),
        (lookup("26000"), Code::FAILED_PRECONDITION, "LOOKUP_FAILED"),
        (lookup("57014"), Code::ABORTED, "LOOKUP_FAILED"),
        (lookup("55P03"), Code::ABORTED, "LOOKUP_FAILED"),
        (lookup("53200"), Code::RESOURCE_EXHAUSTED, "LOOKUP_FAILED"),
        (lookup("XX000"), Code::INTERNAL, "LOOKUP_FAILED"),
        (
            RequestError::StatementTimeout { limit: second, work: undone, lease_ended: false },
            Code::DEADLINE_EXCEEDED,
            "STATEMENT_TIMEOUT",
        ),
        (cancelled(CancelCause::Caller), Code::CANCELLED, "CANCELLED"),
        (cancelled(CancelCause::Release), Code::ABORTED, "CANCELLED"),
        (cancelled(CancelCause::Notices), Code::FAILED_PRECONDITION, "CANCELLED"),
        (cancelled(CancelCause::MaxLifetime), Code::ABORTED, "CANCELLED"),
        (cancelled(CancelCause::Shutdown), Code::ABORTED, "CANCELLED"),
        (
            RequestError::Parameter {
                statement: 0,
                parameter: 1,
                rule: "r".to_owned(),
                work: undone,
            },
            Code::INVALID_ARGUMENT,
            "INVALID_ARGUMENT",
        ),
        (
            RequestError::Undecodable { column: "c".to_owned(), why: "w".to_owned(), work: undone },
            Code::UNIMPLEMENTED,
            "UNSUPPORTED",
        ),
        (
            RequestError::ResultTooLarge { limit_bytes: 1, work: undone, cancelled: true },
            Code::FAILED_PRECONDITION,
            "RESULT_TOO_LARGE",
        ),
        (RequestError::RolledBack { work: undone }, Code::ABORTED, "TRANSACTION_ROLLED_BACK"),
        (
            RequestError::LeftOpen { work: undone },
            Code::FAILED_PRECONDITION,
            "TRANSACTION_LEFT_OPEN",
        ),
        (RequestError::Unsupported { what: "w", work: undone }, Code::UNIMPLEMENTED, "UNSUPPORTED"),
        (
            RequestError::AccessDenied(AuthFailure::UnknownToken.into()),
            Code::UNAUTHENTICATED,
            "UNAUTHENTICATED",
        ),
        (
            RequestError::AccessDenied(AccessDenied::Role { identity, role: Role::Admin }),
            Code::PERMISSION_DENIED,
            "PERMISSION_DENIED",
        ),
        (RequestError::Internal("w"), Code::INTERNAL, "INTERNAL"),
    ]
}

#[test]
fn every_error_has_its_code_its_reason_and_a_retry_time_where_waiting_helps() {
    for (error, code, reason) in table() {
        let said = status(&error);
        assert_eq!(said.code(), code, "{error:?}");
        assert_eq!(said.message(), error.to_string());
        let details = Status::parse_from_bytes(said.details()).expect("a google.rpc.Status");
        let info: ErrorInfo = details.details[0].unpack().expect("fits").expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "connectionpool"));
        let retry = details.details.iter().any(|any| any.is::<RetryInfo>());
        // A busy lease frees itself, though the same request is not one to repeat blindly.
        let helps = error.is_retryable() || matches!(error, RequestError::LeaseBusy { .. });
        let aborted = matches!(&error, RequestError::BackendLost { work, .. }
            if work.outcome == Outcome::NotApplied);
        let ours = matches!(&error, RequestError::Connect { cause: ConnectError::Panicked, .. });
        assert_eq!(retry, helps && !aborted && !ours, "{error:?}");
    }
}
