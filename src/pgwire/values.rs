//! PostgreSQL's value formats: its binary results in, parameters out.
//!
//! Types that would lose information as a number or a string are rendered as PostgreSQL's
//! own `::text` renders them, in UTC, with ISO dates and `IntervalStyle` postgres, so a
//! client sees what psql would show it.
//!
//! Architecture Invariant: nothing here knows a connection or a driver.

use std::fmt;

use crate::core::value::Value;

mod meter;
mod parameter;
mod shape;
mod view;

mod elements;

mod array;
mod network;

mod bits;
mod digits;
mod numeric;

mod datetime;

mod interval;

pub use digits::Digits;
pub use elements::Elements;
pub use meter::{Meter, Stop};
pub use parameter::{encode, Encoded};
pub use shape::Shape;
pub use view::{view, View};

/// Bytes that are not what the announced type promises.
///
/// It carries no content, so it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// The PostgreSQL name of the type.
    pub type_name: &'static str,
    /// What is wrong with the bytes.
    pub why: &'static str,
}

/// Decodes a non-null value from PostgreSQL's binary format.
///
/// A type this service does not interpret becomes [`Value::Raw`]. The meter counts by
/// [`Value::encoded_size`].
///
/// # Errors
///
/// The bytes do not follow the binary format of the type, or the meter says stop.
pub fn decode(shape: &Shape, bytes: &[u8], meter: &mut Meter<'_>) -> Result<Value, Stop> {
    let view = view(shape, bytes)?;
    if let View::Array(elements) = view {
        return elements.decoded(meter).map(Value::Array);
    }
    // Counted before the value is built.
    meter.add(view.encoded_size())?;
    Ok(match view {
        View::Bool(v) => Value::Bool(v),
        View::Int(v) => Value::Int(v),
        View::Double(v) => Value::Double(v),
        View::Text(text) => Value::Text(text.into_owned()),
        View::Digits(digits) => Value::Text(digits.text()),
        View::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        View::Raw { oid, bytes } => Value::Raw { oid, bytes: bytes.to_vec() },
        View::Array(_) => Value::Null,
    })
}

impl DecodeError {
    fn new(type_name: &'static str, why: &'static str) -> Self {
        DecodeError { type_name, why }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}: {}", self.type_name, self.why)
    }
}

impl std::error::Error for DecodeError {}

/// The bytes as an array, or the error every type of a fixed size shares.
fn fixed<const N: usize>(type_name: &'static str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::new(type_name, "wrong length"))
}

/// The OIDs of `pg_type.dat`, which are fixed for built-in types.
mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const XID: u32 = 28;
    pub const CID: u32 = 29;
    pub const JSON: u32 = 114;
    pub const XML: u32 = 142;
    pub const CIDR: u32 = 650;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const MACADDR8: u32 = 774;
    pub const MACADDR: u32 = 829;
    pub const INET: u32 = 869;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const TIMETZ: u32 = 1266;
    pub const BIT: u32 = 1560;
    pub const VARBIT: u32 = 1562;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const PG_LSN: u32 = 3220;
    pub const JSONB: u32 = 3802;
}

#[cfg(test)]
fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[cfg(test)]
mod tests;
