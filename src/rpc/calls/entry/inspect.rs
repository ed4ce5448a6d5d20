//! Inspects the bytes of a request before they are decoded.
//!
//! Two bytes on the wire can take a hundred in memory: an empty value, an unknown field. So
//! the memory of the decoded request is estimated first, without an allocation, and a
//! request that would take too much, or has too many of something, is refused.

use crate::config::Limits;
use crate::error::RequestError;
use crate::proto::{FieldContent, MessageShape};

/// The most memory that a decoded request may take: the share of one connection in the
/// memory that is held for callers, or else the request could not wait for its turn. A
/// request of 4 MiB reaches it with 300 000 values.
const DECODED_BYTES_MAX: usize = 32 << 20;
/// PostgreSQL counts parameters in 16 bits.
const PARAMETERS_MAX: usize = 65_535;
const STATEMENT: &str = "Statement";
/// Protobuf's own limit of nesting.
const DEPTH_MAX: usize = 100;
/// What an allocation costs besides its bytes, with the header of its owner.
const ALLOCATION: usize = 40;
/// What an unknown field costs: it is kept in a map of its own.
const UNKNOWN: usize = 512;
/// More fields than any message has.
const FIELDS: usize = 16;

/// The limits of one inspection.
pub(super) struct Rules<'a> {
    pub(super) limits: &'a Limits,
    /// After so many fields the inspection stops with `TooManyFields`.
    pub(super) fields: usize,
}

/// Why a message is not decoded.
#[derive(Debug)]
pub(super) enum NotDecoded {
    /// It has more fields than [`Rules::fields`].
    TooManyFields,
    /// Its bytes are no message of this shape.
    Malformed,
    /// It ends within a field. protobuf accepts that at the end of an inner message.
    Truncated,
    /// It has a group, which none of our messages has.
    Group,
    /// It breaks this rule.
    Refused(RequestError),
}

/// What a whole message would take.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inspected {
    /// The estimated memory of the decoded message, in bytes; never too low.
    pub(super) memory_bytes: usize,
    /// Messages in it, itself included.
    pub(super) messages: usize,
    fields: usize,
    statements: usize,
}

/// Inspects a message of this shape.
///
/// # Errors
/// If it must not be decoded, or not on this thread.
pub(super) fn inspect(
    bytes: &[u8],
    shape: &MessageShape,
    rules: &Rules<'_>,
) -> Result<Inspected, NotDecoded> {
    let mut seen = Inspected::default();
    message(bytes, shape, 0, rules, &mut seen)?;
    Ok(seen)
}

fn message(
    mut bytes: &[u8],
    shape: &MessageShape,
    depth: usize,
    rules: &Rules<'_>,
    seen: &mut Inspected,
) -> Result<(), NotDecoded> {
    if depth > DEPTH_MAX {
        return Err(NotDecoded::Malformed);
    }
    seen.messages += 1;
    seen.statements += usize::from(shape.name == STATEMENT);
    seen.add(shape.size)?;
    let mut counts = [0; FIELDS];
    while !bytes.is_empty() {
        seen.fields += 1;
        if seen.fields > rules.fields {
            return Err(NotDecoded::TooManyFields);
        }
        let tag = u32::try_from(varint(&mut bytes)?).map_err(|_| NotDecoded::Malformed)?;
        let content = content(tag, &mut bytes)?;
        let known = shape.fields.iter().position(|field| field.tag == tag);
        let Some(index) = known else {
            seen.add(UNKNOWN + content.len())?;
            continue;
        };
        let field = &shape.fields[index];
        match field.content {
            FieldContent::Number => {}
            FieldContent::Text => seen.add(ALLOCATION + content.len())?,
            FieldContent::Message(inner) => {
                if let Some(count) = counts.get_mut(index) {
                    *count += 1;
                    check_count(shape, field.name, *count, rules.limits, seen)?;
                }
                message(content, inner, depth + 1, rules, seen)?;
            }
        }
    }
    Ok(())
}

impl Inspected {
    fn add(&mut self, bytes: usize) -> Result<(), NotDecoded> {
        self.memory_bytes += bytes;
        if self.memory_bytes <= DECODED_BYTES_MAX {
            return Ok(());
        }
        let rule = format!(
            "decoded, the request would take more than {DECODED_BYTES_MAX} bytes: each parameter and \
             each element of an array takes some 100, however short it is"
        );
        Err(NotDecoded::Refused(RequestError::invalid("request", rule)))
    }
}

/// Checks the fields whose number is limited.
fn check_count(
    shape: &MessageShape,
    field: &str,
    count: usize,
    limits: &Limits,
    seen: &Inspected,
) -> Result<(), NotDecoded> {
    let max = match (shape.name, field) {
        (_, "statements") => limits.statements,
        (STATEMENT, "parameters") => PARAMETERS_MAX,
        _ => return Ok(()),
    };
    if count <= max {
        return Ok(());
    }
    let error = if shape.name == STATEMENT {
        let index = seen.statements.saturating_sub(1);
        let rule = format!("statements[{index}].parameters must be at most {max}");
        RequestError::invalid("statements.parameters", rule)
    } else {
        RequestError::invalid("statements", format!("statements must be 1 to {max}"))
    };
    Err(NotDecoded::Refused(error))
}

/// Takes a field off the front. Returns its content if its length is variable, else nothing.
fn content<'a>(tag: u32, bytes: &mut &'a [u8]) -> Result<&'a [u8], NotDecoded> {
    if tag >> 3 == 0 {
        return Err(NotDecoded::Malformed);
    }
    let fixed = match tag & 7 {
        0 => return varint(bytes).map(|_| &[][..]),
        1 => 8,
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| NotDecoded::Malformed)?;
            return take(bytes, length);
        }
        3 => return Err(NotDecoded::Group),
        5 => 4,
        _ => return Err(NotDecoded::Malformed),
    };
    take(bytes, fixed).map(|_| &[][..])
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], NotDecoded> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(NotDecoded::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, NotDecoded> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            // The tenth byte has room for one bit.
            return if i < 9 || *byte <= 1 { Ok(value) } else { Err(NotDecoded::Malformed) };
        }
    }
    Err(NotDecoded::Malformed)
}

#[cfg(test)]
mod tests;
