//! Arrays of any dimensions, as parameters.

use std::fmt::Write as _;

use super::{parameter, Shape};
use crate::core::value::{Array, Dimension, Value};

/// PostgreSQL's own limit.
pub(super) const DIMENSIONS_MAX: usize = 6;

/// How many elements an array has by its dimensions, which must be as many as there
/// are.
fn elements(array: &Array) -> Result<usize, parameter::ParameterError> {
    let wrong = parameter::ParameterError::new;
    if array.dimensions.is_empty() {
        return match array.elements.is_empty() {
            true => Ok(0),
            false => Err(wrong("an array with elements needs dimensions")),
        };
    }
    if array.dimensions.len() > DIMENSIONS_MAX {
        return Err(wrong("an array has at most 6 dimensions"));
    }
    let lengths = array.dimensions.iter().map(|dimension| dimension.length as usize);
    match lengths.clone().try_fold(1usize, usize::checked_mul) {
        Some(count) if count == array.elements.len() => Ok(count),
        _ => Err(wrong("the lengths of an array's dimensions must multiply to its elements")),
    }
}

/// Writes the text of a vector, which has one dimension, from 0, and no NULLs.
///
/// # Errors
/// As for [`literal`], or if it has more than that.
pub(super) fn numbers(array: &Array, element: &Shape) -> Result<String, parameter::ParameterError> {
    elements(array)?;
    let is_plain = matches!(array.dimensions[..], [] | [Dimension { lower_bound: 0 | 1, .. }]);
    let texts: Option<Vec<_>> = array
        .elements
        .iter()
        .map(|value| {
            Some(parameter::encode(value, element)).filter(|_| matches!(value, Value::Int(_)))
        })
        .collect();
    let texts = texts.filter(|_| is_plain).ok_or_else(|| {
        parameter::ParameterError::new("a vector has one dimension and only numbers")
    })?;
    let mut out = String::new();
    for text in texts {
        if let parameter::Encoded::Text(text) = text? {
            out.push_str(&text);
            out.push(' ');
        }
    }
    Ok(out)
}

/// True if elements have no other form than PostgreSQL's own.
pub(super) fn is_raw(array: &Array) -> bool {
    array.elements.iter().any(|element| matches!(element, Value::Raw { .. }))
}

/// Writes PostgreSQL's binary form of an array of raw values.
///
/// # Errors
/// As for [`literal`], or if other values stand between the raw ones.
pub(super) fn binary(array: &Array, element: &Shape) -> Result<Vec<u8>, parameter::ParameterError> {
    elements(array)?;
    // A domain is not its base type here; PostgreSQL compares.
    let oid = if array.element_oid == 0 { element.oid() } else { array.element_oid };
    let mut out = Vec::new();
    let mut push = |number: u32| out.extend_from_slice(&number.to_be_bytes());
    push(array.dimensions.len() as u32);
    push(u32::from(array.elements.contains(&Value::Null)));
    push(oid);
    for Dimension { length, lower_bound } in &array.dimensions {
        push(*length);
        push(*lower_bound as u32);
    }
    for value in &array.elements {
        let bytes = match value {
            Value::Null => None,
            Value::Raw { .. } => match parameter::encode(value, element)? {
                parameter::Encoded::Binary(bytes) => Some(bytes),
                _ => None,
            },
            _ => {
                let rule = "raw and other values do not fit into one array";
                return Err(parameter::ParameterError::new(rule));
            }
        };
        let length = bytes.as_ref().map_or(Ok(-1), |bytes| i32::try_from(bytes.len()));
        let length =
            length.map_err(|_| parameter::ParameterError::new("an element is too long"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes.as_deref().unwrap_or_default());
    }
    Ok(out)
}

/// Writes PostgreSQL's array literal, for its input function to read.
///
/// # Errors
/// If the dimensions do not fit the elements, or an element has no text.
pub(super) fn literal(array: &Array, element: &Shape) -> Result<String, parameter::ParameterError> {
    if elements(array)? == 0 {
        return Ok("{}".to_owned());
    }
    let mut out = String::new();
    if array.dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        for Dimension { length, lower_bound } in &array.dimensions {
            let upper = i64::from(*lower_bound) + i64::from(*length) - 1;
            // Writing to a string cannot fail.
            let _ = write!(out, "[{lower_bound}:{upper}]");
        }
        out.push('=');
    }
    let lengths: Vec<usize> = array.dimensions.iter().map(|d| d.length as usize).collect();
    let mut elements = array.elements.iter();
    nested(&mut out, &lengths, &mut elements, element)?;
    Ok(out)
}

fn nested<'a>(
    out: &mut String,
    lengths: &[usize],
    elements: &mut impl Iterator<Item = &'a Value>,
    element: &Shape,
) -> Result<(), parameter::ParameterError> {
    let Some((length, inner)) = lengths.split_first() else {
        return match elements.next() {
            Some(value) => quoted(out, value, element),
            None => Ok(()),
        };
    };
    out.push('{');
    for i in 0..*length {
        if i > 0 {
            out.push(',');
        }
        nested(out, inner, elements, element)?;
    }
    out.push('}');
    Ok(())
}

fn quoted(
    out: &mut String,
    value: &Value,
    element: &Shape,
) -> Result<(), parameter::ParameterError> {
    let text = match parameter::encode(value, element)? {
        parameter::Encoded::Null => {
            out.push_str("NULL");
            return Ok(());
        }
        parameter::Encoded::Text(text) => text,
        parameter::Encoded::Binary(bytes) if element.is_bytea() => hex(&bytes).into(),
        parameter::Encoded::Binary(_) => {
            return Err(parameter::ParameterError::new("raw values do not fit into an array"))
        }
    };
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = "\\x".to_owned();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dimensions: &[(u32, i32)], elements: Vec<Value>) -> Array {
        let dimension = |(length, lower_bound): &(u32, i32)| Dimension {
            length: *length,
            lower_bound: *lower_bound,
        };
        Array { element_oid: 25, dimensions: dimensions.iter().map(dimension).collect(), elements }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn written(array: &Array) -> String {
        literal(array, &Shape::Scalar(25)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_literal_quotes_and_nests_and_keeps_its_bounds() {
        assert_eq!(written(&array(&[], vec![])), "{}");
        let odd = vec![text("a\"b\\c"), Value::Null, text("NULL"), text("")];
        assert_eq!(written(&array(&[(4, 1)], odd.clone())), r#"{"a\"b\\c",NULL,"NULL",""}"#);
        let square = array(&[(2, 0), (2, -1)], odd);
        assert_eq!(written(&square), r#"[0:1][-1:0]={{"a\"b\\c",NULL},{"NULL",""}}"#);
        assert!(written(&array(&[(3, 1)], vec![])).contains("multiply"));
        assert!(written(&array(&[], vec![Value::Null])).contains("dimensions"));
        let bytes = array(&[(1, 1)], vec![Value::Bytes(vec![1, 255])]);
        assert_eq!(literal(&bytes, &Shape::Scalar(17)).as_deref(), Ok(r#"{"\\x01ff"}"#));
    }
}
