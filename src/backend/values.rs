//! PostgreSQL's value formats: its binary results in, parameters out.
//!
//! Types whose binary form would lose something as a number or a string of ours
//! are rendered as PostgreSQL's own `::text` renders them, in UTC, with ISO dates
//! and `IntervalStyle` postgres, so a client sees what psql would show it.
//!
//! Architecture Invariant: nothing here knows a connection or a driver.

use std::fmt;

use crate::core::value::Value;

mod parameter;
mod shape;

mod array;
mod network;
mod numeric;

mod datetime;

mod interval;

pub use parameter::{encode, Encoded, ParameterError};
pub use shape::Shape;

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
/// A type this service does not interpret becomes [`Value::Raw`].
///
/// # Errors
///
/// The bytes do not follow the binary format of the type.
pub fn decode(shape: &Shape, bytes: &[u8]) -> Result<Value, DecodeError> {
    view(shape, bytes).map(Value::from)
}

/// A value that is looked at where it is, if its binary form allows that.
#[derive(Debug)]
pub enum View<'a> {
    /// See [`Value::Text`].
    Text(&'a str),
    /// See [`Value::Bytes`].
    Bytes(&'a [u8]),
    /// All others.
    Made(Value),
}

impl From<View<'_>> for Value {
    fn from(view: View<'_>) -> Value {
        match view {
            View::Text(text) => Value::Text(text.to_owned()),
            View::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            View::Made(value) => value,
        }
    }
}

/// As [`decode`], for who needs the value only for a moment: large texts and bytes
/// are not copied.
///
/// # Errors
///
/// As for [`decode`].
pub fn view<'a>(shape: &Shape, bytes: &'a [u8]) -> Result<View<'a>, DecodeError> {
    match shape {
        Shape::Scalar(oid) => scalar(*oid, bytes),
        Shape::Enum(_) => text("enum", bytes),
        Shape::Array(element) | Shape::Vector(element) => {
            array::decoded(element, bytes).map(View::Made)
        }
    }
}

fn scalar(type_oid: u32, bytes: &[u8]) -> Result<View<'_>, DecodeError> {
    Ok(View::Made(match type_oid {
        oid::BOOL => boolean(bytes)?,
        oid::INT2 => Value::Int(i16::from_be_bytes(fixed("int2", bytes)?).into()),
        oid::INT4 => Value::Int(i32::from_be_bytes(fixed("int4", bytes)?).into()),
        oid::INT8 => Value::Int(i64::from_be_bytes(fixed("int8", bytes)?)),
        oid::OID => unsigned("oid", bytes)?,
        oid::XID => unsigned("xid", bytes)?,
        oid::CID => unsigned("cid", bytes)?,
        oid::FLOAT4 => Value::Double(f32::from_be_bytes(fixed("float4", bytes)?).into()),
        oid::FLOAT8 => Value::Double(f64::from_be_bytes(fixed("float8", bytes)?)),
        oid::TEXT => return text("text", bytes),
        oid::VARCHAR => return text("varchar", bytes),
        oid::BPCHAR => return text("bpchar", bytes),
        oid::NAME => return text("name", bytes),
        oid::UNKNOWN => return text("unknown", bytes),
        oid::XML => return text("xml", bytes),
        oid::JSON => return text("json", bytes),
        oid::JSONB => return jsonb(bytes),
        oid::CHAR => single_char(bytes)?,
        oid::BYTEA => return Ok(View::Bytes(bytes)),
        oid::UUID => Value::Text(uuid(fixed("uuid", bytes)?)),
        oid::NUMERIC => Value::Text(numeric::text(bytes)?),
        oid::DATE => Value::Text(datetime::date(bytes)?),
        oid::TIME => Value::Text(datetime::time(bytes)?),
        oid::TIMETZ => Value::Text(datetime::timetz(bytes)?),
        oid::TIMESTAMP => Value::Text(datetime::timestamp(bytes)?),
        oid::TIMESTAMPTZ => Value::Text(datetime::timestamptz(bytes)?),
        oid::INTERVAL => Value::Text(interval::text(bytes)?),
        oid::INET => Value::Text(network::address("inet", bytes)?),
        oid::CIDR => Value::Text(network::address("cidr", bytes)?),
        oid::MACADDR => Value::Text(network::mac("macaddr", 6, bytes)?),
        oid::MACADDR8 => Value::Text(network::mac("macaddr8", 8, bytes)?),
        oid::BIT | oid::VARBIT => Value::Text(network::bits(bytes)?),
        oid::PG_LSN => Value::Text(network::log_position(fixed("pg_lsn", bytes)?)),
        oid => Value::Raw { oid, bytes: bytes.to_vec() },
    }))
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

fn boolean(bytes: &[u8]) -> Result<Value, DecodeError> {
    match fixed("bool", bytes)? {
        [0] => Ok(Value::Bool(false)),
        [1] => Ok(Value::Bool(true)),
        _ => Err(DecodeError::new("bool", "neither 0 nor 1")),
    }
}

