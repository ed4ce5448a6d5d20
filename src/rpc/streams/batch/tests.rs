//! What is written by hand, read back by the generated types.

use protobuf::Message;

use super::*;
use crate::core::testing::Xorshift;
use crate::pgwire::row;
use crate::proto::sql;
use crate::rpc::convert;

/// The binary form of a row, and how its values are read.
#[derive(Default)]
struct Values {
    shapes: Vec<Shape>,
    body: Vec<u8>,
}

impl Values {
    fn add(&mut self, shape: Shape, bytes: Option<&[u8]>) {
        self.shapes.push(shape);
        push(&mut self.body, bytes);
    }

    fn body(&self) -> Vec<u8> {
        let mut body = (self.shapes.len() as u16).to_be_bytes().to_vec();
        body.extend(&self.body);
        body
    }
}

fn push(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
    out.extend(length.to_be_bytes());
    out.extend(bytes.unwrap_or_default());
}

/// The binary form of an array.
fn array(oid: u32, dimensions: &[(u32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    [dimensions.len() as u32, 0, oid].iter().for_each(|word| out.extend(word.to_be_bytes()));
    for (length, lower) in dimensions {
        out.extend(length.to_be_bytes());
        out.extend(lower.to_be_bytes());
    }
    elements.iter().for_each(|element| push(&mut out, *element));
    out
}

/// A value of every kind, short and long.
fn all_kinds() -> Values {
    let mut all = Values::default();
    let mut add = |oid, bytes: &[u8]| all.add(Shape::Scalar(oid), Some(bytes));
    add(16, &[0]);
    add(16, &[1]);
    for number in [0, -1, i64::MIN, i64::MAX] {
        add(20, &number.to_be_bytes());
    }
    add(701, &(-0.5f64).to_be_bytes());
    for text in [String::new(), "ä".repeat(100), "x".repeat(20_000)] {
        add(25, text.as_bytes());
    }
    add(17, &[0, 255]);
    add(600, &[7; 200]);
    add(3802, b"\x01{}");
    add(1184, &[0; 8]);
    // 0.5, 10000 to the power 999, and NaN.
    add(1700, &[0, 1, 0xff, 0xff, 0, 0, 0, 1, 0x13, 0x88]);
    add(1700, &[0, 1, 3, 231, 0, 0, 0, 0, 0, 1]);
    add(1700, &[0, 0, 0, 0, 0xc0, 0, 0, 0]);
    add(1560, &[0, 0, 0, 9, 0xf0, 0x80]);
    let of = |oid| Shape::Array(Box::new(Shape::Scalar(oid)));
    let two = [Some(&[0, 0, 0, 1][..]), None];
    all.add(of(23), Some(&array(23, &[(2, -5), (1, 1)], &two)));
    all.add(of(0), Some(&array(0, &[], &[])));
    let ten = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    all.add(of(1700), Some(&array(1700, &[(3, 1)], &[Some(&ten), None, Some(&ten)])));
    all.add(Shape::Scalar(25), None);
    all
}

fn unlimited() -> Meter<'static> {
    Meter::new(usize::MAX, &|| true)
}

#[test]
fn a_row_reads_back_as_the_generated_types_would_have_written_it() {
    let all = all_kinds();
    let body = all.body();
    let raw = RawRow::read(&body, all.shapes.len()).expect("a row");
    let mut batch = Batch::default();
    for columns in [all.shapes.as_slice(), &[]] {
        let mut one = Vec::new();
        assert_eq!(row(&mut one, columns, &raw, &mut unlimited()), Ok(()));
        batch.bytes.extend(one);
        batch.rows += 1;
    }
    let message = sql::QueryResponse::parse_from_bytes(&typed_batch(batch)).expect("parses");
    let rows = &message.batch().rows;
    assert_eq!(rows.len(), 2);
    let decoded = row::decode(&all.shapes, &raw, &mut unlimited()).expect("decodes");
    let expected: Vec<sql::Value> = decoded.into_iter().map(convert::values::value).collect();
    assert_eq!(rows[0].values, expected);
    assert!(message.special_fields.unknown_fields().iter().next().is_none());
}

#[test]
fn a_row_that_fits_is_written_whole_and_one_byte_less_is_too_little() {
    let all = all_kinds();
    let body = all.body();
    let raw = RawRow::read(&body, all.shapes.len()).expect("a row");
    let mut whole = Vec::new();
    assert_eq!(row(&mut whole, &all.shapes, &raw, &mut unlimited()), Ok(()));
    let mut random = Xorshift::new(11);
    for limit in (0..200).map(|_| random.below(2 * whole.len() as u64) as usize) {
        for limit in [limit, whole.len() - 1, whole.len()] {
            let mut out = Vec::new();
            let written = row(&mut out, &all.shapes, &raw, &mut Meter::new(limit, &|| true));
            if limit < whole.len() {
                assert!(matches!(written, Err((_, Stop::TooLarge))), "{limit}: {written:?}");
                // One text at most has been written too many.
                assert!(out.len() <= limit + 20_010, "{limit}: {}", out.len());
            } else {
                assert_eq!(written, Ok(()));
                assert!(out == whole, "{limit}");
            }
        }
    }
}

#[test]
fn what_a_few_bytes_become_is_not_made_when_it_is_too_much() {
    let ten = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    let mut values = Values::default();
    let elements = vec![Some(&ten[..]); 1000];
    let shape = Shape::Array(Box::new(Shape::Scalar(1700)));
    values.add(shape, Some(&array(1700, &[(1000, 1)], &elements)));
    let body = values.body();
    let raw = RawRow::read(&body, 1).expect("a row");
    let limit = 1 << 20;
    let mut out = Vec::new();
    let written = row(&mut out, &values.shapes, &raw, &mut Meter::new(limit, &|| true));
    assert_eq!(written, Err((0, Stop::TooLarge)));
    assert!(out.capacity() < 3 * limit, "{}", out.capacity());
    // And not when nobody wants it any more.
    let looks = std::cell::Cell::new(0);
    let is_wanted = || {
        looks.set(looks.get() + 1);
        looks.get() < 3
    };
    let mut out = Vec::new();
    let written = row(&mut out, &values.shapes, &raw, &mut Meter::new(usize::MAX, &is_wanted));
    assert_eq!((written, looks.get()), (Err((0, Stop::Unwanted)), 3));
    assert!(out.len() < limit, "{}", out.len());
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    let mut values = Values::default();
    values.add(Shape::Scalar(25), Some(b"x"));
    values.add(Shape::Scalar(23), Some(b"x"));
    let body = values.body();
    let raw = RawRow::read(&body, 2).expect("a row");
    let failed = row(&mut Vec::new(), &values.shapes, &raw, &mut unlimited());
    let Err((1, Stop::Malformed(error))) = failed else { panic!("{failed:?}") };
    assert_eq!(error.to_string(), "malformed int4: wrong length");
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
