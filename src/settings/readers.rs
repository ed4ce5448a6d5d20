//! The typed value, or what is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{bytes, duration, moment, shown_bytes, Content, Origin, SettingFault, SettingValue};

impl SettingValue {
    /// A text. A number in a file is none.
    ///
    /// # Errors
    /// It is something else. The value is not shown: it may be a secret.
    pub fn text(&self) -> Result<&str, SettingFault> {
        match &self.content {
            Content::Text(text) => Ok(text),
            other => Err(self.fault(format!("must be a string, and is {}", other.kind()))),
        }
    }

    /// True or false; in a text also `yes`, `on`, `1` and their opposites, in any case.
    ///
    /// # Errors
    /// It is something else.
    pub fn boolean(&self) -> Result<bool, SettingFault> {
        let said = match &self.content {
            Content::Boolean(flag) => return Ok(*flag),
            Content::Text(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match said.as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(self.fault_shown("must be true or false")),
        }
    }

    /// An integer within these bounds.
    ///
    /// # Errors
    /// It is something else, or outside.
    pub fn number(&self, range: RangeInclusive<u64>) -> Result<u64, SettingFault> {
        let number = match &self.content {
            Content::Integer(number) => u64::try_from(*number).ok(),
            Content::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            self.fault_shown(format!("must be an integer{}", between(range.start(), range.end())))
        })
    }

    /// A number within these bounds, such as 0.1.
    ///
    /// # Errors
    /// It is something else, or outside.
    pub fn fraction(&self, range: RangeInclusive<f64>) -> Result<f64, SettingFault> {
        let number = match &self.content {
            Content::Integer(number) => Some(*number as f64),
            Content::Float(number) => Some(*number),
            Content::Text(text) => text.parse().ok(),
            _ => None,
        };
        // Not a number is outside of every range.
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            self.fault_shown(format!("must be a number from {} to {}", range.start(), range.end()))
        })
    }

    /// A time within these bounds: an integer or a text of seconds, or a text with units, `1m30s`.
    ///
    /// # Errors
    /// It is something else, or outside.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, SettingFault> {
        let time = match &self.content {
            Content::Integer(number) => u64::try_from(*number).ok().map(Duration::from_secs),
            Content::Text(text) => duration(text),
            _ => None,
        };
        time.filter(|time| range.contains(time)).ok_or_else(|| {
            let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            self.fault_shown(format!(
                "must be a time in seconds or with units, such as 1m30s or 250ms, from {least} s to {most} s"
            ))
        })
    }

    /// A point in time of RFC 3339, in seconds since 1970.
    ///
    /// # Errors
    /// It is something else.
    pub fn moment(&self) -> Result<i64, SettingFault> {
        let read = match &self.content {
            Content::Text(text) => moment(text),
            _ => None,
        };
        let rule = "must be a time with its zone, such as 2027-01-31T00:00:00Z";
        read.ok_or_else(|| self.fault_shown(rule))
    }

    /// A size within these bounds: bytes, or a text with a unit, `64MiB`.
    ///
    /// # Errors
    /// It is something else, or outside.
    pub fn bytes(&self, range: RangeInclusive<usize>) -> Result<usize, SettingFault> {
        let size = match &self.content {
            Content::Integer(number) => usize::try_from(*number).ok(),
            Content::Text(text) => bytes(text),
            _ => None,
        };
        size.filter(|size| range.contains(size)).ok_or_else(|| {
            let (least, most) = (*range.start(), *range.end());
            let most = match most == usize::MAX {
                true => String::new(),
                false => format!(" to {}", shown_bytes(most)),
            };
            self.fault_shown(format!(
                "must be a number of bytes, or with KiB, MiB or GiB, such as 512MiB, from {}{most}",
                shown_bytes(least)
            ))
        })
    }

    /// One of these words.
    ///
    /// # Errors
    /// It is none of them.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, SettingFault> {
        let said = match &self.content {
            Content::Text(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        said.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault_shown(format!("must be {}", either(&words)))
        })
    }

    /// The values of an array; of a flag or variable, the parts between its commas. A single string
    /// of a file is a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self) -> Result<Vec<SettingValue>, SettingFault> {
        let part = |text: &str| SettingValue::text_of(&self.key, text.trim(), self.origin.clone());
        match (&self.content, &self.origin) {
            (Content::List(values), _) => Ok(values.clone()),
            (Content::Text(text), Origin::File { .. }) => Ok(vec![part(text)]),
            (Content::Text(text), _) if text.trim().is_empty() => Ok(Vec::new()),
            (Content::Text(text), _) => Ok(text.split(',').map(part).collect()),
            (other, _) => Err(self.fault(format!("must be an array, and is {}", other.kind()))),
        }
    }

    /// The texts of an array, as [`list`](Self::list) reads it.
    ///
    /// # Errors
    /// It, or one of its values, is something else.
    pub fn texts(&self) -> Result<Vec<String>, SettingFault> {
        let values = self.list()?;
        values.iter().map(|value| value.text().map(str::to_owned)).collect()
    }
}

/// ` from 1 to 9`; without an end if there is none worth naming.
fn between<N: Display + TryInto<u64> + Copy>(least: &N, most: &N) -> String {
    match (*least).try_into().unwrap_or(0) {
        0 if is_endless(*most) => String::new(),
        least if is_endless(*most) => format!(" greater than {}", least - 1),
        least => format!(" from {least} to {most}"),
    }
}

fn is_endless<N: TryInto<u64>>(most: N) -> bool {
    most.try_into().unwrap_or(u64::MAX) >= u64::from(u32::MAX)
}

/// `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}
