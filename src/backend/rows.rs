//! Parameters into the driver and rows out of it.

use std::time::Duration;

use bytes::BytesMut;
use postgres::types::{to_sql_checked, Format, FromSql, IsNull, Kind, ToSql, Type};
use postgres::Row;

use crate::backend::session::{Limits, RunError};
use crate::backend::values::{self, Encoded, Shape};
use crate::clock;
use crate::core::value::{Column, Value};

/// What is left of a result after its limit is read and dropped up to so much,
/// which spares the transaction a cancel; beyond it the statement is cancelled.
const SKIP_BYTES: usize = 64 << 20;
const SKIP_TIME: Duration = Duration::from_secs(1);

/// What of a result is kept, and what became too much.
pub(super) struct Kept {
    limits: Limits,
    pub(super) rows: Vec<Vec<Value>>,
    bytes: usize,
    pub(super) truncated: bool,
    pub(super) problem: Option<RunError>,
    skipped: usize,
    skipping_since: Option<std::time::Instant>,
    pub(super) asked: bool,
}

impl Kept {
    pub(super) fn new(limits: Limits) -> Kept {
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

    pub(super) fn take(&mut self, row: &Row, shapes: &[Shape], excess: &dyn Fn()) {
        let full = self.limits.max_rows == Some(self.rows.len() as u64);
        if full {
            self.truncated = true;
        }
        if full || self.problem.is_some() {
            return self.skip(row, excess);
        }
        match decode(row, shapes) {
            Ok(values) => {
                self.bytes += values.iter().map(Value::encoded_size).sum::<usize>() + 8;
                if self.bytes > self.limits.max_bytes {
                    self.rows = Vec::new();
                    self.problem = Some(RunError::TooLarge { completed: true });
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
            self.problem.get_or_insert(RunError::TooLarge { completed: true });
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
pub(super) struct Bound<'a>(Encoded<'a>);

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

pub(super) fn bind<'a>(
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
            values::encode(value, &shape(kind))
                .map(Bound)
                .map_err(|error| RunError::Parameter { index: i + 1, rule: error.to_string() })
        })
        .collect()
}

pub(super) fn column(column: &postgres::Column) -> Column {
    Column {
        name: column.name().to_owned(),
        type_oid: column.type_().oid(),
        type_name: column.type_().name().to_owned(),
        table_oid: column.table_oid().unwrap_or(0),
    }
}

/// What a type of the driver is to us.
pub(super) fn shape(kind: &Type) -> Shape {
    match kind.kind() {
        Kind::Array(element) => Shape::Array(Box::new(shape(element))),
        Kind::Domain(base) => shape(base),
        Kind::Enum(_) => Shape::Enum(kind.oid()),
        _ => Shape::Scalar(kind.oid()),
    }
}

/// The shapes of a statement's columns.
pub(super) fn shapes(prepared: &postgres::Statement) -> Vec<Shape> {
    prepared.columns().iter().map(|column| shape(column.type_())).collect()
}

fn decode(row: &Row, shapes: &[Shape]) -> Result<Vec<Value>, RunError> {
    let values = shapes.iter().enumerate().map(|(i, shape)| {
        let raw: Result<Option<Bytes<'_>>, _> = row.try_get(i);
        let decoded = match raw {
            Ok(None) => Ok(Value::Null),
            Ok(Some(Bytes(bytes))) => values::decode(shape, bytes).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        decoded.map_err(|why| {
            let column = row.columns().get(i).map_or("", postgres::Column::name);
            RunError::Undecodable { column: column.to_owned(), why }
        })
    });
    values.collect()
}
