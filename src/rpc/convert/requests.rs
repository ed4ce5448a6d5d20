//! Requests to run statements, and to listen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protobuf::well_known_types::duration::Duration as WireDuration;
use protobuf::MessageField;

use super::fields::{clamped, connection_id, target};
use super::row_format::RowFormat;
use super::values::parameter;
use crate::backend::statement::Statement;
use crate::config::Limits;
use crate::core::sql::copy_direction::Direction;
use crate::core::value::Value;
use crate::error::RequestError;
use crate::pool::registry::{HostDsns, Target};
use crate::pool::service::RunOn;
use crate::pool::work::task::Request;
use crate::proto::sql;

/// The fields that name where a request runs. Several requests have them, without a common
/// type.
macro_rules! place {
    ($request:expr, $limits:expr, $dsns:expr) => {
        Where {
            connection_id: &$request.connection_id,
            tenant_id: &$request.tenant_id,
            dsn: &$request.dsn,
            release_after: $request.release_after,
            wait_timeout: &$request.wait_timeout,
        }
        .parse($limits, $dsns)
    };
}

pub(in crate::rpc) fn execute(
    request: sql::ExecuteRequest,
    limits: &Limits,
    dsns: &HostDsns<'_>,
) -> Result<(RunOn, Request), RequestError> {
    let place = place!(request, limits, dsns)?;
    let run = Run {
        statements: request.statements,
        atomic: request.atomic,
        timeout: request.timeout,
        max_rows: request.max_rows,
    };
    Ok((place, run.parse(limits)?))
}

pub(in crate::rpc) fn query(
    request: sql::QueryRequest,
    limits: &Limits,
    dsns: &HostDsns<'_>,
) -> Result<(RunOn, Request, RowFormat), RequestError> {
    let place = place!(request, limits, dsns)?;
    let Some(statement) = request.statement.into_option() else {
        return Err(RequestError::invalid("statement", "statement is required"));
    };
    let format = match request.row_format.enum_value() {
        Ok(sql::RowFormat::ROW_FORMAT_UNSPECIFIED | sql::RowFormat::ROW_FORMAT_TYPED) => {
            RowFormat::Typed
        }
        Ok(sql::RowFormat::ROW_FORMAT_BINARY) => RowFormat::Binary,
        Err(_) => {
            return Err(RequestError::invalid("row_format", "row_format must be TYPED or BINARY"))
        }
    };
    let (atomic, max_rows, statements) = (false, 0, vec![statement]);
    let run = Run { statements, atomic, timeout: request.timeout, max_rows };
    Ok((place, run.parse(limits)?, format))
}

pub(in crate::rpc) fn copy_in(
    start: sql::CopyInStart,
    limits: &Limits,
    dsns: &HostDsns<'_>,
) -> Result<(RunOn, Request), RequestError> {
    let place = place!(start, limits, dsns)?;
    let rule = "sql must be a COPY … FROM STDIN";
    Ok((place, copy((start.sql, start.timeout), (Direction::In, rule), limits)?))
}

pub(in crate::rpc) fn copy_out(
    request: sql::CopyOutRequest,
    limits: &Limits,
    dsns: &HostDsns<'_>,
) -> Result<(RunOn, Request), RequestError> {
    let place = place!(request, limits, dsns)?;
    let rule = "sql must be a COPY … TO STDOUT";
    Ok((place, copy((request.sql, request.timeout), (Direction::Out, rule), limits)?))
}

pub(in crate::rpc) fn listen(
    request: &sql::ListenRequest,
    limits: &Limits,
    dsns: &HostDsns<'_>,
) -> Result<(Target, Duration), RequestError> {
    let wait = clamped("wait_timeout", &request.wait_timeout, &limits.clocks.wait)?;
    Ok((target(&request.tenant_id, &request.dsn, dsns)?, wait))
}

fn copy(
    (text, timeout): (String, MessageField<WireDuration>),
    (wanted, rule): (Direction, &str),
    limits: &Limits,
) -> Result<Request, RequestError> {
    check_text("sql", format_args!("sql"), &text, limits)?;
    let statement = Statement::new(text, Vec::new());
    if statement.command.direction != Some(wanted) {
        return Err(RequestError::invalid("sql", rule));
    }
    Ok(Request {
        statements: Arc::new([statement]),
        atomic: false,
        timeout: clamped("timeout", &timeout, &limits.clocks.statement)?,
        max_rows: None,
        max_bytes: limits.result_bytes,
    })
}

