//! Dates and times, rendered in UTC with the ISO date style.

use super::{fixed, DecodeError};

/// Days since 2000-01-01, as `1999-12-31` or `0044-03-15 BC`.
pub(super) fn date(bytes: &[u8]) -> Result<String, DecodeError> {
    match i32::from_be_bytes(fixed("date", bytes)?) {
        i32::MAX => Ok("infinity".to_owned()),
        i32::MIN => Ok("-infinity".to_owned()),
        days if !(DATE_MIN_DAYS..DATE_END_DAYS).contains(&days) => {
            Err(DecodeError::new("date", "out of range"))
        }
        days => {
            let (date, era) = calendar(days.into());
            Ok(date + era)
        }
    }
}

/// Microseconds since midnight, as `23:59:59.5`; midnight at the end is `24:00:00`.
pub(super) fn time(bytes: &[u8]) -> Result<String, DecodeError> {
    let micros = i64::from_be_bytes(fixed("time", bytes)?);
    time_of_day("time", micros)
}

/// A time and the offset of its zone, as `12:00:00+05:30`.
pub(super) fn timetz(bytes: &[u8]) -> Result<String, DecodeError> {
    let [t7, t6, t5, t4, t3, t2, t1, t0, z3, z2, z1, z0] = fixed("timetz", bytes)?;
    let micros = i64::from_be_bytes([t7, t6, t5, t4, t3, t2, t1, t0]);
    let west_seconds = i32::from_be_bytes([z3, z2, z1, z0]);
    if !(1 - ZONE_END_SECONDS..ZONE_END_SECONDS).contains(&west_seconds) {
        return Err(DecodeError::new("timetz", "zone out of range"));
    }
    Ok(time_of_day("timetz", micros)? + &zone(west_seconds))
}

/// Microseconds since 2000-01-01, as `1999-12-31 23:59:59.5`.
pub(super) fn timestamp(bytes: &[u8]) -> Result<String, DecodeError> {
    instant("timestamp", bytes, "")
}

/// As [`timestamp`], always in UTC: `1999-12-31 23:59:59.5+00`.
pub(super) fn timestamptz(bytes: &[u8]) -> Result<String, DecodeError> {
    instant("timestamptz", bytes, "+00")
}

/// Seconds with up to six decimals, trailing zeros cut: `05` or `05.25`.
///
/// Both arguments are magnitudes; `micros` is below one million.
pub(super) fn seconds(whole: u64, micros: u64) -> String {
    if micros == 0 {
        return format!("{whole:02}");
    }
    let text = format!("{whole:02}.{micros:06}");
    text.trim_end_matches('0').to_owned()
}

fn instant(type_name: &'static str, bytes: &[u8], zone: &str) -> Result<String, DecodeError> {
    match i64::from_be_bytes(fixed(type_name, bytes)?) {
        i64::MAX => Ok("infinity".to_owned()),
        i64::MIN => Ok("-infinity".to_owned()),
        micros if !(TIMESTAMP_MIN_MICROS..TIMESTAMP_END_MICROS).contains(&micros) => {
            Err(DecodeError::new(type_name, "out of range"))
        }
        micros => {
            let (date, era) = calendar(micros.div_euclid(DAY_MICROS));
            let time = time_of_day(type_name, micros.rem_euclid(DAY_MICROS))?;
            Ok(format!("{date} {time}{zone}{era}"))
        }
    }
}

fn time_of_day(type_name: &'static str, micros: i64) -> Result<String, DecodeError> {
    let micros = match u64::try_from(micros) {
        Ok(magnitude) if micros <= DAY_MICROS => magnitude,
        _ => return Err(DecodeError::new(type_name, "time out of range")),
    };
    let (total, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes) = (total / 3600, total / 60 % 60);
    Ok(format!("{hours:02}:{minutes:02}:{}", seconds(total % 60, micros)))
}

