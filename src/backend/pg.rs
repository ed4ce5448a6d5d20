//! The PostgreSQL form of a backend: the only code that knows how bytes reach
//! the server.

use std::sync::Arc;
use std::time::Duration;

use postgres::error::{DbError, Severity};
use postgres::fallible_iterator::FallibleIterator;
use postgres::Client;
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use crate::backend::aim::Aim;
use crate::backend::bundle::Bundling;
use crate::backend::bundled::Bundles;
use crate::backend::cancel::Canceller;
use crate::backend::copy::{direction, Direction, Sink, Source};
use crate::backend::fault::fault_of;
use crate::backend::handshake::Connector;
use crate::backend::keyword::{can_be_left, first_keyword};
use crate::backend::listen::Heard;
use crate::backend::prepare::Types;
use crate::backend::rows::{bind, column, each, shapes, Bound};
use crate::backend::session::{Backend, Done, Notice, Notices, Rows, RunError, Sent, Statement};
use crate::backend::sqlstate;
use crate::backend::statements::Statements;
use crate::backend::transport::Watch;
use crate::clock;
use crate::config::dsn::TargetSession;
use crate::core::channels::Change;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::core::transaction::TransactionState;
use crate::error::PgFault;
use crate::logging;

/// A PostgreSQL backend behind the driver's client.
pub struct PgBackend {
    pub(super) client: Client,
    driver: PostgresConnectionManager<Connector>,
    pub(super) watch: Arc<Watch>,
    pid: i32,
    tenant: TenantId,
    canceller: Canceller,
    pub(super) notices: Notices,
    pub(super) bundles: Bundles,
    aim: Aim,
    pub(super) statements: Statements<postgres::Statement>,
    pub(super) poisoned: bool,
    pub(super) types: Types,
}

/// What a backend is made of besides its connection.
pub struct Equipment {
    /// Whose it is, for the log.
    pub tenant: TenantId,
    /// How to cancel what it runs.
    pub canceller: Canceller,
    /// Where its notices go.
    pub notices: Notices,
    /// How its stream is told what to bundle.
    pub(super) bundles: Bundles,
    /// What its server must be.
    pub aim: Aim,
    /// Prepared statements that it keeps.
    pub statement_cache: usize,
}

impl PgBackend {
    /// A freshly opened backend.
    pub fn new(
        client: Client,
        driver: PostgresConnectionManager<Connector>,
        watch: Arc<Watch>,
        pid: i32,
        equipment: Equipment,
    ) -> PgBackend {
        let Equipment { tenant, canceller, notices, bundles, aim, statement_cache } = equipment;
        let statements = Statements::new(statement_cache);
        PgBackend {
            client,
            driver,
            watch,
            pid,
            tenant,
            canceller,
            notices,
            bundles,
            aim,
            statements,
            poisoned: false,
            types: Types::default(),
        }
    }

    /// Whether it is the tenant's listener: nobody else takes notifications.
    fn take_notifications(&self, hears: bool) {
        self.bundles.hear(hears);
        self.watch.hear(hears);
    }

    /// What the tenant's listener has heard last; the driver would keep it for ever.
    fn drop_notifications(&mut self) {
        let mut notifications = self.client.notifications();
        let mut queued = notifications.iter();
        while let Ok(Some(_)) = queued.next() {}
    }

    /// After an error the driver returns before it has read ReadyForQuery; one
    /// round trip makes the transaction state true.
    pub(super) fn fail(&mut self, error: &postgres::Error, sent: Sent) -> RunError {
        let fault = fault_of(error).map(Box::new);
        // The severity tells whether the server hangs up, not the SQLSTATE: a
        // foreign server's lost connection is a plain error of this statement.
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        let lost = !matches!(severity, Some(Severity::Error));
        self.watch.start_question();
        if lost || self.client.check_connection().is_err() {
            return self.lost(fault, sent);
        }
        match fault {
            Some(fault) => self.faulted(fault),
            None => RunError::Lost { fault, sent, excess: None },
        }
    }