/// What all requests have in common that run on a lease or as a one-shot.
struct Where<'a> {
    connection_id: &'a str,
    tenant_id: &'a str,
    dsn: &'a str,
    release_after: bool,
    wait_timeout: &'a MessageField<WireDuration>,
}

impl Where<'_> {
    fn parse(&self, limits: &Limits, dsns: &HostDsns<'_>) -> Result<RunOn, RequestError> {
        let wait = clamped("wait_timeout", self.wait_timeout, &limits.clocks.wait)?;
        match (self.connection_id.is_empty(), self.tenant_id.is_empty()) {
            (false, true) => {
                let id = connection_id(self.connection_id)?;
                Ok(RunOn::Lease { id, release_after: self.release_after })
            }
            (true, false) => {
                let target = Box::new(target(self.tenant_id, self.dsn, dsns)?);
                Ok(RunOn::Tenant { target, wait })
            }
            _ => Err(RequestError::invalid(
                "connection_id",
                "exactly one of connection_id and tenant_id is required",
            )),
        }
    }
}

pub(in crate::rpc) fn session_execute(
    request: sql::SessionExecute,
    limits: &Limits,
) -> Result<Request, RequestError> {
    let run = Run {
        statements: request.statements,
        atomic: request.atomic,
        timeout: request.timeout,
        max_rows: request.max_rows,
    };
    run.parse(limits)
}

/// What all requests to run statements have in common.
struct Run {
    statements: Vec<sql::Statement>,
    atomic: bool,
    timeout: MessageField<WireDuration>,
    max_rows: i64,
}

impl Run {
    fn parse(self, limits: &Limits) -> Result<Request, RequestError> {
        if self.statements.is_empty() || self.statements.len() > limits.statements {
            return Err(RequestError::invalid(
                "statements",
                format!("statements must be 1 to {}", limits.statements),
            ));
        }
        let max_rows = u64::try_from(self.max_rows)
            .map_err(|_| RequestError::invalid("max_rows", "max_rows must be zero or more"))?;
        let statements = self.statements.into_iter().enumerate();
        let statements: Result<Arc<[Statement]>, RequestError> =
            statements.map(|(i, s)| statement(i, s, limits)).collect();
        let request = Request {
            statements: statements?,
            atomic: self.atomic,
            timeout: clamped("timeout", &self.timeout, &limits.clocks.statement)?,
            max_rows: (max_rows > 0).then_some(max_rows),
            max_bytes: limits.result_bytes,
        };
        if request.atomic {
            no_transaction_control(&request.statements)?;
        }
        Ok(request)
    }
}

/// With `atomic` the service owns the transaction, so no statement may end it.
fn no_transaction_control(statements: &[Statement]) -> Result<(), RequestError> {
    match statements.iter().position(|statement| statement.command.controls_transaction) {
        None => Ok(()),
        Some(i) => Err(RequestError::invalid(
            "statements",
            format!(
                "statements[{i}]: {} is not allowed with atomic, which begins and commits by itself",
                statements[i].command.verb()
            ),
        )),
    }
}

fn statement(
    index: usize,
    statement: sql::Statement,
    limits: &Limits,
) -> Result<Statement, RequestError> {
    check_text("statements.sql", format_args!("statements[{index}].sql"), &statement.sql, limits)?;
    let parameters = statement.parameters.into_iter().enumerate();
    let parameters: Result<Vec<Value>, RequestError> = parameters
        .map(|(i, value)| {
            parameter(value).ok_or_else(|| {
                RequestError::invalid(
                    "statements.parameters",
                    format!("statements[{index}].parameters[{i}] has no value; use null for NULL"),
                )
            })
        })
        .collect();
    let mut parameters = parameters?;
    // They took over the room of the wire's values, which are larger.
    parameters.shrink_to_fit();
    Ok(Statement::new(statement.sql, parameters))
}

fn check_text(
    field: &'static str,
    name: fmt::Arguments<'_>,
    text: &str,
    limits: &Limits,
) -> Result<(), RequestError> {
    if text.len() > limits.sql_bytes {
        let rule = format!("{name} must be at most {} bytes long", limits.sql_bytes);
        return Err(RequestError::invalid(field, rule));
    }
    if text.contains('\0') {
        return Err(RequestError::invalid(
            field,
            format!("{name} must not contain a NUL character"),
        ));
    }
    Ok(())
}
