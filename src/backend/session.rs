//! One backend in use: run statements, learn the truth afterwards, reset.
//!
//! The only code that knows how bytes reach PostgreSQL; everything above speaks
//! to `trait Backend`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use postgres::error::DbError;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{to_sql_checked, Format, FromSql, IsNull, ToSql, Type};
use postgres::{Client, Row};
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use crate::backend::cancel::Canceller;
use crate::backend::sqlstate;
use crate::backend::transport::{Connector, Watch};
use crate::backend::values::{self, Encoded};
use crate::clock;
use crate::core::transaction::TransactionState;
use crate::core::value::{Column, Value};
use crate::error::PgFault;

/// Notices kept for one answer.
const NOTICES_MAX: usize = 100;
/// What is left of a result after its limit is read and dropped up to so much,
/// which spares the transaction a cancel; beyond it the statement is cancelled.
const SKIP_BYTES: usize = 64 << 20;
const SKIP_TIME: Duration = Duration::from_secs(1);

/// One SQL command and its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text, with `$1`, `$2`, … for parameters.
    pub sql: String,
    /// The parameters. Secrets: their Debug shows no content.
    pub parameters: Vec<Value>,
}

/// How much of one result is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes, by the estimate of [`Value::encoded_size`].
    pub max_bytes: usize,
    /// Stop keeping after so many rows and say `truncated`.
    pub max_rows: Option<u64>,
}

/// What one statement gave.
#[derive(Debug, Clone, Default)]
pub struct StatementResult {
    /// Its columns; empty for commands without a result.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
    /// Rows touched, out of the command tag.
    pub rows_affected: u64,
    /// PostgreSQL's command tag; empty for an empty statement.
    pub command_tag: String,
    /// `max_rows` cut the result.
    pub truncated: bool,
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum RunError {
    /// PostgreSQL refused or failed it; the session goes on.
    Fault(Box<PgFault>),
    /// The connection is gone. `sent` tells whether the statement may have run.
    Lost {
        /// PostgreSQL's last words.
        fault: Option<Box<PgFault>>,
        /// False: the statement was not executed.
        sent: bool,
    },
    /// A parameter does not fit; nothing ran.
    Parameter {
        /// From 1, as in `$1`; 0 if the number of parameters is wrong.
        index: usize,
        /// The rule.
        rule: String,
    },
    /// A value could not be understood; the statement ran.
    Undecodable {
        /// The column.
        column: String,
        /// Why.
        why: String,
    },
    /// The result passed `max_bytes`; the statement ran.
    TooLarge,
    /// Not possible this way; nothing ran.
    Unsupported(&'static str),
    /// Cancelled before it was sent, or ended by PostgreSQL in another way than
    /// was asked; the operation knows why.
    Interrupted,
}

/// A notice or warning of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// WARNING, NOTICE, …
    pub severity: String,
    /// Five characters.
    pub sqlstate: String,
    /// The text.
    pub message: String,
}

/// The notices of one backend since they were taken last. A leaf lock.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// Keeps a notice if there is room.
    pub fn push(&self, notice: &DbError) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < NOTICES_MAX {
            kept.push(Notice {
                severity: notice.severity().to_owned(),
                sqlstate: notice.code().code().to_owned(),
                message: notice.message().to_owned(),
            });
        }
    }

    fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A live backend. One of the two traits that tests may fake.
pub trait Backend: Send {
    /// Process id in PostgreSQL.
    fn pid(&self) -> i32;
    /// What its stream says; also breaks it off.
    fn watch(&self) -> &Arc<Watch>;
    /// How to cancel what it runs.
    fn canceller(&self) -> Option<Canceller>;
    /// True once the connection is known to be gone.
    fn is_closed(&mut self) -> bool;
    /// True if it works but must not serve another lease.
    fn is_poisoned(&self) -> bool;
    /// Runs one statement. `excess` is called at most once, when the rest of a
    /// result is too long to skip and the statement should be cancelled.
    ///
    /// After an error the transaction state is the true one.
    ///
    /// # Errors
    /// See [`RunError`].
    fn run(
        &mut self,
        statement: &Statement,
        limits: Limits,
        excess: &dyn Fn(),
    ) -> Result<StatementResult, RunError>;
    /// One round trip that changes nothing. False: it is gone.
    fn check(&mut self) -> bool;
    /// Rolls back and makes the session as new. False: it must be closed.
    fn reset(&mut self) -> bool;
    /// The notices since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;
}

