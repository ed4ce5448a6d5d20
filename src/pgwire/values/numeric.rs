//! The binary format of `numeric`: base 10000 digits around a decimal point.

use super::{fixed, DecodeError};

/// A number in binary form.
///
/// Its text is at most about 150 kB, whatever the header claims: weight and scale are
/// 16-bit numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numeric<'a> {
    sign: Sign,
    /// The exponent of the first digit, in powers of 10000.
    weight: i32,
    /// The number of decimal digits shown after the point.
    scale: usize,
    /// Base 10000 digits, two bytes each, most significant first.
    digits: &'a [[u8; 2]],
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    Positive,
    Negative,
    NaN,
    Infinity,
    NegativeInfinity,
}

impl Sign {
    /// The text, or the part before the digits.
    fn text(self) -> &'static str {
        match self {
            Sign::Positive => "",
            Sign::Negative => "-",
            Sign::NaN => "NaN",
            Sign::Infinity => "Infinity",
            Sign::NegativeInfinity => "-Infinity",
        }
    }

    fn has_digits(self) -> bool {
        matches!(self, Sign::Positive | Sign::Negative)
    }
}

impl<'a> Numeric<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((header, digits)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(malformed("wrong length"));
        };
        let [c1, c0, w1, w0, s1, s0, d1, d0]: [u8; HEADER_BYTES] = fixed("numeric", header)?;
        let count = u16::from_be_bytes([c1, c0]);
        let (digits, odd) = digits.as_chunks::<2>();
        if digits.len() != usize::from(count) || !odd.is_empty() {
            return Err(malformed("wrong length"));
        }
        if digits.iter().any(|digit| u16::from_be_bytes(*digit) >= BASE) {
            return Err(malformed("digit above 9999"));
        }
        let scale = u16::from_be_bytes([d1, d0]);
        if scale > SCALE_MAX {
            return Err(malformed("scale out of range"));
        }
        let sign = match u16::from_be_bytes([s1, s0]) {
            0x0000 => Sign::Positive,
            0x4000 => Sign::Negative,
            0xC000 => Sign::NaN,
            0xD000 => Sign::Infinity,
            0xF000 => Sign::NegativeInfinity,
            _ => return Err(malformed("unknown sign")),
        };
        let weight = i16::from_be_bytes([w1, w0]).into();
        Ok(Numeric { sign, weight, scale: scale.into(), digits })
    }

    /// The length of the text.
    pub(super) fn length(&self) -> usize {
        let sign = self.sign.text().len();
        if !self.sign.has_digits() {
            return sign;
        }
        let whole = match usize::try_from(self.weight) {
            // A zero precedes the point.
            Err(_) => 1,
            Ok(weight) => 4 * weight + 4 - leading_zeros(self.group(0)),
        };
        let fraction = if self.scale > 0 { 1 + self.scale } else { 0 };
        sign + whole + fraction
    }

    /// Adds the text, exactly as the server's `::text` is.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.sign.text().as_bytes());
        if !self.sign.has_digits() {
            return;
        }
        // Some more than are needed are written at the end, and cut off.
        out.reserve(self.length() + 4);
        // Groups that were sent and precede the point.
        let mut sent = 0;
        match usize::try_from(self.weight) {
            Err(_) => out.push(b'0'),
            Ok(weight) => {
                let first = self.group(0);
                out.extend_from_slice(first.get(leading_zeros(first)..).unwrap_or_default());
                let end = out.len() + 4 * weight;
                sent = self.digits.len().min(weight + 1);
                self.groups(1, sent, out);
                // Those that were not sent are zero.
                out.resize(end, b'0');
            }
        }
        if self.scale == 0 {
            return;
        }
        out.push(b'.');
        let end = out.len() + self.scale;
        // Groups between the point and the first that was sent.
        let empty = usize::try_from(-1 - self.weight).unwrap_or(0);
        let needed = self.scale.div_ceil(4);
        out.resize(out.len() + 4 * empty.min(needed), b'0');
        self.groups(sent, sent.saturating_add(needed.saturating_sub(empty)), out);
        out.resize(end, b'0');
    }

    /// Adds the groups from `from` to before `to`, those of them that were sent.
    fn groups(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        let to = to.min(self.digits.len());
        for digit in self.digits.get(from..to).unwrap_or_default() {
            out.extend_from_slice(&decimals(u16::from_be_bytes(*digit)));
        }
    }

    /// The four decimal digits of one group; groups that were not sent are zero.
    fn group(&self, index: usize) -> [u8; 4] {
        decimals(self.digits.get(index).map_or(0, |digit| u16::from_be_bytes(*digit)))
    }
}

fn decimals(group: u16) -> [u8; 4] {
    // Each quotient is below ten, because a group is below 10000.
    [group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8)
}

/// Only the first group loses its leading zeros, but never its last digit.
fn leading_zeros(group: [u8; 4]) -> usize {
    group.iter().take(3).take_while(|digit| **digit == b'0').count()
}

fn malformed(why: &'static str) -> DecodeError {
    DecodeError::new("numeric", why)
}

/// Count, weight, sign and scale.
const HEADER_BYTES: usize = 8;

const BASE: u16 = 10_000;

/// The scale has 14 bits, as in the server's `NUMERIC_DSCALE_MASK`.
const SCALE_MAX: u16 = 0x3FFF;

#[cfg(test)]
mod tests {
    use super::super::digits::Digits;
    use super::super::unhex;
    use super::*;
    use crate::core::testing::Xorshift;