/// The server counts zones westwards, while the text counts them eastwards.
fn zone(west_seconds: i32) -> String {
    let sign = if west_seconds <= 0 { '+' } else { '-' };
    let total = west_seconds.unsigned_abs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{sign}{hours:02}"),
        (_, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// The date and the era's suffix, which PostgreSQL puts behind time and zone.
///
/// The proleptic Gregorian calendar, computed in eras of 400 years that begin
/// on 1 March, so that the leap day is the last day of a year.
fn calendar(days_since_2000: i64) -> (String, &'static str) {
    let days = days_since_2000 + DAYS_FROM_MARCH_0000_TO_2000;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // There is no year zero: the year before 1 AD is 1 BC.
    let (shown_year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{shown_year:04}-{month:02}-{day:02}"), suffix)
}

const DAY_MICROS: i64 = 86_400_000_000;

/// The days of 400 Gregorian years.
const ERA_DAYS: i64 = 146_097;

const DAYS_FROM_MARCH_0000_TO_2000: i64 = 730_425;

/// 4714-11-24 BC, day zero of the Julian day count.
const DATE_MIN_DAYS: i32 = -2_451_545;

/// The day after 5874897-12-31, the last date.
const DATE_END_DAYS: i32 = 2_145_031_949;

/// 4714-11-24 00:00:00 BC.
const TIMESTAMP_MIN_MICROS: i64 = -211_813_488_000_000_000;

/// 294277-01-01 00:00:00, the first instant that is out of range.
const TIMESTAMP_END_MICROS: i64 = 9_223_371_331_200_000_000;

/// Offsets are less than 16 hours.
const ZONE_END_SECONDS: i32 = 16 * 3600;

#[cfg(test)]
mod tests {
    use super::super::unhex;
    use super::*;

    // The pairs below are what PostgreSQL 15 gave for the type's send function
    // and its `::text`, with the time zone set to UTC.

    #[test]
    fn dates_read_as_the_server_prints_them() {
        for (hex, expected) in [
            ("00000000", "2000-01-01"),
            ("ffffffff", "1999-12-31"),
            ("00002279", "2024-02-29"),
            ("ffffd533", "1970-01-01"),
            ("fff4dbf9", "0001-01-01"),
            ("fff4dbf8", "0001-12-31 BC"),
            ("fff49d7b", "0044-03-15 BC"),
            ("ffda97a7", "4714-11-24 BC"),
            ("002c95d4", "10000-01-01"),
            ("7fda970c", "5874897-12-31"),
            ("7fffffff", "infinity"),
            ("80000000", "-infinity"),
        ] {
            assert_eq!(date(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn times_read_as_the_server_prints_them() {
        for (hex, expected) in [
            ("0000000000000000", "00:00:00"),
            ("000000141dd76000", "24:00:00"),
            ("000000141dd75fff", "23:59:59.999999"),
            ("0000000a8be4ca60", "12:34:56.7"),
            ("00000000dde878ca", "01:02:03.00001"),
        ] {
            assert_eq!(time(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn times_with_a_zone_show_its_offset_down_to_seconds() {
        for (hex, expected) in [
            ("000000000000000000000000", "00:00:00+00"),
            ("000000141dd7600000004650", "24:00:00-05"),
            ("0000000a8be4ca60ffffb2a8", "12:34:56.7+05:30"),
            ("0000000a8bda1c01ffffb299", "12:34:56.000001+05:30:15"),
            ("00000000dde878c000003138", "01:02:03-03:30"),
            ("00000000dde878c000000001", "01:02:03-00:00:01"),
            ("0000000861c46800ffff1f01", "10:00:00+15:59:59"),
            ("0000000861c468000000e0ff", "10:00:00-15:59:59"),
        ] {
            assert_eq!(timetz(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn timestamps_read_as_the_server_prints_them() {
        for (hex, expected) in [
            ("0000000000000000", "2000-01-01 00:00:00"),
            ("ffffffffffffffff", "1999-12-31 23:59:59.999999"),
            ("0002b583416e1d20", "2024-02-29 12:34:56.5"),
            ("ff1af9dfca476950", "0044-03-15 01:02:03.25 BC"),
            ("fd0f7cc1411fa000", "4714-11-24 00:00:00 BC"),
            ("7fffff5bb3b29fff", "294276-12-31 23:59:59.999999"),
            ("7fffffffffffffff", "infinity"),
            ("8000000000000000", "-infinity"),
            ("0380e70b913d06a0", "10000-01-01 00:00:00.1"),
        ] {
            assert_eq!(timestamp(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn timestamps_with_a_zone_are_shown_in_utc() {
        for (hex, expected) in [
            ("fffffffe52d8b800", "1999-12-31 22:00:00+00"),
            ("ff1af9dfca476950", "0044-03-15 01:02:03.25+00 BC"),
            ("fd0f7cc1411fa000", "4714-11-24 00:00:00+00 BC"),
            ("7fffff5bb3b29fff", "294276-12-31 23:59:59.999999+00"),
            ("7fffffffffffffff", "infinity"),
            ("8000000000000000", "-infinity"),
        ] {
            assert_eq!(timestamptz(&unhex(hex)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_the_server_cannot_hold_is_an_error() {
        for days in [DATE_MIN_DAYS - 1, DATE_END_DAYS, i32::MIN + 1, i32::MAX - 1] {
            assert_eq!(date(&days.to_be_bytes()).unwrap_err().why, "out of range");
        }
        for micros in [-1, DAY_MICROS + 1, i64::MIN, i64::MAX] {
            assert_eq!(time(&micros.to_be_bytes()).unwrap_err().why, "time out of range");
        }
        for micros in [TIMESTAMP_MIN_MICROS - 1, TIMESTAMP_END_MICROS, i64::MAX - 1] {
            assert_eq!(timestamp(&micros.to_be_bytes()).unwrap_err().why, "out of range");
        }
        for zone in ["0000e100", "ffff1f00", "80000000", "7fffffff"] {
            let error = timetz(&unhex(&format!("0000000000000000{zone}"))).unwrap_err();
            assert_eq!(error.why, "zone out of range");
        }
    }
}