/// A PostgreSQL backend behind the driver's client.
pub struct PgBackend {
    client: Client,
    driver: PostgresConnectionManager<Connector>,
    watch: Arc<Watch>,
    pid: i32,
    canceller: Canceller,
    notices: Notices,
    poisoned: bool,
}

impl PgBackend {
    /// A freshly opened backend.
    pub fn new(
        client: Client,
        driver: PostgresConnectionManager<Connector>,
        watch: Arc<Watch>,
        pid: i32,
        canceller: Canceller,
        notices: Notices,
    ) -> PgBackend {
        PgBackend {
            client,
            driver,
            watch,
            pid,
            canceller,
            notices,
            poisoned: false,
        }
    }

    /// After an error the driver returns before it has read ReadyForQuery; one
    /// round trip makes the transaction state true.
    fn fail(&mut self, error: &postgres::Error, sent: bool) -> RunError {
        let fault = fault_of(error).map(Box::new);
        let lost = match &fault {
            Some(fault) => {
                self.poisoned |= sqlstate::is_poison(&fault.sqlstate);
                sqlstate::is_connection_lost(&fault.sqlstate)
            }
            None => true,
        };
        if lost || self.client.check_connection().is_err() {
            self.poisoned = true;
            self.watch.abort_now();
            return RunError::Lost { fault, sent };
        }
        match fault {
            Some(fault) => RunError::Fault(fault),
            None => RunError::Lost { fault, sent },
        }
    }

    fn read(
        &mut self,
        prepared: &postgres::Statement,
        parameters: Vec<Bound<'_>>,
        limits: Limits,
        excess: &dyn Fn(),
    ) -> Result<StatementResult, RunError> {
        let mut result = StatementResult {
            columns: prepared.columns().iter().map(column).collect(),
            ..StatementResult::default()
        };
        let mut kept = Kept::new(limits);
        self.watch.forget_tag();
        let outcome = (|| {
            let mut rows = self.client.query_raw(prepared, parameters)?;
            while let Some(row) = rows.next()? {
                kept.take(&row, &result.columns, excess);
            }
            Ok(rows.rows_affected().unwrap_or(0))
        })();
        match outcome {
            Ok(touched) => result.rows_affected = touched,
            Err(error) => {
                let error = self.fail(&error, true);
                // Our own cancel of an excessive result is not PostgreSQL's fault.
                return match (&error, kept.problem) {
                    (RunError::Fault(fault), Some(problem))
                        if kept.asked && fault.sqlstate == sqlstate::QUERY_CANCELED =>
                    {
                        Err(problem)
                    }
                    _ => Err(error),
                };
            }
        }
        if let Some(problem) = kept.problem {
            return Err(problem);
        }
        result.rows = kept.rows;
        result.truncated = kept.truncated;
        result.command_tag = self.watch.tag().unwrap_or_default();
        self.poisoned |= matches!(
            result.command_tag.as_str(),
            "DISCARD ALL" | "DEALLOCATE ALL"
        );
        Ok(result)
    }
}

impl Backend for PgBackend {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    fn canceller(&self) -> Option<Canceller> {
        Some(self.canceller.clone())
    }

