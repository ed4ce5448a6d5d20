//! The PostgreSQL form of a backend: the only code that knows how bytes reach
//! the server.

use std::sync::Arc;

use postgres::error::{DbError, Severity};
use postgres::fallible_iterator::FallibleIterator;
use postgres::Client;
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use crate::backend::cancel::Canceller;
use crate::backend::keyword::first_keyword;
use crate::backend::rows::{bind, column, shapes, Bound, DriverRow};
use crate::backend::session::{Backend, Done, Notice, Notices, Rows, RunError, Statement};
use crate::backend::sqlstate;
use crate::backend::transport::{Connector, Watch};
use crate::core::transaction::TransactionState;
use crate::error::PgFault;

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
        PgBackend { client, driver, watch, pid, canceller, notices, poisoned: false }
    }

    /// Nobody takes notifications yet, and the driver would keep them for ever.
    fn drop_notifications(&mut self) {
        let mut notifications = self.client.notifications();
        let mut queued = notifications.iter();
        while let Ok(Some(_)) = queued.next() {}
    }

    /// After an error the driver returns before it has read ReadyForQuery; one
    /// round trip makes the transaction state true.
    fn fail(&mut self, error: &postgres::Error, sent: bool) -> RunError {
        let fault = fault_of(error).or_else(|| self.watch.last_words()).map(Box::new);
        if let Some(fault) = &fault {
            self.poisoned |= sqlstate::is_poison(&fault.sqlstate);
        }
        // The severity tells whether the server hangs up, not the SQLSTATE: a
        // foreign server's lost connection is a plain error of this statement.
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        let lost = !matches!(severity, Some(Severity::Error));
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
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let shapes = shapes(prepared);
        rows.head(prepared.columns().iter().map(column).collect());
        self.watch.start_statement();
        let notices = &self.notices;
        let outcome = (|| {
            let mut coming = self.client.query_raw(prepared, parameters)?;
            while let Some(row) = coming.next()? {
                rows.notices(notices);
                rows.row(&shapes, &DriverRow(row));
            }
            Ok(coming.rows_affected().unwrap_or(0))
        })();
        let rows_affected = outcome.map_err(|error| self.fail(&error, true))?;
        let command_tag = self.watch.tag().unwrap_or_default();
        self.poisoned |= matches!(command_tag.as_str(), "DISCARD ALL" | "DEALLOCATE ALL");
        Ok(Done { rows_affected, command_tag })
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

    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError> {
        if first_keyword(&statement.sql) == "COPY" {
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
        let result = self.read(&prepared, parameters, rows);
        self.drop_notifications();
        result
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
        sql.push_str("SELECT name, from_sql FROM pg_catalog.pg_prepared_statements");
        let Ok(messages) = self.client.simple_query(&sql) else {
            return false;
        };
        let mut deallocate = String::new();
        let mut own = 0;
        for message in &messages {
            // Only the last query has these two columns.
            let postgres::SimpleQueryMessage::Row(row) = message else { continue };
            let (Ok(name), Ok(from_sql)) = (row.try_get("name"), row.try_get("from_sql")) else {
                continue;
            };
            match (name, from_sql) {
                (Some(name), Some("t")) => {
                    let name = name.replace('"', "\"\"");
                    deallocate.push_str(&format!("DEALLOCATE \"{name}\"; "));
                }
                _ => own += 1,
            }
        }
        // The driver keeps its look-ups of types. A DEALLOCATE has taken some away.
        if own != self.watch.prepared() {
            return false;
        }
        if !deallocate.is_empty() && self.client.batch_execute(&deallocate).is_err() {
            return false;
        }
        self.notices.take();
        self.drop_notifications();
        self.watch.transaction() == TransactionState::None
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }
}

/// Makes a session as new, in one round trip. Functions are schema-qualified,
/// because a database may have a search_path of its own that shadows them. Plans
/// that functions keep hold constants as a former lease's TimeZone read them.
const RESET: &str =
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; DISCARD PLANS; \
     UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; ";

/// A fresh seed, so that random() of one lease tells nothing about the next.
fn random_seed() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes the seed is 0, which still cuts off the old sequence.
    let _ = openssl::rand::rand_bytes(&mut bytes);
    f64::from(i32::from_be_bytes(bytes)) / 2_147_483_648.0
}

/// Errors travel in gRPC's trailers, several times over, and clients take 8 KiB of
/// those; notices must not outgrow the results. So long texts are cut.
const MESSAGE_BYTES: usize = 1024;
const DETAIL_BYTES: usize = 512;

/// At most so many bytes of a text, marked where it was cut.
fn cut(text: &str, bytes: usize) -> String {
    let mut end = bytes;
    while !text.is_char_boundary(end.min(text.len())) {
        end -= 1;
    }
    match text.get(..end) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// A notice in our words.
pub(super) fn notice_of(notice: &DbError) -> Notice {
    Notice {
        severity: notice.severity().to_owned(),
        sqlstate: notice.code().code().to_owned(),
        message: cut(notice.message(), MESSAGE_BYTES),
    }
}

/// PostgreSQL's words in a driver error, if it has any.
pub(crate) fn fault_of(error: &postgres::Error) -> Option<PgFault> {
    let db = error.as_db_error()?;
    let own = |text: Option<&str>| cut(text.unwrap_or_default(), DETAIL_BYTES);
    Some(PgFault {
        severity: db.severity().to_owned(),
        sqlstate: db.code().code().to_owned(),
        message: cut(db.message(), MESSAGE_BYTES),
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

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "longe…");
        assert_eq!(cut("aäb", 2), "a…");
        assert_eq!(cut("", 3), "");
    }
}
