//! How a setting is read and shown.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::draft::Draft;
use crate::settings::{shown_bytes as size, SettingFault, SettingValue};

/// Where a value is kept.
pub type DraftPlace<T> = fn(&mut Draft) -> &mut T;

/// How a setting is read, within which bounds, and where it is kept.
pub enum SettingKind {
    /// On or off.
    Switch(DraftPlace<bool>),
    /// A port.
    Port(DraftPlace<u16>),
    /// A number.
    Count(RangeInclusive<u64>, DraftPlace<usize>),
    /// A small number.
    Small(RangeInclusive<u64>, DraftPlace<u32>),
    /// A number that may be absent.
    Optional(RangeInclusive<u64>, DraftPlace<Option<usize>>),
    /// A fraction.
    Fraction(RangeInclusive<f64>, DraftPlace<f64>),
    /// A time.
    Time(RangeInclusive<Duration>, DraftPlace<Duration>),
    /// Bytes.
    Size(RangeInclusive<usize>, DraftPlace<usize>),
    /// Something of its own.
    Custom(Custom),
}

/// A setting that is read in its own way.
pub struct Custom {
    /// What its value is called in the help.
    pub value: &'static str,
    /// What is allowed, for people.
    pub allowed: &'static str,
    /// Reads it.
    pub set: fn(&mut Draft, &SettingValue) -> Result<(), SettingFault>,
    /// Shows it as it would be given.
    pub show: fn(&Draft) -> Option<String>,
    /// Whether it is an array in the file.
    pub is_list: bool,
}

/// Seconds, as the bounds of a [`SettingKind::Time`].
pub const fn secs(least: u64, most: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(least)..=Duration::from_secs(most)
}

/// A bound that nobody meets.
pub const ANY: u64 = u32::MAX as u64;

/// What a number is called in the help.
const COUNT: &str = "COUNT";

fn number<T: TryFrom<u64>>(
    value: &SettingValue,
    range: &RangeInclusive<u64>,
) -> Result<T, SettingFault> {
    let number = value.number(range.clone())?;
    T::try_from(number).map_err(|_| value.fault_shown("must be a smaller integer"))
}

impl SettingKind {
    pub(super) fn set(&self, draft: &mut Draft, value: &SettingValue) -> Result<(), SettingFault> {
        match self {
            SettingKind::Switch(at) => *at(draft) = value.boolean()?,
            SettingKind::Port(at) => *at(draft) = number(value, &(0..=65_535))?,
            SettingKind::Count(range, at) => *at(draft) = number(value, range)?,
            SettingKind::Small(range, at) => *at(draft) = number(value, range)?,
            SettingKind::Optional(range, at) => *at(draft) = Some(number(value, range)?),
            SettingKind::Fraction(range, at) => *at(draft) = value.fraction(range.clone())?,
            SettingKind::Time(range, at) => *at(draft) = value.duration(range.clone())?,
            SettingKind::Size(range, at) => *at(draft) = value.bytes(range.clone())?,
            SettingKind::Custom(custom) => (custom.set)(draft, value)?,
        }
        Ok(())
    }

    pub(super) fn show(&self, draft: &mut Draft) -> Option<String> {
        Some(match self {
            SettingKind::Switch(at) => at(draft).to_string(),
            SettingKind::Port(at) => at(draft).to_string(),
            SettingKind::Count(_, at) => at(draft).to_string(),
            SettingKind::Small(_, at) => at(draft).to_string(),
            SettingKind::Optional(_, at) => return at(draft).map(|number| number.to_string()),
            SettingKind::Fraction(_, at) => at(draft).to_string(),
            SettingKind::Time(_, at) => time(*at(draft)),
            SettingKind::Size(_, at) => size(*at(draft)),
            SettingKind::Custom(custom) => return (custom.show)(draft),
        })
    }

    /// A shown value as one of the file.
    pub(super) fn toml(&self, text: &str) -> String {
        let quoted = |text: &str| format!("{text:?}");
        match self {
            SettingKind::Custom(custom) if custom.is_list => {
                let parts = text.split(',').filter(|part| !part.is_empty());
                format!("[{}]", parts.map(quoted).collect::<Vec<_>>().join(", "))
            }
            SettingKind::Custom(custom) if custom.value != COUNT => quoted(text),
            SettingKind::Time(..) | SettingKind::Size(..) if text.parse::<u64>().is_err() => {
                quoted(text)
            }
            _ => text.to_owned(),
        }
    }

    /// What its value is called in the help.
    pub fn value_name(&self) -> &'static str {
        match self {
            SettingKind::Switch(_) => "",
            SettingKind::Port(_) => "PORT",
            SettingKind::Count(..) | SettingKind::Small(..) | SettingKind::Optional(..) => COUNT,
            SettingKind::Fraction(..) => "FRACTION",
            SettingKind::Time(..) => "TIME",
            SettingKind::Size(..) => "SIZE",
            SettingKind::Custom(custom) => custom.value,
        }
    }

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        match self {
            SettingKind::Switch(_) => "true, false".to_owned(),
            SettingKind::Port(_) => "0 to 65535".to_owned(),
            SettingKind::Count(range, _)
            | SettingKind::Small(range, _)
            | SettingKind::Optional(range, _) => match (*range.start(), *range.end()) {
                (least, most) if most >= ANY => format!("from {least}"),
                (least, most) => format!("{least} to {most}"),
            },
            SettingKind::Fraction(range, _) => format!("{} to {}", range.start(), range.end()),
            SettingKind::Time(range, _) => match (time(*range.start()), *range.end()) {
                (least, most) if most >= FOREVER => format!("from {least}"),
                (least, most) => format!("{least} to {}", time(most)),
            },
            SettingKind::Size(range, _) => match (*range.start(), *range.end()) {
                (least, usize::MAX) => format!("from {}", size(least)),
                (least, most) => format!("{} to {}", size(least), size(most)),
            },
            SettingKind::Custom(custom) => custom.allowed.to_owned(),
        }
    }
}

/// Ten years: as good as for ever, and no clock overflows with it.
const FOREVER: Duration = Duration::from_secs(FOREVER_SECS);
/// The same in seconds.
pub const FOREVER_SECS: u64 = 10 * 365 * 86_400;

/// Whole seconds as a number, others with their unit.
fn time(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => time.as_secs().to_string(),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", time.as_millis()),
        _ => format!("{}ns", time.as_nanos()),
    }
}
