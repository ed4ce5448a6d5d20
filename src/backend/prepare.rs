//! Statements are prepared, and types looked up for that.
//!
//! The driver asks PostgreSQL's catalogue about types that are not built in, and keeps
//! what it learns. Whoever may create types decides how much that is.

use crate::backend::bundle::{Bundling, LOOKUPS_MAX};
use crate::backend::frames::ANSWER_MAX;
use crate::backend::pg::PgBackend;
use crate::backend::rows::{is_too_deep, LEVELS_MAX};
use crate::backend::session::{RunError, Sent};
use crate::backend::sqlstate;
use crate::error::PgFault;

/// What the driver has learnt of types, or failed to.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// Statements that the driver has prepared and forgotten.
    forgotten: usize,
    /// Look-ups since it knew no type.
    lookups: usize,
    /// And bytes of what they found: the labels of enums are kept.
    bytes: usize,
}

/// A type whose look-up fails again and again must not fill PostgreSQL's memory: a
/// backend with more forgotten statements than this is closed after its lease.
const FORGOTTEN_MAX: usize = 32;

impl PgBackend {
    /// Prepares a statement of the user's, whatever types that takes.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<postgres::Statement, RunError> {
        // A type holds those inside it, however deep they are by now, and a kept
        // statement its types.
        if self.types.lookups > LOOKUPS_MAX || self.types.bytes > ANSWER_MAX {
            self.forget_types();
        }
        self.watch.start_prepare();
        self.bundles.set(Bundling::Lookups);
        let prepared = self.client.prepare(sql);
        let lookups = self.bundles.lookups();
        self.bundles.set(Bundling::None);
        self.types.lookups += lookups;
        if lookups > 0 {
            self.types.bytes += self.watch.answered();
        }
        match prepared {
            Ok(prepared) => {
                let columns = prepared.columns().iter().map(postgres::Column::type_);
                if columns.chain(prepared.params()).any(is_too_deep) {
                    return Err(too_complex(format!("more than {LEVELS_MAX} levels of types")));
                }
                Ok(prepared)
            }
            Err(error) if self.watch.has_described() => Err(self.lookup_failed(&error, lookups)),
            Err(error) => Err(self.fail(&error, Sent::Nothing)),
        }
    }

    /// Types are looked up anew from now on.
    pub(super) fn forget_types(&mut self) {
        self.client.clear_type_cache();
        self.statements.clear();
        (self.types.lookups, self.types.bytes) = (0, 0);
    }

    /// PostgreSQL has understood the statement, but the driver's own questions
    /// after types that it does not know have failed.
    fn lookup_failed(&mut self, error: &postgres::Error, lookups: usize) -> RunError {
        // The statement itself stays prepared, without anybody to close it.
        self.types.forgotten += 1;
        self.poisoned |= self.types.forgotten > FORGOTTEN_MAX;
        self.watch.start_question();
        // No error of PostgreSQL, but an answer without a row.
        if error.as_db_error().is_none() && self.client.check_connection().is_ok() {
            if lookups > LOOKUPS_MAX {
                return too_complex(format!("more than {LOOKUPS_MAX} look-ups of types"));
            }
            return RunError::Lookup(Box::new(PgFault {
                severity: "ERROR".to_owned(),
                sqlstate: "42704".to_owned(),
                message: "the type is not in pg_catalog.pg_type".to_owned(),
                ..PgFault::default()
            }));
        }
        match self.fail(error, Sent::Nothing) {
            RunError::Fault(fault) => RunError::Lookup(fault),
            other => other,
        }
    }
}

/// The error for a statement whose types are beyond what is looked up.
fn too_complex(what: String) -> RunError {
    RunError::Lookup(Box::new(PgFault {
        severity: "ERROR".to_owned(),
        sqlstate: sqlstate::TOO_COMPLEX.to_owned(),
        message: format!("the statement needs {what}"),
        ..PgFault::default()
    }))
}
