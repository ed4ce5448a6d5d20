//! Parameters into the driver and rows out of it.

use bytes::BytesMut;
use postgres::types::{to_sql_checked, Format, FromSql, IsNull, Kind, ToSql, Type};
use postgres::Row;

use crate::backend::bundle::{too_long, unbundle};
use crate::backend::raw_row::RawRow;
use crate::backend::session::{Rows, RunError};
use crate::backend::values::{self, Encoded, Shape};
use crate::core::value::{Column, Value};

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
                "the statement takes {} parameter{}, {} given",
                types.len(),
                if types.len() == 1 { "" } else { "s" },
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
        Kind::Array(element) if matches!(*kind, Type::INT2_VECTOR | Type::OID_VECTOR) => {
            Shape::Vector(Box::new(shape(element)))
        }
        Kind::Array(element) => Shape::Array(Box::new(shape(element))),
        Kind::Domain(base) => shape(base),
        Kind::Enum(_) => Shape::Enum(kind.oid()),
        _ => Shape::Scalar(kind.oid()),
    }
}

/// Whether a value of this type can be an array of arrays of … deeper than anybody's:
/// values are decoded by functions that call themselves. By domains a type can be as
/// deep as one likes.
pub(super) fn is_too_deep(mut kind: &Type) -> bool {
    for _ in 0..LEVELS_MAX {
        match kind.kind() {
            Kind::Array(inner) | Kind::Domain(inner) | Kind::Range(inner) => kind = inner,
            _ => return false,
        }
    }
    true
}

/// Types inside each other. Messages nest no deeper than 100 for most clients, and an
/// array takes two of those.
pub(super) const LEVELS_MAX: usize = 64;

/// The shapes of a statement's columns.
pub(super) fn shapes(prepared: &postgres::Statement) -> Vec<Shape> {
    prepared.columns().iter().map(|column| shape(column.type_())).collect()
}

/// Hands over each row of a bundle. `None`: they are not what PostgreSQL sends.
pub(super) fn each(bundle: &Row, shapes: &[Shape], rows: &mut dyn Rows) -> Option<()> {
    let columns = bundle.len();
    let Some(last) = columns.checked_sub(1) else {
        // Rows without a column are not bundled.
        rows.row(shapes, &RawRow::read(&[0, 0], 0)?);
        return Some(());
    };
    let Bytes(bundle) = bundle.try_get(last).ok()?;
    if let Some(length) = too_long(bundle) {
        rows.too_long(length);
    }
    let mut apart = unbundle(bundle);
    apart.try_for_each(|body| RawRow::read(body, columns).map(|row| rows.row(shapes, &row)))
}
