//! Values of every type, as they come and as they are counted.

use std::cell::Cell;

use super::*;
use crate::core::testing::Xorshift;

const ALL: [u32; 34] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 28, 29, 114, 142, 650, 700, 701, 705, 774, 829, 869, 1042,
    1043, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1562, 1700, 2950, 3220, 3802,
];

/// Without a limit, and counted as it says itself.
fn decode(oid: u32, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut meter = Meter::new(usize::MAX, &|| true);
    match super::decode(&Shape::Scalar(oid), bytes, &mut meter) {
        Ok(value) => Ok(value),
        Err(Stop::Malformed(error)) => Err(error),
        Err(stop) => panic!("{stop:?}"),
    }
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

/// Bytes that are often a value of this type.
fn likely(oid: u32, random: &mut Xorshift) -> Vec<u8> {
    let mut some = |most: u64| -> Vec<u8> {
        (0..random.below(most + 1)).map(|_| random.below(128) as u8).collect()
    };
    match oid {
        16 => vec![some(1).len() as u8],
        21 => [some(2), vec![0; 2]].concat()[..2].to_vec(),
        20 | 701 | 1083 | 1114 | 1184 => [vec![0], some(7), vec![9; 7]].concat()[..8].to_vec(),
        1186 => [some(16), vec![3; 16]].concat()[..16].to_vec(),
        2950 => [some(16), vec![3; 16]].concat()[..16].to_vec(),
        1560 => {
            let bits = some(40);
            [&(8 * bits.len() as u32).to_be_bytes()[..], &bits].concat()
        }
        1700 => {
            let digits: Vec<u8> =
                some(9).into_iter().flat_map(|digit| [digit % 39, digit]).collect();
            let weight = some(2);
            let weight = [weight.first().copied().unwrap_or(0), 7];
            let scale = [0, some(9).len() as u8];
            let count = [0, (digits.len() / 2) as u8];
            [&count[..], &weight, &[0, 0], &scale, &digits].concat()
        }
        3802 => [vec![1], some(20)].concat(),
        _ => some(20),
    }
}

/// A value or an array of several, and how it is read.
fn sample(random: &mut Xorshift) -> (Shape, Vec<u8>) {
    const KINDS: [u32; 14] =
        [16, 17, 20, 21, 25, 600, 701, 1083, 1114, 1184, 1186, 1560, 1700, 3802];
    let oid = KINDS[random.below(KINDS.len() as u64) as usize];
    if random.below(2) == 0 {
        return (Shape::Scalar(oid), likely(oid, random));
    }
    let count = random.below(20) as u32;
    let header = [1, 0, oid, count, 1];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    for _ in 0..count {
        let element = (random.below(4) > 0).then(|| likely(oid, random));
        let length = element.as_ref().map_or(-1, |element| element.len() as i32);
        bytes.extend(length.to_be_bytes());
        bytes.extend(element.unwrap_or_default());
    }
    (Shape::Array(Box::new(Shape::Scalar(oid))), bytes)
}

#[test]
fn what_fits_is_decoded_as_without_a_limit_and_what_does_not_is_told() {
    let mut random = Xorshift::new(5);
    let (mut whole, mut large) = (0, 0);
    for _ in 0..20_000 {
        let (shape, bytes) = sample(&mut random);
        let limited = |limit| super::decode(&shape, &bytes, &mut Meter::new(limit, &|| true));
        let Ok(value) = limited(usize::MAX) else { continue };
        let size = value.encoded_size();
        let limit = match random.below(4) {
            0 => size,
            1 => size - 1,
            _ => random.below(2 * size as u64) as usize,
        };
        if size <= limit {
            whole += 1;
            assert_eq!(limited(limit), Ok(value), "{shape:?} {bytes:?} {limit}");
        } else {
            large += 1;
            assert_eq!(limited(limit), Err(Stop::TooLarge), "{shape:?} {bytes:?} {limit}");
        }
    }
    assert!(whole > 5000 && large > 5000, "{whole} {large}");
}

#[test]
fn an_array_that_nobody_wants_any_more_is_not_decoded_to_its_end() {
    // Ten thousand numbers of a hundred and thirty thousand digits: 1.3 GB.
    let mut bytes = unhex("0000000100000000000006a40000271000000001");
    bytes.extend(unhex("0000000a00017fff000000000001").repeat(10_000));
    let shape = Shape::Array(Box::new(Shape::Scalar(1700)));
    let looks = Cell::new(0);
    let is_wanted = || {
        looks.set(looks.get() + 1);
        looks.get() < 4
    };
    let stop = super::decode(&shape, &bytes, &mut Meter::new(usize::MAX, &is_wanted));
    assert_eq!((stop, looks.get()), (Err(Stop::Unwanted), 4));
}

#[test]
fn a_value_of_a_few_bytes_is_never_larger_than_is_said_before() {
    let mut random = Xorshift::new(7);
    let mut small = 0;
    for oid in 1..5000 {
        let Some(most) = Shape::Scalar(oid).most_encoded() else { continue };
        small += 1;
        for length in [1, 2, 4, 8] {
            let any: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            for bytes in [vec![0; length], vec![0xff; length], any] {
                let Ok(value) = decode(oid, &bytes) else { continue };
                assert!(value.encoded_size() <= most, "{oid}: {bytes:?}");
            }
        }
        assert_eq!(Shape::Array(Box::new(Shape::Scalar(oid))).most_encoded(), None);
        assert_eq!(Shape::Enum(oid).most_encoded(), None);
    }
    assert_eq!(small, 7);
    assert_eq!(Shape::Scalar(oid::TEXT).most_encoded(), None);
}
