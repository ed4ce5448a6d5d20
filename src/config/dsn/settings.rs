//! The settings of a connection string, each parsed as its type.

use super::error::DsnError;
use super::keys::{is_keyword, SUPPORTED_KEYS, UNSUPPORTED_KEYS};
use super::keyword_value::is_blank;
use super::modes::{Keyword, SslMode};
use super::pair::Pair;
use super::parameters::parameter;
use crate::config::Reset;
use crate::settings::duration;
use std::collections::BTreeMap;
use std::time::Duration;

/// The last value of every key that was given.
pub(super) struct DsnSettings {
    keys: Keys,
    /// Run-time parameters, by PostgreSQL's names.
    pub(super) parameters: BTreeMap<String, String>,
}

/// The keys with their values. There are few, so that to look at each costs less than an order.
#[derive(Default)]
struct Keys(Vec<(&'static str, String)>);

impl Keys {
    /// The last value wins.
    fn insert(&mut self, key: &'static str, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, before)) => *before = value,
            None => self.0.push((key, value)),
        }
    }

    fn get(&self, key: &str) -> Option<&String> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == key)?;
        Some(self.0.swap_remove(at).1)
    }
}

/// Said of a key that may be the rest of a password, and is not shown therefore.
const BEHIND_PASSWORD: &str =
    "unknown key right behind the password; it is not shown, for it may be \
                               a piece of that: with blanks it needs quotes, as in \
                               password='two words', in a URL @ / ? and # are %40 %2F %3F and %23";

impl DsnSettings {
    pub(super) fn from_pairs(pairs: Vec<Pair<'_>>) -> Result<DsnSettings, DsnError> {
        let (mut keys, mut parameters) = (Keys(Vec::with_capacity(pairs.len())), BTreeMap::new());
        for Pair { key, value, showable } in pairs {
            // The Rust driver's name for libpq's key.
            let key = if key == "keepalives_retries" { "keepalives_count".into() } else { key };
            if let Some(known) = SUPPORTED_KEYS.iter().find(|known| **known == key) {
                keys.insert(known, value);
            } else if let Some(known) = UNSUPPORTED_KEYS.iter().find(|known| **known == key) {
                return Err(DsnError::at(known, "not supported"));
            } else if let Some(name) = parameter(&key) {
                parameters.insert(name, value);
            } else {
                let rule = if showable { "unknown key" } else { BEHIND_PASSWORD };
                let key = Some(key.into_owned()).filter(|key| showable && is_keyword(key));
                return Err(DsnError { key, rule: rule.to_owned() });
            }
        }
        Ok(DsnSettings { keys, parameters })
    }

    /// Checks the keys that are accepted only with the value that the service uses anyway.
    pub(super) fn check_fixed(&mut self) -> Result<(), DsnError> {
        let gss = self.keys.remove("gssencmode");
        if !matches!(gss.as_deref(), None | Some("disable" | "prefer")) {
            let rule = "must be disable or prefer; GSSAPI is not supported";
            return Err(DsnError::at("gssencmode", rule));
        }
        // The server ignores case and punctuation in the name of an encoding.
        let Some(encoding) = self.text("client_encoding") else { return Ok(()) };
        let letters: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if encoding != "auto" && !letters.eq_ignore_ascii_case("utf8") {
            return Err(DsnError::at("client_encoding", "must be UTF8 or auto"));
        }
        Ok(())
    }

    /// A text for which empty means absent.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.keys.remove(key).filter(|value| !value.is_empty())
    }

    /// libpq's `parse_int_param`: an `int`, blanks around it allowed.
    pub(super) fn integer(&mut self, key: &'static str) -> Result<Option<i32>, DsnError> {
        let Some(value) = self.keys.remove(key) else {
            return Ok(None);
        };
        match value.trim_matches(is_blank).parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(DsnError::at(key, "must be an integer")),
        }
    }

    /// A number for which zero means the default.
    pub(super) fn positive(&mut self, key: &'static str) -> Result<Option<u32>, DsnError> {
        let number = self.integer(key)?.map(u32::try_from).transpose();
        let number = number.map_err(|_| DsnError::at(key, "must be 0 or more"))?;
        Ok(number.filter(|number| *number > 0))
    }

    pub(super) fn seconds(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        Ok(self.positive(key)?.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// A number for which zero means the default, at most `most`.
    pub(super) fn positive_to(
        &mut self,
        key: &'static str,
        most: u32,
    ) -> Result<Option<u32>, DsnError> {
        match self.positive(key)? {
            Some(number) if number > most => {
                Err(DsnError::at(key, format!("must be at most {most}")))
            }
            number => Ok(number),
        }
    }

    pub(super) fn seconds_to(
        &mut self,
        key: &'static str,
        most: u32,
    ) -> Result<Option<Duration>, DsnError> {
        let seconds = self.positive_to(key, most)?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }

    pub(super) fn milliseconds(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        Ok(self.positive(key)?.map(|millis| Duration::from_millis(millis.into())))
    }

    pub(super) fn connections(
        &mut self,
        key: &'static str,
        least: u32,
    ) -> Result<Option<u32>, DsnError> {
        match self.integer(key)?.map(u32::try_from) {
            None => Ok(None),
            Some(Ok(number)) if number >= least => Ok(Some(number)),
            Some(_) => Err(DsnError::at(key, format!("must be at least {least}"))),
        }
    }

    /// A duration longer than zero.
    pub(super) fn period(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        match self.duration(key)? {
            Some(Duration::ZERO) => Err(DsnError::at(key, "must be longer than 0")),
            period => Ok(period),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        let Some(value) = self.keys.remove(key) else {
            return Ok(None);
        };
        match duration(&value) {
            Some(duration) => Ok(Some(duration)),
            None => Err(DsnError::at(key, "must be seconds, or a duration such as 1h30m or 300ms")),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Keyword>(&mut self, key: &'static str) -> Result<Option<T>, DsnError> {
        let Some(word) = self.keys.remove(key) else {
            return Ok(None);
        };
        match T::parse(&word) {
            Some(value) => Ok(Some(value)),
            None => Err(DsnError::at(key, format!("must be {}", T::allowed()))),
        }
    }

    pub(super) fn ssl_mode(&mut self) -> Result<Option<SslMode>, DsnError> {
        if self.keys.get("sslmode").is_some_and(|mode| mode == "allow") {
            let rule = format!("allow is not supported; use {}", SslMode::allowed());
            return Err(DsnError::at("sslmode", rule));
        }
        self.choice("sslmode")
    }

    pub(super) fn reset(&mut self) -> Result<Option<Reset>, DsnError> {
        match self.keys.remove("pool_reset").as_deref().map(Reset::parse) {
            None => Ok(None),
            Some(Some(reset)) => Ok(Some(reset)),
            Some(None) => Err(DsnError::at("pool_reset", "must be clean or close")),
        }
    }
}
