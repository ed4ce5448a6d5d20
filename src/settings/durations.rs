//! Durations as people write them.

use std::time::Duration;

/// Reads whole seconds, `30`, or Go's syntax, `30s`, `1m30s`, `250ms`; never negative.
pub fn duration(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    go_duration(text)
}

/// Go's `time.ParseDuration`, without negative durations.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            // The micro sign and the Greek letter look alike; Go takes both.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        // Below 2^64 times 2^42, so neither product nor sum overflows.
        nanos += u128::from(number(whole)?) * unit_nanos;
        // Digits beyond the eighteenth are less than a nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10u128.pow(fraction.len() as u32);
        nanos += u128::from(number(fraction)?) * unit_nanos / scale;
        if nanos > GO_DURATION_MAX_NANOS {
            return None;
        }
        rest = after;
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    }
}

/// Go counts in signed 64-bit nanoseconds, about 292 years.
const GO_DURATION_MAX_NANOS: u128 = i64::MAX as u128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_follow_go() {
        for (text, nanos) in [
            ("0", 0),
            ("5", 5_000_000_000),
            ("0030", 30_000_000_000),
            ("+5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us3ns", 2_003),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in [
            "",
            "+",
            "-5",
            "-5s",
            "99999999999999999999",
            "s",
            ".s",
            "1d",
            "1 s",
            "1h 2m",
            "1.2.3s",
            "\u{661}s",
            "9223372036854775808ns",
            "99999999999999999999999h",
            "2562048h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
