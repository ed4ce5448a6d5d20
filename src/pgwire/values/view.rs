//! Values that borrow from the buffer.

use std::borrow::Cow;

use super::bits::Bits;
use super::numeric::Numeric;
use super::{datetime, fixed, interval, network, oid};
use super::{DecodeError, Digits, Elements, Shape};
use crate::core::value::{FRAMING_BYTES, VARINT_BYTES};

/// A value that borrows its content, so that nothing large is built.
#[derive(Debug)]
pub enum View<'a> {
    /// See [`crate::core::value::Value::Bool`].
    Bool(bool),
    /// See [`crate::core::value::Value::Int`].
    Int(i64),
    /// See [`crate::core::value::Value::Double`].
    Double(f64),
    /// A text in the buffer, or a short one that was built.
    Text(Cow<'a, str>),
    /// A text that may be much longer than its bytes.
    Digits(Digits<'a>),
    /// See [`crate::core::value::Value::Bytes`].
    Bytes(&'a [u8]),
    /// See [`crate::core::value::Value::Raw`].
    Raw {
        /// The type's OID.
        oid: u32,
        /// The bytes as the server sent them.
        bytes: &'a [u8],
    },
    Array(Elements<'a>),
}

impl View<'_> {
    /// As of the value that it becomes, which for an array its elements are counted for.
    pub(super) fn encoded_size(&self) -> usize {
        FRAMING_BYTES.saturating_add(match self {
            View::Bool(_) => 1,
            View::Int(_) => VARINT_BYTES,
            View::Double(_) => 8,
            View::Text(text) => text.len(),
            View::Digits(digits) => digits.length(),
            View::Bytes(bytes) => bytes.len(),
            View::Raw { bytes, .. } => bytes.len().saturating_add(VARINT_BYTES),
            View::Array(_) => 0,
        })
    }
}

/// Looks at a non-null value in PostgreSQL's binary format.
///
/// A type this service does not interpret becomes [`View::Raw`].
///
/// # Errors
///
/// The bytes do not follow the binary format of the type; those of an array's elements
/// have not been looked at.
pub fn view<'a>(shape: &'a Shape, bytes: &'a [u8]) -> Result<View<'a>, DecodeError> {
    match shape {
        Shape::Scalar(oid) => scalar(*oid, bytes),
        Shape::Enum(_) => text("enum", bytes),
        Shape::Array(element) | Shape::Vector(element) => {
            Elements::read(element, bytes).map(View::Array)
        }
    }
}

fn scalar(type_oid: u32, bytes: &[u8]) -> Result<View<'_>, DecodeError> {
    Ok(match type_oid {
        oid::BOOL => View::Bool(boolean(bytes)?),
        oid::INT2 => View::Int(i16::from_be_bytes(fixed("int2", bytes)?).into()),
        oid::INT4 => View::Int(i32::from_be_bytes(fixed("int4", bytes)?).into()),
        oid::INT8 => View::Int(i64::from_be_bytes(fixed("int8", bytes)?)),
        oid::OID => unsigned("oid", bytes)?,
        oid::XID => unsigned("xid", bytes)?,
        oid::CID => unsigned("cid", bytes)?,
        oid::FLOAT4 => View::Double(f32::from_be_bytes(fixed("float4", bytes)?).into()),
        oid::FLOAT8 => View::Double(f64::from_be_bytes(fixed("float8", bytes)?)),
        oid::TEXT => text("text", bytes)?,
        oid::VARCHAR => text("varchar", bytes)?,
        oid::BPCHAR => text("bpchar", bytes)?,
        oid::NAME => text("name", bytes)?,
        oid::UNKNOWN => text("unknown", bytes)?,
        oid::XML => text("xml", bytes)?,
        oid::JSON => text("json", bytes)?,
        oid::JSONB => jsonb(bytes)?,
        oid::CHAR => single_char(bytes)?,
        oid::BYTEA => View::Bytes(bytes),
        oid::UUID => made(uuid(fixed("uuid", bytes)?)),
        oid::NUMERIC => View::Digits(Digits::Numeric(Numeric::read(bytes)?)),
        oid::DATE => made(datetime::date(bytes)?),
        oid::TIME => made(datetime::time(bytes)?),
        oid::TIMETZ => made(datetime::timetz(bytes)?),
        oid::TIMESTAMP => made(datetime::timestamp(bytes)?),
        oid::TIMESTAMPTZ => made(datetime::timestamptz(bytes)?),
        oid::INTERVAL => made(interval::text(bytes)?),
        oid::INET => made(network::address("inet", bytes)?),
        oid::CIDR => made(network::address("cidr", bytes)?),
        oid::MACADDR => made(network::mac("macaddr", 6, bytes)?),
        oid::MACADDR8 => made(network::mac("macaddr8", 8, bytes)?),
        oid::BIT | oid::VARBIT => View::Digits(Digits::Bits(Bits::read(bytes)?)),
        oid::PG_LSN => made(network::log_position(fixed("pg_lsn", bytes)?)),
        oid => View::Raw { oid, bytes },
    })
}

fn made<'a>(text: String) -> View<'a> {
    View::Text(Cow::Owned(text))
}

fn boolean(bytes: &[u8]) -> Result<bool, DecodeError> {
    match fixed("bool", bytes)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(DecodeError::new("bool", "neither 0 nor 1")),
    }
}

fn unsigned<'a>(type_name: &'static str, bytes: &[u8]) -> Result<View<'a>, DecodeError> {
    Ok(View::Int(u32::from_be_bytes(fixed(type_name, bytes)?).into()))
}

fn text<'a>(type_name: &'static str, bytes: &'a [u8]) -> Result<View<'a>, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(View::Text(Cow::Borrowed(text))),
        Err(_) => Err(DecodeError::new(type_name, "not UTF-8")),
    }
}

fn jsonb(bytes: &[u8]) -> Result<View<'_>, DecodeError> {
    match bytes.split_first() {
        Some((1, json)) => text("jsonb", json),
        Some(_) => Err(DecodeError::new("jsonb", "unknown version")),
        None => Err(DecodeError::new("jsonb", "wrong length")),
    }
}

/// The type `"char"` is a single byte without an encoding.
fn single_char(bytes: &[u8]) -> Result<View<'_>, DecodeError> {
    let [byte] = fixed("char", bytes)?;
    Ok(match byte {
        // PostgreSQL stores the empty string as the byte zero.
        0 => View::Text(Cow::Borrowed("")),
        1..=127 => made(char::from(byte).to_string()),
        _ => View::Raw { oid: oid::CHAR, bytes },
    })
}

fn uuid(bytes: [u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}
