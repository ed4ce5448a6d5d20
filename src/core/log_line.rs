//! Log lines as JSON.
//!
//! A line is written once, as `event=name key=value …`; texts are quoted as [`Quoted`] does it. This
//! reads it back, so that both forms of the log say the same.
//!
//! [`Quoted`]: super::quoted::Quoted

use std::collections::BTreeSet;

use super::json;

/// What is known of a line beside its text.
#[derive(Debug, Clone, Copy)]
pub struct LogHead<'a> {
    /// When it was written, as RFC 3339 has it.
    pub ts: &'a str,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'a str,
    /// The module.
    pub target: &'a str,
}

/// The event of a line that is none of ours.
const OTHER: &str = "line";

/// Keys whose values are texts even if they look like numbers: names that others choose.
const NAMES: [&str; 8] =
    ["tenant", "lease", "identity", "peer", "server", "from", "thread", "nearest"];

/// A line as a JSON object without its line break: `ts`, `level`, `target` and `event`, then its
/// fields, as numbers and booleans where they are. What is no field is in `message`. A field whose
/// name is taken has `event_` before it.
pub fn object(head: &LogHead<'_>, line: &str) -> String {
    let (event, rest) = match field(line) {
        Some(("event", value, rest)) => (value.text(), rest),
        _ => (OTHER.to_owned(), line),
    };
    let mut object =
        LogObject { text: String::with_capacity(line.len() + 160), keys: BTreeSet::new() };
    for (key, text) in
        [("ts", head.ts), ("level", head.level), ("target", head.target), ("event", &event)]
    {
        object.put(key, |out| json::write_string(out, text));
    }
    let mut rest = rest;
    while let Some((key, value, after)) = field(rest) {
        object.put(key, |out| match value {
            FieldValue::Word(word) if !NAMES.contains(&key) && is_plain(word) => out.push_str(word),
            value => json::write_string(out, &value.text()),
        });
        rest = after;
    }
    let message = rest.trim();
    if !message.is_empty() {
        object.put("message", |out| json::write_string(out, message));
    }
    object.text.push('}');
    object.text
}

/// An object while it is written.
struct LogObject {
    text: String,
    keys: BTreeSet<String>,
}

impl LogObject {
    fn put(&mut self, key: &str, value: impl FnOnce(&mut String)) {
        let mut key = key.to_owned();
        while self.keys.contains(&key) {
            key.insert_str(0, "event_");
        }
        self.text.push(if self.keys.is_empty() { '{' } else { ',' });
        json::write_string(&mut self.text, &key);
        self.text.push(':');
        value(&mut self.text);
        self.keys.insert(key);
    }
}

enum FieldValue<'a> {
    Word(&'a str),
    /// Without its quotes, and with its escapes.
    Quoted(&'a str),
}

impl FieldValue<'_> {
    fn text(&self) -> String {
        match self {
            FieldValue::Word(word) => (*word).to_owned(),
            FieldValue::Quoted(escaped) => unescaped(escaped),
        }
    }
}

/// Whether a word stands in JSON as it is.
fn is_plain(word: &str) -> bool {
    matches!(word, "true" | "false") || json::is_number(word)
}

/// The first field of a line, and what comes after it; `None` if the line does not go on with one.
fn field(line: &str) -> Option<(&str, FieldValue<'_>, &str)> {
    let line = line.trim_start_matches(' ');
    let (key, value) = line.split_once('=')?;
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if key.is_empty() || !key.chars().all(is_key) {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([' ', '\n']).unwrap_or(value.len());
        return Some((key, FieldValue::Word(&value[..end]), &value[end..]));
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((key, FieldValue::Quoted(&quoted[..end]), &quoted[end + 1..]))
}

/// The text that `escape_debug` has escaped.
fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (c, after) = match escape.strip_prefix("u{").and_then(|code| code.split_once('}')) {
            Some((code, after)) => {
                (u32::from_str_radix(code, 16).ok().and_then(char::from_u32), after)
            }
            None => {
                let mut chars = escape.chars();
                let c = chars.next().map(|c| match c {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    c => c,
                });
                (c, chars.as_str())
            }
        };
        out.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
