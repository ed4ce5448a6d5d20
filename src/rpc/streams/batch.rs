//! Encodes batches of rows as protobuf messages. This is written by hand because it dominates
//! the time of a bulk reader: the generated types would be built and dropped for each value.

use crate::pgwire::row::RawRow;
use crate::pgwire::values::{self, Elements, Meter, Shape, Stop, View};

use crate::rpc::streams::pipe::Batch;

/// Protobuf's wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

fn tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    // Every field number here is below 16, so that its tag is one byte.
    out.push(field << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    tag(out, field, LENGTH);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A message within a message: written behind room for its length, which is then
/// moved into place.
fn nested<R>(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    tag(out, field, LENGTH);
    let start = out.len();
    // Most are shorter than 128 bytes, so that one byte of length is enough.
    out.push(0);
    let result = write(out);
    let length = out.len() - start - 1;
    if let (Ok(short @ 0..0x80), Some(place)) = (u8::try_from(length), out.get_mut(start)) {
        *place = short;
        return result;
    }
    let mut prefix = Vec::with_capacity(10);
    varint(&mut prefix, length as u64);
    out.splice(start..=start, prefix);
    result
}

/// One row of `RowBatch.rows`, written into an empty `out`, of which the meter counts
/// every byte.
///
/// # Errors
/// Which value, from 0, cannot be written, and why. What was written is of no use then.
pub(in crate::rpc) fn row(
    out: &mut Vec<u8>,
    shapes: &[Shape],
    row: &RawRow<'_>,
    meter: &mut Meter<'_>,
) -> Result<(), (usize, Stop)> {
    nested(out, 1, |out| {
        for (index, (shape, bytes)) in shapes.iter().zip(row.values()).enumerate() {
            nested(out, 1, |out| value(out, shape, bytes, meter)).map_err(|stop| (index, stop))?;
        }
        Ok(())
    })?;
    // The lengths have taken room, too.
    meter.reach(out.len()).map_err(|stop| (0, stop))
}

fn value(
    out: &mut Vec<u8>,
    shape: &Shape,
    value: Option<&[u8]>,
    meter: &mut Meter<'_>,
) -> Result<(), Stop> {
    let Some(value) = value else {
        out.extend([1 << 3 | VARINT, 1]);
        return meter.reach(out.len());
    };
    match values::view(shape, value)? {
        View::Bool(v) => out.extend([2 << 3 | VARINT, u8::from(v)]),
        View::Int(v) => {
            tag(out, 3, VARINT);
            // sint64: small numbers of either sign are short.
            varint(out, ((v << 1) ^ (v >> 63)) as u64);
        }
        View::Double(v) => {
            tag(out, 4, FIXED64);
            out.extend(v.to_le_bytes());
        }
        View::Text(text) => bytes(out, 5, text.as_bytes()),
        View::Digits(digits) => {
            let length = digits.length();
            // Before any of it is made.
            meter.reach(out.len().saturating_add(length))?;
            tag(out, 5, LENGTH);
            varint(out, length as u64);
            digits.write(out);
        }
        View::Bytes(content) => bytes(out, 6, content),
        View::Array(elements) => nested(out, 7, |out| array(out, elements, meter))?,
        View::Raw { oid, bytes: data } => nested(out, 8, |out| {
            tag(out, 1, VARINT);
            varint(out, u64::from(oid));
            bytes(out, 2, data);
        }),
    }
    meter.reach(out.len())
}

fn array(out: &mut Vec<u8>, elements: Elements<'_>, meter: &mut Meter<'_>) -> Result<(), Stop> {
    tag(out, 1, VARINT);
    varint(out, u64::from(elements.oid));
    for dimension in elements.dimensions() {
        nested(out, 2, |out| {
            tag(out, 1, VARINT);
            varint(out, u64::from(dimension.length));
            tag(out, 2, VARINT);
            let lower = dimension.lower_bound;
            varint(out, u64::from(((lower << 1) ^ (lower >> 31)) as u32));
        });
    }
    let shape = elements.shape;
    elements.each(|element| nested(out, 3, |out| value(out, shape, element, meter)))
}

/// A `QueryResponse` with a batch of typed rows.
pub(in crate::rpc) fn typed_batch(batch: Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes.len() + 8);
    bytes(&mut out, 2, &batch.bytes);
    out
}

/// A `QueryResponse` with a batch of binary rows.
pub(in crate::rpc) fn binary_batch(batch: Batch) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.bytes.len() + 16);
    bytes(&mut body, 2, &batch.bytes);
    tag(&mut body, 3, VARINT);
    varint(&mut body, u64::from(batch.rows));
    let mut out = Vec::with_capacity(body.len() + 8);
    bytes(&mut out, 2, &body);
    out
}

/// For streams whose messages are never batched.
pub(in crate::rpc) fn no_batch(batch: Batch) -> Vec<u8> {
    batch.bytes
}

/// A `CopyOutResponse` with data.
pub(in crate::rpc) fn data_batch(batch: Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes.len() + 8);
    bytes(&mut out, 1, &batch.bytes);
    out
}

#[cfg(test)]
mod tests;