    /// The connection is no longer what it was.
    pub(super) fn lost(&mut self, fault: Option<Box<PgFault>>, sent: Sent) -> RunError {
        self.poisoned = true;
        self.watch.abort_now();
        let fault = fault.or_else(|| self.watch.last_words().map(Box::new));
        let excess = self.watch.excess();
        if let Some(excess) = excess {
            let (pid, error) = (self.pid, excess.to_string());
            if let Some(repeated) = logging::admits_state("backend_excess", &self.tenant, "") {
                let (tenant, error) = (&self.tenant, Quoted(&error));
                log::warn!(
                    "event=backend_excess tenant={tenant} pid={pid} error={error}{repeated}"
                );
            }
        }
        RunError::Lost { fault, sent, excess }
    }

    /// PostgreSQL says no, and goes on.
    pub(super) fn faulted(&mut self, fault: Box<PgFault>) -> RunError {
        self.poisoned |= sqlstate::is_poison(&fault.sqlstate);
        // It serves its holder on, and nobody after.
        self.poisoned |= self.aim.is_doubted_by(&fault.sqlstate);
        RunError::Fault(fault)
    }

    fn read(
        &mut self,
        prepared: &postgres::Statement,
        parameters: Vec<Bound<'_>>,
        limit: Option<u32>,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let shapes = shapes(prepared);
        let was_foreign = self.watch.has_foreign_encoding();
        self.watch.start_statement();
        // One more tells that there are more.
        self.watch.limit_rows(limit.map(|limit| limit.saturating_add(1)));
        let notices = &self.notices;
        self.bundles.set(Bundling::rows(shapes.len()));
        let outcome = (|| {
            let mut coming = self.client.query_raw(prepared, parameters).map_err(Some)?;
            rows.head(prepared.columns().iter().map(column).collect());
            while let Some(bundle) = coming.next().map_err(Some)? {
                rows.notices(notices);
                each(&bundle, &shapes, rows).ok_or(None)?;
            }
            Ok(coming.rows_affected())
        })();
        self.bundles.set(Bundling::None);
        self.watch.limit_rows(None);
        let rows_affected = match outcome {
            Ok(rows_affected) => rows_affected,
            Err(Some(error)) => return Err(self.fail(&error, Sent::Whole)),
            // The driver would have broken off too.
            Err(None) => return Err(self.lost(None, Sent::Whole)),
        };
        if !was_foreign && self.watch.has_foreign_encoding() && !shapes.is_empty() {
            // From where on it was another one is not to be told.
            return Err(RunError::Undecodable {
                column: prepared.columns().first().map_or("", |column| column.name()).to_owned(),
                why: "the statement has changed client_encoding, which must be UTF8".to_owned(),
                completed: true,
            });
        }
        let command_tag = match (self.watch.tag(), limit) {
            (Some(tag), _) => tag,
            // PostgreSQL has no last word on a query that it was not asked to end.
            (None, Some(limit)) => format!("SELECT {limit}"),
            (None, None) => String::new(),
        };
        let rows_affected = rows_affected.or(limit.map(u64::from)).unwrap_or(0);
        self.poisoned |= matches!(command_tag.as_str(), "DISCARD ALL" | "DEALLOCATE ALL");
        Ok(Done { rows_affected, command_tag, cached: false })
    }

    /// Runs a command of the user's, and keeps the books.
    fn speak(
        &mut self,
        sql: &str,
        run: impl FnOnce(&mut PgBackend) -> Result<Done, RunError>,
    ) -> Result<Done, RunError> {
        if sql.contains('\0') {
            return Err(RunError::Unsupported("sql must not contain a NUL character"));
        }
        if self.watch.has_foreign_encoding() && !leaves_encoding(sql) {
            return Err(RunError::Unsupported(
                "the session's client_encoding must be UTF8; RESET client_encoding first",
            ));
        }
        let result = run(self);
        let in_transaction = self.watch.transaction().is_open();
        self.statements.ran(sql, in_transaction);
        self.drop_notifications();
        result
    }

    /// True if a kept statement failed before it ran, because it is not there.
    fn is_gone(&self, fault: &PgFault) -> bool {
        fault.sqlstate == sqlstate::NO_SUCH_STATEMENT && !self.watch.has_bound()
    }

    /// True if a kept statement failed before it ran, because its result has other
    /// columns by now. A statement of the user's that a function runs fails alike.
    fn is_stale(&self, fault: &PgFault) -> bool {
        let stale = fault.sqlstate == "0A000" && fault.routine == "RevalidateCachedQuery";
        stale && !self.watch.has_bound()
    }

