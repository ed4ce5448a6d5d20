//! Durations in log lines and messages.

use std::fmt;
use std::time::Duration;

/// A time in seconds, as a plain number: `30`, `1.234`, `0.05`. Milliseconds are the
/// smallest unit. Keys that hold one end in `_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secs(pub Duration);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = format!("{:.3}", self.0.as_secs_f64());
        f.write_str(whole.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_plain_number_of_seconds_whatever_its_size() {
        for (micros, said) in [
            (0, "0"),
            (400, "0"),
            (1_500, "0.002"),
            (50_000, "0.05"),
            (1_234_000, "1.234"),
            (10_000_000, "10"),
            (300_000_000, "300"),
            (86_400_100_000, "86400.1"),
        ] {
            assert_eq!(Secs(Duration::from_micros(micros)).to_string(), said);
        }
    }
}