    fn is_closed(&mut self) -> bool {
        self.watch.is_aborted() || self.driver.has_broken(&mut self.client)
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    fn run(
        &mut self,
        statement: &Statement,
        limits: Limits,
        excess: &dyn Fn(),
    ) -> Result<StatementResult, RunError> {
        if first_keyword(&statement.sql).eq_ignore_ascii_case("copy") {
            // The driver would leave the connection in copy mode for ever.
            return Err(RunError::Unsupported(
                "COPY cannot run through Execute; use INSERT or SELECT",
            ));
        }
        if statement.sql.contains('\0') {
            return Err(RunError::Unsupported("sql must not contain a NUL character"));
        }
        let prepared = match self.client.prepare(&statement.sql) {
            Ok(prepared) => prepared,
            Err(error) => return Err(self.fail(&error, false)),
        };
        let parameters = bind(&prepared, &statement.parameters)?;
        self.read(&prepared, parameters, limits, excess)
    }

    fn check(&mut self) -> bool {
        self.client.check_connection().is_ok()
    }

    fn reset(&mut self) -> bool {
        if self.poisoned || self.is_closed() {
            return false;
        }
        let mut sql = String::new();
        // ROLLBACK outside a transaction would put a warning into the server's log.
        if self.watch.transaction().is_open() {
            sql.push_str("ROLLBACK; ");
        }
        sql.push_str(RESET);
        sql.push_str(&format!("SELECT pg_catalog.setseed({}); ", random_seed()));
        sql.push_str("SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql");
        let Ok(messages) = self.client.simple_query(&sql) else {
            return false;
        };
        let names = messages.iter().filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.try_get("name").ok().flatten(),
            _ => None,
        });
        let deallocate: String = names
            .map(|name| format!("DEALLOCATE \"{}\"; ", name.replace('"', "\"\"")))
            .collect();
        if !deallocate.is_empty() && self.client.batch_execute(&deallocate).is_err() {
            return false;
        }
        self.notices.take();
        self.watch.transaction() == TransactionState::None
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }
}

/// Makes a session as new, in one round trip. Functions are schema-qualified,
/// because a database may have a search_path of its own that shadows them.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; ";

/// A fresh seed, so that random() of one lease tells nothing about the next.
fn random_seed() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes the seed is 0, which still cuts off the old sequence.
    let _ = openssl::rand::rand_bytes(&mut bytes);
    f64::from(i32::from_be_bytes(bytes)) / 2_147_483_648.0
}

/// What of a result is kept, and what became too much.
struct Kept {
    limits: Limits,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    truncated: bool,
    problem: Option<RunError>,
    skipped: usize,
    skipping_since: Option<std::time::Instant>,
    asked: bool,
}

impl Kept {
    fn new(limits: Limits) -> Kept {
        Kept {
            limits,
            rows: Vec::new(),
            bytes: 0,
            truncated: false,
            problem: None,
            skipped: 0,
            skipping_since: None,
            asked: false,
        }
    }

    fn take(&mut self, row: &Row, columns: &[Column], excess: &dyn Fn()) {
        let full = self.limits.max_rows == Some(self.rows.len() as u64);
        if full {
            self.truncated = true;
        }
        if full || self.problem.is_some() {
            return self.skip(row, excess);
        }
        match decode(row, columns) {
            Ok(values) => {
                self.bytes += values.iter().map(Value::encoded_size).sum::<usize>() + 8;
                if self.bytes > self.limits.max_bytes {
                    self.rows = Vec::new();
                    self.problem = Some(RunError::TooLarge);
                } else {
                    self.rows.push(values);
                }
            }
            Err(problem) => {
                self.rows = Vec::new();
                self.problem = Some(problem);
            }
        }
    }

    fn skip(&mut self, row: &Row, excess: &dyn Fn()) {
        let now = clock::now();
        let since = *self.skipping_since.get_or_insert(now);
        self.skipped += row.raw_size_bytes();
        if !self.asked && (self.skipped > SKIP_BYTES || now - since > SKIP_TIME) {
            self.asked = true;
            self.rows = Vec::new();
            // A cut by max_rows that had to be cancelled is no clean result.
            self.problem.get_or_insert(RunError::TooLarge);
            excess();
        }
    }
}

