//! Batches of rows as protobuf writes them. Done by hand, because a bulk reader's
//! time goes here: the generated types would be built and thrown away for each
//! value.

use crate::backend::raw_row::RawRow;
use crate::backend::values::{self, Shape, View};
use crate::core::value::{Array, Value};

use crate::rpc::pipe::Batch;

/// Wire types of protobuf.
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

/// One row of `RowBatch.rows`.
///
/// # Errors
/// Which value, from 0, cannot be read, and why.
pub(super) fn row(
    out: &mut Vec<u8>,
    shapes: &[Shape],
    row: &RawRow<'_>,
) -> Result<(), (usize, String)> {
    nested(out, 1, |out| {
        for (index, (shape, bytes)) in shapes.iter().zip(row.values()).enumerate() {
            let view = match bytes {
                None => View::Made(Value::Null),
                Some(bytes) => {
                    values::view(shape, bytes).map_err(|error| (index, error.to_string()))?
                }
            };
            nested(out, 1, |out| viewed(out, &view));
        }
        Ok(())
    })
}

fn viewed(out: &mut Vec<u8>, view: &View<'_>) {
    match view {
        View::Text(text) => bytes(out, 5, text.as_bytes()),
        View::Bytes(content) => bytes(out, 6, content),
        View::Made(made) => value(out, made),
    }
}

fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend([1 << 3 | VARINT, 1]),
        Value::Bool(v) => out.extend([2 << 3 | VARINT, u8::from(*v)]),
        Value::Int(v) => {
            tag(out, 3, VARINT);
            // sint64: small numbers of either sign are short.
            varint(out, ((v << 1) ^ (v >> 63)) as u64);
        }
        Value::Double(v) => {
            tag(out, 4, FIXED64);
            out.extend(v.to_le_bytes());
        }
        Value::Text(v) => bytes(out, 5, v.as_bytes()),
        Value::Bytes(v) => bytes(out, 6, v),
        Value::Array(v) => nested(out, 7, |out| array(out, v)),
        Value::Raw { oid, bytes: data } => nested(out, 8, |out| {
            tag(out, 1, VARINT);
            varint(out, u64::from(*oid));
            bytes(out, 2, data);
        }),
    }
}

fn array(out: &mut Vec<u8>, array: &Array) {
    tag(out, 1, VARINT);
    varint(out, u64::from(array.element_oid));
    for dimension in &array.dimensions {
        nested(out, 2, |out| {
            tag(out, 1, VARINT);
            varint(out, u64::from(dimension.length));
            tag(out, 2, VARINT);
            let lower = dimension.lower_bound;
            varint(out, u64::from(((lower << 1) ^ (lower >> 31)) as u32));
        });
    }
    for element in &array.elements {
        nested(out, 3, |out| value(out, element));
    }
}

/// A `QueryResponse` with a batch of typed rows.
pub(super) fn typed_batch(batch: Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes.len() + 8);
    bytes(&mut out, 2, &batch.bytes);
    out
}

/// A `QueryResponse` with a batch of binary rows.
pub(super) fn binary_batch(batch: Batch) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.bytes.len() + 16);
    bytes(&mut body, 2, &batch.bytes);
    tag(&mut body, 3, VARINT);
    varint(&mut body, u64::from(batch.rows));
    let mut out = Vec::with_capacity(body.len() + 8);
    bytes(&mut out, 2, &body);
    out
}

/// For streams whose messages are never batched.
pub(super) fn no_batch(batch: Batch) -> Vec<u8> {
    batch.bytes
}

/// A `CopyOutResponse` with data.
pub(super) fn data_batch(batch: Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes.len() + 8);
    bytes(&mut out, 1, &batch.bytes);
    out
}

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::*;
    use crate::core::value::Dimension;
    use crate::proto::sql;
    use crate::rpc::convert;

    #[test]
    fn a_batch_reads_back_as_the_generated_types_would_have_written_it() {
        let dimension = |length, lower_bound| Dimension { length, lower_bound };
        let values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Double(-0.5),
            Value::Text(String::new()),
            Value::Text("ä".repeat(100)),
            Value::Text("x".repeat(20_000)),
            Value::Bytes(vec![0, 255]),
            Value::Raw { oid: u32::MAX, bytes: vec![7; 200] },
            Value::Array(Array {
                element_oid: 23,
                dimensions: vec![dimension(2, -5), dimension(1, 1)],
                elements: vec![Value::Int(1), Value::Null],
            }),
            Value::Array(Array { element_oid: 0, dimensions: vec![], elements: vec![] }),
        ];
        let mut batch = Batch::default();
        for values in [values.as_slice(), &[]] {
            nested(&mut batch.bytes, 1, |out| {
                values.iter().for_each(|one| nested(out, 1, |out| value(out, one)));
            });
            batch.rows += 1;
        }
        let message = sql::QueryResponse::parse_from_bytes(&typed_batch(batch)).expect("parses");
        let rows = &message.batch().rows;
        assert_eq!(rows.len(), 2);
        let expected: Vec<sql::Value> = values.into_iter().map(convert::sql::value).collect();
        assert_eq!(rows[0].values, expected);
        assert!(message.special_fields.unknown_fields().iter().next().is_none());
    }

    #[test]
    fn a_row_is_written_as_its_decoded_values_are() {
        let texts = [String::new(), "ä".to_owned(), "x".repeat(300)];
        let mut body = vec![0, 7];
        let mut shapes = Vec::new();
        let mut add = |oid, bytes: &[u8]| {
            shapes.push(Shape::Scalar(oid));
            body.extend((bytes.len() as u32).to_be_bytes());
            body.extend(bytes);
        };
        texts.iter().for_each(|text| add(25, text.as_bytes()));
        add(17, &[0, 255]);
        add(23, &[255, 255, 255, 254]);
        add(3802, b"\x01{}");
        shapes.push(Shape::Scalar(25));
        body.extend([255; 4]);
        let raw = RawRow::read(&body, 7).expect("a row");
        let mut batch = Batch { rows: 1, ..Batch::default() };
        assert_eq!(row(&mut batch.bytes, &shapes, &raw), Ok(()));
        let message = sql::QueryResponse::parse_from_bytes(&typed_batch(batch)).expect("parses");
        let decoded = crate::backend::raw_row::decode(&shapes, &raw).expect("decodes");
        let expected: Vec<_> = decoded.into_iter().map(convert::sql::value).collect();
        assert_eq!(message.batch().rows[0].values, expected);
        shapes[3] = Shape::Scalar(23);
        let failed = row(&mut Vec::new(), &shapes, &raw);
        assert_eq!(failed, Err((3, "malformed int4: wrong length".to_owned())));
    }

    #[test]
    fn a_binary_batch_says_how_many_rows_it_has() {
        let batch = Batch { bytes: vec![1; 300], rows: 200 };
        let message = sql::QueryResponse::parse_from_bytes(&binary_batch(batch)).expect("parses");
        assert_eq!(message.batch().binary, vec![1; 300]);
        assert_eq!(message.batch().binary_rows, 200);
    }

    #[test]
    fn data_reads_back() {
        let batch = Batch { bytes: vec![1; 300], rows: 2 };
        let message = sql::CopyOutResponse::parse_from_bytes(&data_batch(batch)).expect("parses");
        assert_eq!(message.data(), vec![1; 300]);
    }
}
