//! A look at the bytes of a request before they are decoded.
//!
//! Two bytes on the wire can be a hundred in memory: an empty value, a field that
//! nobody knows. So a request is weighed first, without an allocation, and refused if
//! it would take too much, or has more of something than may be.

use crate::config::Limits;
use crate::error::Error;
use crate::proto::{Content, Shape};

/// The most that a request may take once it is decoded: what one connection may have of
/// the memory that is held for others, as otherwise it could not wait for its turn. A
/// request of 4 MiB takes so much with 300 000 values.
const WEIGHT_MAX: usize = 32 << 20;
/// PostgreSQL counts parameters in 16 bits.
const PARAMETERS_MAX: usize = 65_535;
const STATEMENT: &str = "Statement";
/// As protobuf's own limit.
const DEPTH_MAX: usize = 100;
/// What an allocation costs beside its bytes, with the header of its owner.
const ALLOCATION: usize = 40;
/// What a field costs that the message does not know: it is kept in a map of its own.
const UNKNOWN: usize = 512;
/// More fields than any message has.
const FIELDS: usize = 16;

/// What is looked for.
pub(super) struct Rules<'a> {
    pub(super) limits: &'a Limits,
    /// Fields after which the look is broken off.
    pub(super) fields: usize,
}

/// Why a look has ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// There are more fields than were to be looked at.
    Long,
    /// It cannot be decoded.
    Malformed,
    /// It ends within a field, which the decoder does not mind in a message at its end.
    Cut,
    /// It has a group, which none of our messages has.
    Group,
    /// It breaks this rule.
    Refused(Error),
}

/// What was seen of a whole message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// About what it takes in memory once it is decoded, in bytes.
    pub(super) weight: usize,
    /// Messages in it, itself included.
    pub(super) messages: usize,
    fields: usize,
    statements: usize,
}

/// Looks at a message of this shape.
///
/// # Errors
/// Why it is not to be decoded, or not yet.
pub(super) fn look(bytes: &[u8], shape: &Shape, rules: &Rules<'_>) -> Result<Seen, Stop> {
    let mut seen = Seen::default();
    message(bytes, shape, 0, rules, &mut seen)?;
    Ok(seen)
}

fn message(
    mut bytes: &[u8],
    shape: &Shape,
    depth: usize,
    rules: &Rules<'_>,
    seen: &mut Seen,
) -> Result<(), Stop> {
    if depth > DEPTH_MAX {
        return Err(Stop::Malformed);
    }
    seen.messages += 1;
    seen.statements += usize::from(shape.name == STATEMENT);
    seen.add(shape.size)?;
    let mut counts = [0; FIELDS];
    while !bytes.is_empty() {
        seen.fields += 1;
        if seen.fields > rules.fields {
            return Err(Stop::Long);
        }
        let tag = u32::try_from(varint(&mut bytes)?).map_err(|_| Stop::Malformed)?;
        let content = content(tag, &mut bytes)?;
        let known = shape.fields.iter().position(|field| field.tag == tag);
        let Some(index) = known else {
            seen.add(UNKNOWN + content.len())?;
            continue;
        };
        let field = &shape.fields[index];
        match field.content {
            Content::Number => {}
            Content::Text => seen.add(ALLOCATION + content.len())?,
            Content::Message(inner) => {
                if let Some(count) = counts.get_mut(index) {
                    *count += 1;
                    few(shape, field.name, *count, rules.limits, seen)?;
                }
                message(content, inner, depth + 1, rules, seen)?;
            }
        }
    }
    Ok(())
}

impl Seen {
    fn add(&mut self, bytes: usize) -> Result<(), Stop> {
        self.weight += bytes;
        if self.weight <= WEIGHT_MAX {
            return Ok(());
        }
        let rule = format!(
            "decoded, the request would take more than {WEIGHT_MAX} bytes: each parameter and \
             each element of an array takes some 100, however short it is"
        );
        Err(Stop::Refused(Error::invalid("request", rule)))
    }
}

/// Some messages may not have any number of others.
fn few(shape: &Shape, field: &str, count: usize, limits: &Limits, seen: &Seen) -> Result<(), Stop> {
    let most = match (shape.name, field) {
        (_, "statements") => limits.statements,
        (STATEMENT, "parameters") => PARAMETERS_MAX,
        _ => return Ok(()),
    };
    if count <= most {
        return Ok(());
    }
    let error = if shape.name == STATEMENT {
        let index = seen.statements.saturating_sub(1);
        let rule = format!("statements[{index}].parameters must be at most {most}");
        Error::invalid("statements.parameters", rule)
    } else {
        Error::invalid("statements", format!("statements must be 1 to {most}"))
    };
    Err(Stop::Refused(error))
}

/// The content of a field of variable length, which is taken from the front; nothing of
/// others.
fn content<'a>(tag: u32, bytes: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    if tag >> 3 == 0 {
        return Err(Stop::Malformed);
    }
    let fixed = match tag & 7 {
        0 => return varint(bytes).map(|_| &[][..]),
        1 => 8,
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| Stop::Malformed)?;
            return take(bytes, length);
        }
        3 => return Err(Stop::Group),
        5 => 4,
        _ => return Err(Stop::Malformed),
    };
    take(bytes, fixed).map(|_| &[][..])
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Stop> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Stop::Cut)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            // The tenth byte has room for one bit.
            return if i < 9 || *byte <= 1 { Ok(value) } else { Err(Stop::Malformed) };
        }
    }
    Err(Stop::Malformed)
}

#[cfg(test)]
mod tests;
