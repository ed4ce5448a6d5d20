//! Reads a TOML file.

mod convert;
mod duplicate;
#[cfg(feature = "server")]
pub mod own;

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::{Origin, SettingFault, SettingFaults, Table};

/// A longer file is an error: nobody writes one by hand, and all of it is held in memory.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// What the parser says of a key or a table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// A file that is valid TOML.
#[derive(Debug)]
pub struct Document {
    /// Its tables and values.
    pub root: Table,
    /// What the system knows of the file.
    pub found: Metadata,
}

/// Reads a file of at most [`FILE_MAX_BYTES`].
///
/// # Errors
/// The file cannot be read, is no regular file, is too long, not UTF-8 or not TOML. No part of its
/// text is shown.
pub fn read(path: &Path) -> Result<Document, SettingFaults> {
    let (text, found) = text_of(path, FILE_MAX_BYTES).map_err(|rule| wrong(path, rule))?;
    Ok(Document { root: parse(&path.display().to_string(), &text)?, found })
}

/// A fault of the file as a whole.
fn wrong(path: &Path, rule: String) -> SettingFaults {
    let path = Arc::from(path.display().to_string());
    SettingFault::new("", Origin::File { path, line: 0 }, rule).into()
}

/// The text of a file of at most so many bytes, and what the system knows of it.
///
/// # Errors
/// The rule that it breaks.
fn text_of(path: &Path, most: u64) -> Result<(String, Metadata), String> {
    let unread = |error: std::io::Error| format!("the file cannot be read: {error}");
    // A pipe or a device might never end, and opening a pipe might wait for ever.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err("must be a regular file".to_owned());
    }
    let file = File::open(path).map_err(unread)?;
    let found = file.metadata().map_err(unread)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > most {
        return Err(format!("the file must not be longer than {most} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "the file must be UTF-8".to_owned())?;
    Ok((text, found))
}

/// Reads the text of a file of this name.
///
/// # Errors
/// It is not TOML: each place, with what was expected there.
pub fn parse(name: &str, text: &str) -> Result<Table, SettingFaults> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
    let lines = LineEnds { path: Arc::from(name), ends: ends.collect() };
    match toml::de::DeTable::parse(text) {
        Ok(root) => convert::table("", root.get_ref(), lines.origin(0), &lines),
        // Its own `Display` would show the line, with any secret in it.
        Err(error) => {
            let span = error.span();
            let at = lines.origin(span.clone().map_or(0, |span| span.start));
            // A key is no secret, and with this message the span is one.
            let key = span.and_then(|span| Some((text.get(span.clone())?, span.start)));
            let key = key.filter(|_| error.message() == DUPLICATE);
            Err(SettingFaults::from(match key {
                Some((key, start)) => SettingFault::new(
                    &duplicate::name(text, start, key.trim()),
                    at,
                    "must not be there twice",
                ),
                None => SettingFault::new("", at, error.message()),
            }))
        }
    }
}

/// Finds the line of a place in the text.
struct LineEnds {
    path: Arc<str>,
    /// Where each line ends, in order.
    ends: Vec<usize>,
}

impl LineEnds {
    fn origin(&self, at: usize) -> Origin {
        let line = 1 + self.ends.partition_point(|end| *end < at);
        Origin::File { path: Arc::clone(&self.path), line }
    }
}