fn unsigned(type_name: &'static str, bytes: &[u8]) -> Result<Value, DecodeError> {
    Ok(Value::Int(u32::from_be_bytes(fixed(type_name, bytes)?).into()))
}

fn text<'a>(type_name: &'static str, bytes: &'a [u8]) -> Result<View<'a>, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(View::Text(text)),
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
fn single_char(bytes: &[u8]) -> Result<Value, DecodeError> {
    let [byte] = fixed("char", bytes)?;
    Ok(match byte {
        // PostgreSQL stores the empty string as the byte zero.
        0 => Value::Text(String::new()),
        1..=127 => Value::Text(char::from(byte).to_string()),
        _ => Value::Raw { oid: oid::CHAR, bytes: bytes.to_vec() },
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
mod tests {
    use super::*;

    const ALL: [u32; 34] = [
        16, 17, 18, 19, 20, 21, 23, 25, 26, 28, 29, 114, 142, 650, 700, 701, 705, 774, 829, 869,
        1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1562, 1700, 2950, 3220, 3802,
    ];

    fn decode(oid: u32, bytes: &[u8]) -> Result<Value, DecodeError> {
        super::decode(&Shape::Scalar(oid), bytes)
    }

    fn string(text: &str) -> Result<Value, DecodeError> {
        Ok(Value::Text(text.into()))
    }

    #[test]
    fn booleans_are_one_byte_of_zero_or_one() {
        assert_eq!(decode(16, &[1]), Ok(Value::Bool(true)));
        assert_eq!(decode(16, &[0]), Ok(Value::Bool(false)));
        assert!(decode(16, &[2]).is_err());
    }

    #[test]
    fn signed_integers_keep_their_sign() {
        assert_eq!(decode(21, &[0xff, 0xfe]), Ok(Value::Int(-2)));
        assert_eq!(decode(23, &[0x80, 0, 0, 0]), Ok(Value::Int(i32::MIN.into())));
        assert_eq!(decode(20, &i64::MIN.to_be_bytes()), Ok(Value::Int(i64::MIN)));
    }

    #[test]
    fn identifiers_are_unsigned() {
        for oid in [26, 28, 29] {
            assert_eq!(decode(oid, &[0xff; 4]), Ok(Value::Int(4_294_967_295)));
        }
    }

    #[test]
    fn floats_are_widened_exactly() {
        assert_eq!(decode(700, &unhex("3dcccccd")), Ok(Value::Double(0.1f32.into())));
        assert_eq!(decode(701, &1e300f64.to_be_bytes()), Ok(Value::Double(1e300)));
        let nan = decode(701, &f64::NAN.to_be_bytes());
        assert!(matches!(nan, Ok(Value::Double(nan)) if nan.is_nan()));
    }

    #[test]
    fn every_text_type_must_be_utf8() {
        for oid in [25, 1043, 1042, 19, 705, 142, 114] {
            assert_eq!(decode(oid, "grün ".as_bytes()), string("grün "));
            assert_eq!(decode(oid, b""), string(""));
            assert_eq!(decode(oid, b"gr\xfcn").unwrap_err().why, "not UTF-8");
        }
    }

    #[test]
    fn the_one_byte_char_is_text_only_if_ascii() {
        assert_eq!(decode(18, b"a"), string("a"));
        assert_eq!(decode(18, &[0]), string(""));
        assert_eq!(decode(18, &[0xfc]), Ok(Value::Raw { oid: 18, bytes: vec![0xfc] }));
    }

    #[test]
    fn bytea_is_any_bytes() {
        assert_eq!(decode(17, &[0, 255]), Ok(Value::Bytes(vec![0, 255])));
    }

    #[test]
    fn jsonb_loses_its_version_byte() {
        let bytes = unhex("017b2261223a205b312c20322e35305d7d");
        assert_eq!(decode(3802, &bytes), string(r#"{"a": [1, 2.50]}"#));
        assert_eq!(decode(3802, b"\x02{}").unwrap_err().why, "unknown version");
    }

    #[test]
    fn a_uuid_is_lower_case_with_hyphens() {
        let bytes = unhex("a0eebc999c0b4ef8bb6d6bb9bd380a11");
        assert_eq!(decode(2950, &bytes), string("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    }

    #[test]
    fn an_unknown_type_stays_raw() {
        assert_eq!(decode(600, &[1, 2]), Ok(Value::Raw { oid: 600, bytes: vec![1, 2] }));
    }

    #[test]
    fn the_error_names_the_type_and_the_reason() {
        let error = decode(20, &[0; 7]).unwrap_err();
        assert_eq!(error.to_string(), "malformed int8: wrong length");
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for oid in ALL {
            for length in 0..40 {
                let _ = decode(oid, &vec![0xff; length]);
                let _ = decode(oid, &vec![0x7f; length]);
                let _ = decode(oid, &vec![0x80; length]);
                for _ in 0..50 {
                    let bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
                    let _ = decode(oid, &bytes);
                }
            }
        }
    }
}
