//! Shorthands for tests that run SQL.

use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{
    ExecuteRequest, ExecuteResponse, QueryRequest, Statement, Value,
};

use super::{tenant, Held, Tenant};

pub const NONE: TransactionState = TransactionState::TRANSACTION_STATE_NONE;
pub const OPEN: TransactionState = TransactionState::TRANSACTION_STATE_OPEN;
pub const FAILED: TransactionState = TransactionState::TRANSACTION_STATE_FAILED;

pub fn state(answer: &ExecuteResponse) -> TransactionState {
    answer.session.transaction_state.enum_value().unwrap()
}

/// Asks the session itself: in a failed transaction nothing runs but its end.
pub fn state_of(lease: &Held) -> TransactionState {
    match lease.client.run(&lease.id, &["select 1"]) {
        Ok(answer) => state(&answer),
        Err(error) => {
            assert_eq!(error.postgres.expect("a PostgresError").sqlstate, "25P02");
            FAILED
        }
    }
}

pub fn on_lease(lease: &Held, statements: &[&str]) -> ExecuteRequest {
    ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: statements.iter().map(|sql| statement(sql)).collect(),
        ..ExecuteRequest::default()
    }
}

pub fn atomic(lease: &Held, statements: &[&str]) -> Result<ExecuteResponse, CallError> {
    let request = on_lease(lease, statements);
    lease.client.execute(&ExecuteRequest { atomic: true, ..request })
}

pub fn one_shot(tenant: &Tenant, statements: &[&str]) -> ExecuteRequest {
    ExecuteRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statements: statements.iter().map(|sql| statement(sql)).collect(),
        ..ExecuteRequest::default()
    }
}

/// A tenant with one backend at most, which every lease then gets.
pub fn tenant_of_one() -> Tenant {
    tenant().pool_of(1)
}

#[track_caller]
pub fn assert_error(error: &CallError, code: i32, reason: &str) {
    assert_eq!((error.code, error.reason.as_str()), (code, reason), "{error}");
}

/// An error of PostgreSQL that leaves the lease alone, and all that is said of it.
#[track_caller]
pub fn assert_sqlstate(error: &CallError, sqlstate: &str, code: i32) {
    let words = error.postgres.as_ref().expect("a PostgresError");
    assert_eq!((&*words.severity, &*words.sqlstate), ("ERROR", sqlstate), "{error}");
    assert!(!words.message.is_empty() && error.message.contains(&words.message), "{error}");
    assert_error(error, code, "SQL_ERROR");
    assert_eq!(error.info.as_ref().expect("an ErrorInfo").metadata["sqlstate"], sqlstate);
}

/// The transaction that a failed call has left.
#[track_caller]
pub fn state_after(error: &CallError) -> TransactionState {
    error.work.as_ref().expect("a WorkOutcome").transaction_state.enum_value().unwrap()
}

/// Outcome, statements_completed and failed_statement.
#[track_caller]
pub fn work(error: &CallError) -> (Outcome, i32, i32) {
    let work = error.work.as_ref().expect("a WorkOutcome");
    (work.outcome.enum_value().unwrap(), work.statements_completed, work.failed_statement)
}

/// A one-shot that sleeps longer than any test.
pub fn sleeping_one_shot(tenant: &Tenant) -> ExecuteRequest {
    ExecuteRequest {
        timeout: super::millis(3_600_000),
        ..one_shot(tenant, &["select pg_sleep(600)"])
    }
}

/// A streamed result on a lease.
pub fn query_on(lease: &Held, sql: &str) -> QueryRequest {
    QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement(sql)).into(),
        ..QueryRequest::default()
    }
}

pub fn value(kind: Kind) -> Value {
    Value { kind: Some(kind), ..Value::default() }
}

pub fn text(text: &str) -> Value {
    value(Kind::Text(text.to_owned()))
}

/// A statement with parameters.
pub fn with(sql: impl AsRef<str>, parameters: &[Value]) -> Statement {
    Statement { parameters: parameters.to_vec(), ..statement(sql.as_ref()) }
}

/// One statement on a lease, not sent.
pub fn asked(lease: &Held, statement: Statement) -> ExecuteRequest {
    ExecuteRequest { statements: vec![statement], ..on_lease(lease, &[]) }
}

/// What a statement that must succeed returns.
#[track_caller]
pub fn ask(lease: &Held, statement: Statement) -> ExecuteResponse {
    let sql = statement.sql.clone();
    let answer = lease.client.execute(&asked(lease, statement));
    answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The lease still has the backend that it was granted.
#[track_caller]
pub fn assert_same_backend(lease: &Held) {
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}
