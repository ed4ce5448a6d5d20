//! A setting's value as it was given.

use std::fmt;

use super::{Origin, SettingFault};

/// A setting's value, its key and where it came from. `Debug` does not show the value, which may be
/// a secret.
#[derive(Clone, PartialEq)]
pub struct SettingValue {
    /// The key, with the tables it lies in: `pool.size`.
    pub key: String,
    /// The value.
    pub content: Content,
    /// Where it came from.
    pub origin: Origin,
}

/// What a value is. Flags and variables are text; the readers of a [`SettingValue`] understand a
/// number or a boolean in a text too.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// An array.
    List(Vec<SettingValue>),
}

impl SettingValue {
    /// A text: of a flag, a variable, a profile or a default.
    pub fn text_of(key: &str, text: &str, origin: Origin) -> SettingValue {
        SettingValue { key: key.to_owned(), content: Content::Text(text.to_owned()), origin }
    }

    /// A fault of this value.
    pub fn fault(&self, rule: impl Into<String>) -> SettingFault {
        SettingFault::new(&self.key, self.origin.clone(), rule)
    }

    /// A fault that ends in the value, which must be no secret: `must be … , and is "x"`.
    pub fn fault_shown(&self, rule: impl fmt::Display) -> SettingFault {
        self.fault(format!("{rule}, and is {}", self.content))
    }
}

impl fmt::Debug for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.content.kind())
    }
}

impl Content {
    /// What it is called in a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Text(_) => "a string",
            Content::Integer(_) => "an integer",
            Content::Float(_) => "a number",
            Content::Boolean(_) => "a boolean",
            Content::List(_) => "an array",
        }
    }
}

/// The most characters of a text in a message.
const SHOWN_MAX: usize = 80;

/// For messages: a text is quoted, its control characters are escaped, and a long one is cut.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) if text.chars().count() > SHOWN_MAX => {
                write!(f, "{:?}…", text.chars().take(SHOWN_MAX).collect::<String>())
            }
            Content::Text(text) => write!(f, "{text:?}"),
            Content::Integer(number) => number.fmt(f),
            Content::Float(number) => number.fmt(f),
            Content::Boolean(flag) => flag.fmt(f),
            Content::List(_) => f.write_str("an array"),
        }
    }
}
