//! Parameters on their way to the server.

use std::borrow::Cow;
use std::fmt;

use super::{array, Shape};
use crate::core::value::Value;

/// A parameter as the Bind message carries it.
///
/// `Debug` shows the length only: parameters are secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Encoded<'a> {
    /// SQL NULL.
    Null,
    /// PostgreSQL's text format, parsed by the server's input function.
    Text(Cow<'a, str>),
    /// PostgreSQL's binary format, taken as it is.
    Binary(Cow<'a, [u8]>),
}

/// A parameter that cannot be sent. It never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterError {
    /// The rule the value breaks, fit to be shown to the caller.
    pub rule: String,
}

/// Encodes a parameter for a statement's parameter of this type.
///
/// Text is the rule because the server then applies the same conversions as to
/// a literal; binary is kept for what has no text form of ours.
///
/// # Errors
///
/// The value cannot be sent as the type.
pub fn encode<'a>(value: &'a Value, shape: &Shape) -> Result<Encoded<'a>, ParameterError> {
    match value {
        Value::Null => Ok(Encoded::Null),
        Value::Bool(true) => Ok(Encoded::Text(Cow::Borrowed("t"))),
        Value::Bool(false) => Ok(Encoded::Text(Cow::Borrowed("f"))),
        Value::Int(number) => Ok(Encoded::Text(Cow::Owned(number.to_string()))),
        Value::Double(number) => Ok(Encoded::Text(double(*number))),
        // The server's strings end at a NUL, so the rest would be lost unseen.
        Value::Text(text) if text.contains('\0') => {
            Err(ParameterError::new("text must not contain a NUL character"))
        }
        Value::Text(text) => Ok(Encoded::Text(Cow::Borrowed(text))),
        Value::Bytes(bytes) if shape.is_bytea() => Ok(Encoded::Binary(bytes.into())),
        Value::Bytes(_) => Err(ParameterError::new("bytes fit only a bytea parameter")),
        Value::Array(array) => match shape {
            Shape::Array(element) if array::is_raw(array) => {
                Ok(Encoded::Binary(array::binary(array, element)?.into()))
            }
            Shape::Array(element) => Ok(Encoded::Text(array::literal(array, element)?.into())),
            Shape::Vector(element) => Ok(Encoded::Text(array::numbers(array, element)?.into())),
            Shape::Scalar(_) | Shape::Enum(_) => {
                Err(ParameterError::new("an array fits only an array parameter"))
            }
        },
        Value::Raw { oid, bytes } if *shape == Shape::Scalar(*oid) => {
            Ok(Encoded::Binary(bytes.into()))
        }
        Value::Raw { oid, .. } => Err(ParameterError::new(format!(
            "a raw value of type {oid} does not fit a parameter of type {}",
            shape.oid()
        ))),
    }
}

impl ParameterError {
    pub(super) fn new(rule: impl Into<String>) -> Self {
        ParameterError { rule: rule.into() }
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}

impl std::error::Error for ParameterError {}

impl fmt::Debug for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encoded::Null => f.write_str("Null"),
            Encoded::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Encoded::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

/// The shortest text that reads back as the same number.
fn double(number: f64) -> Cow<'static, str> {
    if number.is_nan() {
        return Cow::Borrowed("NaN");
    }
    if number.is_infinite() {
        let name = if number > 0.0 { "Infinity" } else { "-Infinity" };
        return Cow::Borrowed(name);
    }
    // Debug switches to an exponent for large and small numbers; Display would
    // write out up to 300 zeros.
    let mut text = format!("{number:?}");
    // A whole number must also fit an integer parameter, which rejects "1.0".
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: &Value, oid: u32) -> Result<Encoded<'_>, ParameterError> {
        super::encode(value, &Shape::Scalar(oid))
    }

    fn text(value: Value) -> String {
        match encode(&value, 25) {
            Ok(Encoded::Text(text)) => text.into_owned(),
            other => panic!("not text: {other:?}"),
        }
    }

    #[test]
    fn scalars_are_sent_as_text() {
        assert_eq!(encode(&Value::Null, 25), Ok(Encoded::Null));
        assert_eq!(text(Value::Bool(true)), "t");
        assert_eq!(text(Value::Bool(false)), "f");
        assert_eq!(text(Value::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(text(Value::Text("'; --".into())), "'; --");
    }

    #[test]
    fn doubles_are_short_and_read_back() {
        assert_eq!(text(Value::Double(1.0)), "1");
        assert_eq!(text(Value::Double(-0.0)), "-0");
        assert_eq!(text(Value::Double(0.1)), "0.1");
        assert_eq!(text(Value::Double(f64::NAN)), "NaN");
        assert_eq!(text(Value::Double(f64::INFINITY)), "Infinity");
        assert_eq!(text(Value::Double(f64::NEG_INFINITY)), "-Infinity");
        for number in [5e-324, f64::MAX, 1e21, 1e-7, 123_456_789.125, 0.1 + 0.2, 1e300] {
            let text = text(Value::Double(number));
            assert!(text.len() < 26, "{text}");
            assert_eq!(text.parse::<f64>().unwrap(), number);
        }
    }

    #[test]
    fn text_with_a_nul_is_refused() {
        let error = encode(&Value::Text("hunter2\0".into()), 25).unwrap_err();
        assert_eq!(error.to_string(), "text must not contain a NUL character");
    }

    #[test]
    fn bytes_fit_only_bytea() {
        let bytes = Value::Bytes(vec![0, 1]);
        assert_eq!(encode(&bytes, 17), Ok(Encoded::Binary(Cow::Borrowed(&[0, 1]))));
        let error = encode(&bytes, 25).unwrap_err();
        assert_eq!(error.to_string(), "bytes fit only a bytea parameter");
    }

    #[test]
    fn a_raw_value_fits_only_its_own_type() {
        let raw = Value::Raw { oid: 600, bytes: vec![7] };
        assert_eq!(encode(&raw, 600), Ok(Encoded::Binary(Cow::Borrowed(&[7]))));
        let rule = encode(&raw, 601).unwrap_err().rule;
        assert!(rule.contains("600") && rule.contains("601"), "{rule}");
    }

    #[test]
    fn debug_hides_the_content() {
        let value = Value::Text("hunter2".into());
        assert_eq!(format!("{:?}", encode(&value, 25)), "Ok(Text(7 bytes))");
    }
}
