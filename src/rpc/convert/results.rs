//! Results, with the state of the session and the notices that came with them.

use protobuf::MessageField;

use super::lease::transaction;
use super::values::value;
use crate::backend::notice::Notice;
use crate::backend::statement_result::StatementResult;
use crate::core::value::{Column, Value};
use crate::pool::work::task::Executed;
use crate::proto::sql;

pub(in crate::rpc) fn executed(mut executed: Executed) -> sql::ExecuteResponse {
    sql::ExecuteResponse {
        results: std::mem::take(&mut executed.results).into_iter().map(result).collect(),
        session: Some(session(executed)).into(),
        ..sql::ExecuteResponse::default()
    }
}

/// What follows the data of a streamed result.
pub(in crate::rpc) struct Ending {
    pub(in crate::rpc) rows_affected: i64,
    pub(in crate::rpc) command_tag: String,
    pub(in crate::rpc) session: MessageField<sql::SessionInfo>,
}

/// The ending of a request whose data was streamed.
pub(in crate::rpc) fn ending(mut executed: Executed) -> Ending {
    let result = executed.results.pop().unwrap_or_default();
    Ending {
        rows_affected: i64::try_from(result.rows_affected).unwrap_or(i64::MAX),
        command_tag: result.command_tag,
        session: Some(session(executed)).into(),
    }
}

fn session(executed: Executed) -> sql::SessionInfo {
    sql::SessionInfo {
        transaction_state: transaction(executed.transaction).into(),
        notices: executed.notices.into_iter().map(notice).collect(),
        lease_ended: executed.lease_ended,
        ..sql::SessionInfo::default()
    }
}

fn result(result: StatementResult) -> sql::StatementResult {
    let row = |values: Vec<Value>| sql::Row {
        values: values.into_iter().map(value).collect(),
        ..sql::Row::default()
    };
    sql::StatementResult {
        columns: columns(result.columns),
        rows: result.rows.into_iter().map(row).collect(),
        rows_affected: i64::try_from(result.rows_affected).unwrap_or(i64::MAX),
        command_tag: result.command_tag,
        truncated: result.truncated,
        ..sql::StatementResult::default()
    }
}

pub(in crate::rpc) fn columns(columns: Vec<Column>) -> Vec<sql::Column> {
    columns.into_iter().map(column).collect()
}

fn column(column: Column) -> sql::Column {
    sql::Column {
        name: column.name,
        type_oid: column.type_oid,
        type_name: column.type_name,
        table_oid: column.table_oid,
        ..sql::Column::default()
    }
}

pub(in crate::rpc) fn notice(notice: Notice) -> sql::Notice {
    sql::Notice {
        severity: notice.severity,
        sqlstate: notice.sqlstate,
        message: notice.message,
        ..sql::Notice::default()
    }
}
