//! The binary format of `numeric`: base 10000 digits around a decimal point.

use super::{fixed, DecodeError};

/// Renders a numeric exactly as the server's `::text` does.
///
/// The output is at most about 150 kB, whatever the header claims: weight and
/// scale are 16-bit numbers.
pub(super) fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    let numeric = Numeric::parse(bytes)?;
    Ok(match numeric.sign {
        Sign::NaN => "NaN".to_owned(),
        Sign::Infinity => "Infinity".to_owned(),
        Sign::NegativeInfinity => "-Infinity".to_owned(),
        Sign::Positive => numeric.render(""),
        Sign::Negative => numeric.render("-"),
    })
}

struct Numeric<'a> {
    sign: Sign,
    /// The exponent of the first digit, in powers of 10000.
    weight: i32,
    /// The number of decimal digits shown after the point.
    scale: usize,
    /// Base 10000 digits, two bytes each, most significant first.
    digits: &'a [[u8; 2]],
}

enum Sign {
    Positive,
    Negative,
    NaN,
    Infinity,
    NegativeInfinity,
}

impl<'a> Numeric<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
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

    fn render(&self, sign: &str) -> String {
        let whole_groups = usize::try_from(self.weight + 1).unwrap_or(0);
        let mut out = String::with_capacity(whole_groups * 4 + self.scale + 6);
        out.push_str(sign);
        if self.weight < 0 {
            out.push('0');
        }
        for index in 0..=self.weight {
            let group = self.decimals(index);
            // Only the first group loses its leading zeros, but never its last digit.
            let zeros = group.iter().take(3).take_while(|digit| **digit == b'0').count();
            let skipped = if index == 0 { zeros } else { 0 };
            out.extend(group.iter().skip(skipped).copied().map(char::from));
        }
        if self.scale > 0 {
            out.push('.');
            let groups = (self.weight + 1..).flat_map(|index| self.decimals(index));
            out.extend(groups.take(self.scale).map(char::from));
        }
        out
    }

    /// The four decimal digits of one group; groups that were not sent are zero.
    fn decimals(&self, index: i32) -> [u8; 4] {
        let sent = usize::try_from(index).ok().and_then(|index| self.digits.get(index));
        let group = sent.map_or(0, |digit| u16::from_be_bytes(*digit));
        // Each quotient is below ten, because a group is below 10000.
        [group / 1000, group / 100 % 10, group / 10 % 10, group % 10]
            .map(|digit| b'0' + digit as u8)
    }
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
    use super::super::unhex;
    use super::*;

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
