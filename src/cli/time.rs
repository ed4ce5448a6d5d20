//! Times on the command line.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::core::secs::Secs;
use crate::settings::duration;

/// Parses a time within these bounds, in seconds: `30`, `30s` or `1m30s`.
pub(super) fn within(
    secs: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    let range = Duration::from_secs(*secs.start())..=Duration::from_secs(*secs.end());
    move |text| {
        let time = duration(text)
            .ok_or_else(|| "expected seconds, or a time such as 1m30s or 250ms".to_owned())?;
        if range.contains(&time) {
            return Ok(time);
        }
        Err(format!("{} s to {} s are allowed", Secs(*range.start()), Secs(*range.end())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_units_and_keeps_to_its_bounds() {
        let read = within(1..=3600);
        for (text, millis) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1500ms", 1_500),
            ("1.5s", 1_500),
        ] {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "1.5", "30 s", "5x", "99999999999999999999"] {
            assert!(read(text).is_err_and(|error| error.contains("1m30s")), "{text}");
        }
        for text in ["0", "0s", "999ms", "3601", "1h1s"] {
            assert_eq!(read(text), Err("1 s to 3600 s are allowed".to_owned()), "{text}");
        }
    }
}
