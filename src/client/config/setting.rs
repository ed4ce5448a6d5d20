//! How the value of a setting is read, and shown in the same form.

use std::time::Duration;

use super::{Compression, TlsMode};
use crate::client::balance::Balance;
use crate::client::call_error::Code;
use crate::settings::{duration, Content, SettingFault, SettingValue};

/// The value of a setting.
pub(super) trait Setting: Sized {
    /// What kind of value it is.
    const KIND: &'static str;

    /// Reads it. Whether it is in its range, [`check`](super::ServiceConfig::check) tells.
    fn read(value: &SettingValue) -> Result<Self, SettingFault>;

    /// In the form in which it is read.
    fn show(&self) -> String;
}

/// How `None` is written.
const OFF: &str = "off";

macro_rules! integers {
    ($($integer:ty)+) => {
        $(impl Setting for $integer {
            const KIND: &'static str = "integer";

            fn read(value: &SettingValue) -> Result<Self, SettingFault> {
                let number = value.number(0..=u64::MAX)?;
                number.try_into().map_err(|_| value.fault_shown("must be smaller"))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        })+
    };
}

integers! { usize u32 }

impl Setting for Option<usize> {
    const KIND: &'static str = "integer";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        usize::read(value).map(Some)
    }

    fn show(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |number| number.to_string())
    }
}

impl Setting for f64 {
    const KIND: &'static str = "number";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        value.fraction(0.0..=1e9)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Option<f64> {
    const KIND: &'static str = "number or off";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        match &value.content {
            Content::Text(text) if text == OFF => Ok(None),
            _ => f64::read(value).map(Some),
        }
    }

    fn show(&self) -> String {
        self.map_or_else(|| OFF.to_owned(), |number| number.to_string())
    }
}

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        value.boolean()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Duration {
    const KIND: &'static str = "time";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        let rule = "must be a time with a unit (ms, s, m or h), such as \"25s\" or \"250ms\"";
        let time = match &value.content {
            Content::Text(text) if text.chars().any(char::is_alphabetic) => duration(text),
            _ => None,
        };
        time.ok_or_else(|| value.fault_shown(rule))
    }

    fn show(&self) -> String {
        match (self.as_nanos(), self.subsec_nanos()) {
            (_, 0) => format!("{}s", self.as_secs()),
            (nanos, part) if part % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
            (nanos, _) => format!("{nanos}ns"),
        }
    }
}

impl Setting for Option<Duration> {
    const KIND: &'static str = "time or off";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        match &value.content {
            Content::Text(text) if text == OFF => Ok(None),
            _ => Duration::read(value).map(Some).map_err(|mut fault| {
                let rule = "must be \"off\", or a time";
                fault.rule = fault.rule.replacen("must be a time", rule, 1);
                fault
            }),
        }
    }

    fn show(&self) -> String {
        self.map_or_else(|| OFF.to_owned(), |time| time.show())
    }
}

impl Setting for String {
    const KIND: &'static str = "text";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        value.text().map(str::to_owned)
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for Option<String> {
    const KIND: &'static str = "text";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        let text = value.text()?;
        match text.is_empty() {
            true => Err(value.fault("must not be empty")),
            false => Ok(Some(text.to_owned())),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Setting::show)
    }
}

/// A setting with a few words.
macro_rules! words {
    ($($setting:ty: $($word:literal = $value:expr),+;)+) => {
        $(impl Setting for $setting {
            const KIND: &'static str = "word";

            fn read(value: &SettingValue) -> Result<Self, SettingFault> {
                value.choice(&[$(($word, $value)),+])
            }

            fn show(&self) -> String {
                let words = [$(($word, $value)),+];
                let word = words.iter().find(|(_, value)| value == self);
                word.map_or("custom", |(word, _)| *word).to_owned()
            }
        })+
    };
}

words! {
    TlsMode: "auto" = TlsMode::Auto, "on" = TlsMode::On, "off" = TlsMode::Off;
    Compression: "none" = Compression::None, "gzip" = Compression::Gzip;
    Balance: "round_robin" = Balance::RoundRobin, "random" = Balance::Random,
        "power_of_two" = Balance::PowerOfTwo, "least_busy" = Balance::LeastBusy;
}

impl Setting for Vec<Code> {
    const KIND: &'static str = "list of codes";

    fn read(value: &SettingValue) -> Result<Self, SettingFault> {
        let code = |one: &SettingValue| {
            let text = one.text()?;
            let known = (0..=16).map(Code::of).find(|code| code.as_str() == text);
            known.ok_or_else(|| one.fault_shown("must be codes such as UNAVAILABLE"))
        };
        value.list()?.iter().map(code).collect()
    }

    fn show(&self) -> String {
        self.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(",")
    }
}
