//! A prepared statement.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::session::RunError;
use crate::core::value::{Column, Value, RESULT_BYTES, ROW_BYTES};
use crate::pgwire::values::{self, Encoded, Shape};

/// Names of statements that PostgreSQL may deallocate. A leaf lock.
#[derive(Clone, Default)]
pub(super) struct Closing(Arc<Mutex<Vec<String>>>);

impl Closing {
    /// Takes the names.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts names back that were taken.
    pub(super) fn put_back(&self, names: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    fn push(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

/// The name of a statement in PostgreSQL. Its drop schedules the Close.
pub(super) struct Name {
    name: String,
    closing: Closing,
}

impl Name {
    /// A name; empty for a statement that is not cached.
    pub(super) fn new(name: String, closing: &Closing) -> Name {
        Name { name, closing: closing.clone() }
    }

    /// As PostgreSQL knows it.
    pub(super) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            self.closing.push(std::mem::take(&mut self.name));
        }
    }
}

/// Bytes of the last answer to a statement.
pub(super) struct AnswerSize(AtomicUsize);

impl Default for AnswerSize {
    fn default() -> AnswerSize {
        AnswerSize(AtomicUsize::new(usize::MAX))
    }
}

/// A statement that PostgreSQL has prepared.
pub(super) struct Prepared {
    pub(super) name: Name,
    pub(super) parameters: Vec<Shape>,
    /// It returns rows, perhaps without columns.
    pub(super) returns_rows: bool,
    /// The columns of its rows.
    pub(super) columns: Vec<Column>,
    /// The shapes of the columns.
    pub(super) shapes: Vec<Shape>,
    /// Which columns are sent as text.
    pub(super) texts: Vec<bool>,
    /// A command that is parsed and run in one write.
    pub(super) is_command: bool,
    pub(super) answered: AnswerSize,
}

impl Prepared {
    /// A command without parameters and columns, not prepared yet.
    pub(super) fn command(closing: &Closing) -> Prepared {
        Prepared {
            name: Name::new(String::new(), closing),
            parameters: Vec::new(),
            returns_rows: false,
            columns: Vec::new(),
            shapes: Vec::new(),
            texts: Vec::new(),
            is_command: true,
            answered: AnswerSize::default(),
        }
    }

    /// The most bytes of a result of so many rows; `None` if a row may be of any size.
    pub(super) fn most_bytes(&self, rows: u64) -> Option<usize> {
        let values = self.shapes.iter().map(Shape::most_encoded);
        let row: usize = values.sum::<Option<usize>>()?.checked_add(ROW_BYTES)?;
        let columns: usize = self.columns.iter().map(Column::encoded_size).sum();
        let rows = usize::try_from(rows).ok()?.checked_mul(row)?;
        rows.checked_add(columns)?.checked_add(RESULT_BYTES)
    }

    /// Approximate bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let named = |column: &Column| column.name.len() + column.type_name.len();
        let each = size_of::<Column>() + 2 * size_of::<Shape>();
        let shapes = self.columns.len() * each + self.parameters.len() * 2 * size_of::<Shape>();
        size_of::<Prepared>() + shapes + self.columns.iter().map(named).sum::<usize>()
    }

    /// Bytes of its last answer; very many if it has not run yet.
    pub(super) fn answered(&self) -> usize {
        self.answered.0.load(Ordering::Relaxed)
    }

    /// Its last answer had so many bytes.
    pub(super) fn has_answered(&self, bytes: usize) {
        self.answered.0.store(bytes, Ordering::Relaxed);
    }

    /// Its name in PostgreSQL; empty for the unnamed statement.
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The parameters in the form that fits their types.
    pub(super) fn encode<'a>(&self, values: &'a [Value]) -> Result<Vec<Encoded<'a>>, RunError> {
        if self.parameters.len() != values.len() {
            return Err(RunError::Parameter {
                index: 0,
                rule: format!(
                    "the statement takes {} parameter{}, {} given",
                    self.parameters.len(),
                    if self.parameters.len() == 1 { "" } else { "s" },
                    values.len()
                ),
            });
        }
        let pairs = values.iter().zip(&self.parameters).enumerate();
        pairs
            .map(|(i, (value, shape))| {
                values::encode(value, shape)
                    .map_err(|error| RunError::Parameter { index: i + 1, rule: error.to_string() })
            })
            .collect()
    }
}