    /// Runs a statement, prepared before if it was kept.
    fn run_prepared(
        &mut self,
        statement: &Statement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let sql = &statement.sql;
        let idle = self.watch.transaction() == TransactionState::None;
        let limit = rows.limit().and_then(|limit| u32::try_from(limit).ok());
        let limit = limit.filter(|limit| *limit < LIMIT_MAX && can_be_left(sql));
        let Some(kept) = self.statements.get(sql, self.watch.settings(), clock::now()) else {
            return self.run_anew(statement, limit, rows);
        };
        let parameters = bind(&kept, &statement.parameters)?;
        match self.read(&kept, parameters, limit, rows) {
            Ok(done) => return Ok(Done { cached: true, ..done }),
            // PostgreSQL saw that its result would look otherwise by now, before it
            // ran. Inside a transaction it is too late: the error has failed that.
            Err(RunError::Fault(fault)) if idle && self.is_stale(&fault) => {
                self.statements.forget(sql);
            }
            Err(RunError::Fault(fault)) if self.is_gone(&fault) => {
                // It will not have been the only one.
                self.statements.clear();
                if !idle {
                    return Err(RunError::Lookup(fault));
                }
            }
            Err(error) => {
                // It may be the cause; the next one is prepared anew.
                self.statements.forget(sql);
                return Err(error);
            }
        }
        self.run_anew(statement, limit, rows)
    }

    /// Runs a statement that was not prepared before.
    fn run_anew(
        &mut self,
        statement: &Statement,
        limit: Option<u32>,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let prepared = self.prepare(&statement.sql)?;
        self.statements.keep(&statement.sql, &prepared, clock::now());
        let parameters = bind(&prepared, &statement.parameters)?;
        self.read(&prepared, parameters, limit, rows)
    }
}

/// The protocol has a signed number for a row limit.
const LIMIT_MAX: u32 = i32::MAX as u32;

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

    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError> {
        // The driver would leave the connection in copy mode for ever.
        match direction(&statement.sql) {
            Some(Direction::In) => {
                return Err(RunError::Unsupported("COPY FROM STDIN runs through CopyIn only"))
            }
            Some(Direction::Out) => {
                return Err(RunError::Unsupported("COPY TO STDOUT runs through CopyOut only"))
            }
            Some(Direction::Server) | None => {}
        }
        self.speak(&statement.sql, |backend| backend.run_prepared(statement, rows))
    }

    fn copy_in(&mut self, sql: &str, source: &mut dyn Source) -> Result<Done, RunError> {
        self.speak(sql, |backend| backend.run_copy_in(sql, source))
    }

    fn copy_out(&mut self, sql: &str, sink: &mut dyn Sink) -> Result<Done, RunError> {
        self.speak(sql, |backend| backend.run_copy_out(sql, sink))
    }

    fn listen(&mut self, change: &Change) -> Result<(), RunError> {
        self.take_notifications(true);
        self.watch.start_question();
        self.change_channels(change)
    }

    fn hear(&mut self, limit: Duration) -> Result<Heard, RunError> {
        self.wait_for_notification(limit)
    }

    fn is_doubtful(&self) -> bool {
        self.aim.is_doubtful()
    }

    fn check(&mut self) -> bool {
        self.watch.start_question();
        match self.aim.wanted() {
            TargetSession::Any => self.client.check_connection().is_ok(),
            _ => self.aim.is_met(&mut self.client),
        }
    }

    fn reset(&mut self) -> bool {
        if self.poisoned || self.is_closed() {
            return false;
        }
        self.take_notifications(false);
        self.watch.start_question();
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
        // A search_path can shadow the operators of the driver's look-ups, and what
        // they say is kept.
        if self.statements.session_reset() {
            self.forget_types();
        }
        self.notices.take();
        self.drop_notifications();
        self.watch.transaction() == TransactionState::None
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }
}

/// What can bring a session back to UTF8, and has no text but its own.
fn leaves_encoding(sql: &str) -> bool {
    matches!(
        first_keyword(sql).as_str(),
        "SET" | "RESET" | "DISCARD" | "ROLLBACK" | "ABORT" | "COMMIT" | "END"
    )
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