    /// Pairs of `numeric_send` and `::text`, as PostgreSQL 15 gave them.
    const SERVER: [(&str, &str); 21] = [
        ("0000000000000000", "0"),
        ("0000000000000002", "0.00"),
        ("00010000000000000001", "1"),
        ("00010000400000000001", "-1"),
        ("00010001000000000001", "10000"),
        ("0001ffff000000040001", "0.0001"),
        ("0002ffff00000005000107d0", "0.00012"),
        ("000600020000000a000109291a85007b11d722c4", "123456789.0123456789"),
        ("0001ffff400000011388", "-0.5"),
        ("00010005000000000001", "100000000000000000000"),
        ("0001fffb000000140001", "0.00000000000000000001"),
        ("0002000000000004270f270f", "9999.9999"),
        ("00010002000000020001", "100000000.00"),
        ("0003000100000001000109291770", "12345.6"),
        ("00000000c0000000", "NaN"),
        ("00000000d0000020", "Infinity"),
        ("00000000f0000020", "-Infinity"),
        ("000100000000000003e8", "1000"),
        ("0001ffff0000000203e8", "0.10"),
        ("0005000400000000270f270f270f270f270f", "99999999999999999999"),
        ("0001fffb000000170001", "0.00000000000000000001000"),
    ];

    fn text(bytes: &[u8]) -> Result<String, DecodeError> {
        let digits = Digits::Numeric(Numeric::read(bytes)?);
        let text = digits.text();
        assert_eq!(text.len(), digits.length());
        Ok(text)
    }

    /// The text by the book: each decimal digit by its place.
    fn naive(weight: i32, negative: bool, scale: i32, digits: &[u16]) -> String {
        // The digit before 10 to the power `exponent`.
        let digit = |exponent: i32| {
            let group = usize::try_from(weight - exponent.div_euclid(4)).ok();
            let group = group.and_then(|group| digits.get(group)).copied().unwrap_or(0);
            let digit = u32::from(group) / 10u32.pow(exponent.rem_euclid(4) as u32) % 10;
            char::from_digit(digit, 10).unwrap()
        };
        let whole: String = (0..4 * (weight + 1)).rev().map(digit).collect();
        let zeros = whole.bytes().take(3).take_while(|byte| *byte == b'0').count();
        let whole = if whole.is_empty() { "0" } else { &whole[zeros..] };
        let fraction: String = (-scale..0).rev().map(digit).collect();
        let sign = if negative { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        format!("{sign}{whole}{point}{fraction}")
    }

    #[test]
    fn random_numbers_read_as_their_digits_stand() {
        let mut random = Xorshift::new(3);
        for round in 0..20_000 {
            // Now and then the weight is anything.
            let span = if round % 100 == 0 { 65_536 } else { 24 };
            let weight = random.below(span) as i32 - span as i32 / 2;
            let scale = random.below(if round % 50 == 0 { 16_384 } else { 40 }) as i32;
            let negative = random.below(2) == 1;
            let mut digit = || match random.below(4) {
                0 => 0,
                1 => random.below(10) as u16,
                _ => random.below(10_000) as u16,
            };
            let digits: Vec<u16> = (0..round % 13).map(|_| digit()).collect();
            let sign = if negative { 0x4000 } else { 0 };
            let header = [digits.len() as u16, weight as u16, sign, scale as u16];
            let words = header.iter().chain(&digits);
            let bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
            let expected = naive(weight, negative, scale, &digits);
            assert_eq!(text(&bytes).as_deref(), Ok(expected.as_str()), "{header:?} {digits:?}");
        }
    }

    #[test]
    fn numbers_read_as_the_server_prints_them() {
        for (hex, expected) in SERVER {
            assert_eq!(text(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_largest_power_of_ten_has_all_its_zeros() {
        // select power(10::numeric, 131071)
        let text = text(&unhex("00017fff0000001003e8")).unwrap();
        assert_eq!(text, format!("1{}.{}", "0".repeat(131_071), "0".repeat(16)));
    }

    #[test]
    fn thousands_of_digits_survive() {
        // select repeat('9', 2001)::numeric
        let nines = unhex(&format!("01f501f4000000000009{}", "270f".repeat(500)));
        assert_eq!(text(&nines).unwrap(), "9".repeat(2001));
        // select ('0.' || repeat('1', 2500))::numeric
        let ones = unhex(&format!("0271ffff000009c4{}", "0457".repeat(625)));
        assert_eq!(text(&ones).unwrap(), format!("0.{}", "1".repeat(2500)));
    }

    #[test]
    fn a_header_that_lies_is_an_error() {
        for (hex, why) in [
            ("", "wrong length"),
            ("00000000000000", "wrong length"),
            ("0001000000000000", "wrong length"),
            ("ffff000000000000", "wrong length"),
            ("000000000000000000", "wrong length"),
            ("00000000000000000001", "wrong length"),
            ("00010000000000002710", "digit above 9999"),
            ("0001000000000000ffff", "digit above 9999"),
            ("0000000000004000", "scale out of range"),
            ("0000000012340000", "unknown sign"),
        ] {
            assert_eq!(text(&unhex(hex)), Err(malformed(why)), "{hex}");
        }
    }

    #[test]
    fn extreme_weights_and_scales_stay_bounded() {
        assert_eq!(text(&unhex("00007fff00003fff")).unwrap().len(), 131_069 + 1 + 16_383);
        assert_eq!(text(&unhex("0000800000003fff")).unwrap().len(), 2 + 16_383);
    }
}