/// Any value's binary bytes as they came.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> Result<Bytes<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Bytes(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A parameter in the form that fits its type.
#[derive(Debug)]
struct Bound<'a>(Encoded<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Encoded::Null => return Ok(IsNull::Yes),
            Encoded::Text(text) => out.extend_from_slice(text.as_bytes()),
            Encoded::Binary(bytes) => out.extend_from_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.0 {
            Encoded::Binary(_) => Format::Binary,
            Encoded::Null | Encoded::Text(_) => Format::Text,
        }
    }

    to_sql_checked!();
}

fn bind<'a>(
    prepared: &postgres::Statement,
    parameters: &'a [Value],
) -> Result<Vec<Bound<'a>>, RunError> {
    let types = prepared.params();
    if types.len() != parameters.len() {
        return Err(RunError::Parameter {
            index: 0,
            rule: format!(
                "the statement takes {} parameters, {} were given",
                types.len(),
                parameters.len()
            ),
        });
    }
    let pairs = parameters.iter().zip(types).enumerate();
    pairs
        .map(|(i, (value, kind))| {
            values::encode(value, kind.oid())
                .map(Bound)
                .map_err(|error| RunError::Parameter {
                    index: i + 1,
                    rule: error.to_string(),
                })
        })
        .collect()
}

fn column(column: &postgres::Column) -> Column {
    Column {
        name: column.name().to_owned(),
        type_oid: column.type_().oid(),
        type_name: column.type_().name().to_owned(),
        table_oid: column.table_oid().unwrap_or(0),
    }
}

fn decode(row: &Row, columns: &[Column]) -> Result<Vec<Value>, RunError> {
    let undecodable = |column: &Column, why: String| RunError::Undecodable {
        column: column.name.clone(),
        why,
    };
    let values = columns.iter().enumerate().map(|(i, column)| {
        let raw: Option<Bytes<'_>> = row
            .try_get(i)
            .map_err(|error| undecodable(column, error.to_string()))?;
        match raw {
            None => Ok(Value::Null),
            Some(Bytes(bytes)) => values::decode(column.type_oid, bytes)
                .map_err(|error| undecodable(column, error.to_string())),
        }
    });
    values.collect()
}

/// PostgreSQL's words in a driver error, if it has any.
pub(crate) fn fault_of(error: &postgres::Error) -> Option<PgFault> {
    let db = error.as_db_error()?;
    let own = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Some(PgFault {
        severity: db.severity().to_owned(),
        sqlstate: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: own(db.detail()),
        hint: own(db.hint()),
        position: match db.position() {
            Some(postgres::error::ErrorPosition::Original(position)) => *position,
            _ => 0,
        },
        schema: own(db.schema()),
        table: own(db.table()),
        column: own(db.column()),
        datatype: own(db.datatype()),
        constraint: own(db.constraint()),
        context: own(db.where_()),
    })
}

/// The first word of a statement, after white space, comments and opening
/// parentheses. Sound as a screen, because the extended protocol takes exactly
/// one command.
pub fn first_keyword(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic());
            return rest.split_at(end.unwrap_or(rest.len())).0;
        }
    }
}

/// Block comments nest in PostgreSQL.
fn after_comment(text: &str) -> &str {
    let mut depth = 0usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(outer) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = outer;
            if depth == 0 {
                return rest;
            }
        } else {
            let mut characters = rest.chars();
            characters.next();
            rest = characters.as_str();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::first_keyword;

    #[test]
    fn the_first_keyword_is_found_behind_comments() {
        for (sql, word) in [
            ("COMMIT", "COMMIT"),
            ("  \n-- a\n /* b /* c */ d */copy x from stdin", "copy"),
            ("(select 1)", "select"),
            (";;end;", "end"),
            ("", ""),
            ("/* open", ""),
            ("-- only", ""),
            ("/*ä*/ Commit/**/work", "Commit"),
        ] {
            assert_eq!(first_keyword(sql), word, "{sql}");
        }
    }
}
