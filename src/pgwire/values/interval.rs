//! Intervals, rendered as `IntervalStyle` postgres does.

use super::datetime::seconds;
use super::{fixed, DecodeError};

/// Microseconds, days and months, as `1 year 2 mons -3 days +04:05:06`.
pub(super) fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    let bytes: [u8; 16] = fixed("interval", bytes)?;
    let [m7, m6, m5, m4, m3, m2, m1, m0, d3, d2, d1, d0, n3, n2, n1, n0] = bytes;
    let micros = i64::from_be_bytes([m7, m6, m5, m4, m3, m2, m1, m0]);
    let days = i32::from_be_bytes([d3, d2, d1, d0]);
    let months = i32::from_be_bytes([n3, n2, n1, n0]);
    // PostgreSQL 17 took the two extreme values for infinity; before, they were the finite
    // ends of the range, which are not used in practice.
    Ok(match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => "infinity".to_owned(),
        (i64::MIN, i32::MIN, i32::MIN) => "-infinity".to_owned(),
        _ => finite(micros, days, months),
    })
}

fn finite(micros: i64, days: i32, months: i32) -> String {
    let mut parts = Parts { out: String::new(), after_negative: false };
    // Division truncates, so years and months share the sign of the field.
    parts.push(months / 12, "year");
    parts.push(months % 12, "mon");
    parts.push(days, "day");
    if micros != 0 || parts.out.is_empty() {
        parts.push_time(micros);
    }
    parts.out
}

struct Parts {
    out: String,
    /// The part before was negative, so a positive one needs a plus to be read
    /// rightly. Zero parts are left out and do not count.
    after_negative: bool,
}

impl Parts {
    fn push(&mut self, count: i32, unit: &str) {
        if count == 0 {
            return;
        }
        self.separate();
        if count > 0 && self.after_negative {
            self.out.push('+');
        }
        // The plural depends on the exact number: it is "-1 days".
        let plural = if count == 1 { "" } else { "s" };
        self.out.push_str(&format!("{count} {unit}{plural}"));
        self.after_negative = count < 0;
    }

    fn push_time(&mut self, micros: i64) {
        self.separate();
        if micros < 0 {
            self.out.push('-');
        } else if self.after_negative {
            self.out.push('+');
        }
        let micros = micros.unsigned_abs();
        let (total, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (hours, minutes) = (total / 3600, total / 60 % 60);
        let seconds = seconds(total % 60, micros);
        self.out.push_str(&format!("{hours:02}:{minutes:02}:{seconds}"));
    }

    fn separate(&mut self) {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::unhex;
    use super::*;

    /// Pairs of `interval_send` and `::text`, as PostgreSQL 15 gave them.
    const SERVER: [(&str, &str); 21] = [
        ("00000000000000000000000000000000", "00:00:00"),
        ("0000000000000000000000000000000c", "1 year"),
        ("000000000000000000000000fffffff4", "-1 years"),
        ("000000036c966ee0000000030000000e", "1 year 2 mons 3 days 04:05:06.7"),
        ("fffffffc9369912000000003fffffff2", "-1 years -2 mons +3 days -04:05:06.7"),
        ("000000000000000000000001ffffffff", "-1 mons +1 day"),
        ("00000000d693a400ffffffff00000001", "1 mon -1 days +01:00:00"),
        ("00000000000f4240ffffffff00000000", "-1 days +00:00:01"),
        ("00000000000000000000000100000000", "1 day"),
        ("0000000000000000ffffffff00000000", "-1 days"),
        ("ffffffffffffffff0000000000000000", "-00:00:00.000001"),
        ("00000053d1ac10000000000000000000", "100:00:00"),
        ("fffffffffff0bdc00000000100000000", "1 day -00:00:01"),
        ("00000000000f424000000001fffffff5", "-11 mons +1 day 00:00:01"),
        ("0000000000000000000000007fffffff", "178956970 years 7 mons"),
        ("00000000000000007fffffff00000000", "2147483647 days"),
        ("00000000000000008000000000000000", "-2147483648 days"),
        ("00000000000000000000000080000000", "-178956970 years -8 mons"),
        ("80000000000000000000000000000000", "-2562047788:00:54.775808"),
        ("7fffffffffffffff0000000000000000", "2562047788:00:54.775807"),
        ("0000000ae57f540000000000fffffff3", "-1 years -1 mons +13:00:00"),
    ];

    #[test]
    fn intervals_read_as_the_server_prints_them() {
        for (hex, expected) in SERVER {
            assert_eq!(text(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_extreme_values_are_infinite() {
        let largest = unhex("7fffffffffffffff7fffffff7fffffff");
        assert_eq!(text(&largest).as_deref(), Ok("infinity"));
        let smallest = unhex("80000000000000008000000080000000");
        assert_eq!(text(&smallest).as_deref(), Ok("-infinity"));
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        assert_eq!(text(&[0; 15]).unwrap_err().why, "wrong length");
        assert_eq!(text(&[0; 17]).unwrap_err().why, "wrong length");
    }
}
