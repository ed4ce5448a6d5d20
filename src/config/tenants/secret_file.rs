//! Files that hold a secret and nothing else.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::exposure::is_exposed;
use crate::settings::{SettingFault, SettingValue};

/// As long as the longest DSN, with an end of line.
const BYTES_MAX: u64 = 8192 + 2;

/// The content of such a file. It has no `Debug`.
pub(super) struct SecretFile {
    /// The secret, without the end of line after it.
    pub(super) text: String,
    /// The file, if others than its owner can read it.
    pub(super) exposed: Option<PathBuf>,
}

/// What a relative path leads to. Nothing that may be a DSN, or a password of other characters
/// than paths have, which somebody wrote in place of a path.
fn tried(path: &Path) -> Option<PathBuf> {
    let is_of_paths = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let text = path.to_str()?;
    let is_path = text.contains(['/', '.']) && text.bytes().all(is_of_paths);
    (is_path && path.is_relative()).then(|| std::path::absolute(path).ok()).flatten()
}

/// Reads the file that a value names.
///
/// # Errors
/// It is no regular file, cannot be read, is too long, not UTF-8 or has several lines. Nothing of it
/// is shown.
pub(super) fn read(value: &SettingValue) -> Result<SecretFile, SettingFault> {
    let path = PathBuf::from(value.text()?);
    let unread = |error: std::io::Error| match tried(&path) {
        Some(tried) => value.fault(format!("cannot be read: {error} ({})", tried.display())),
        None => value.fault(format!("cannot be read: {error}")),
    };
    // A pipe might never end, and opening it might wait for ever.
    let found = fs::metadata(&path).map_err(unread)?;
    if !found.is_file() {
        return Err(value.fault("must be a regular file"));
    }
    let (mut bytes, file) = (Vec::new(), File::open(&path).map_err(unread)?);
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(value.fault(format!("must not be longer than {BYTES_MAX} bytes")));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| value.fault("must be UTF-8"))?;
    let end = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end.unwrap_or(text.len()));
    if text.is_empty() {
        return Err(value.fault("must not be empty"));
    }
    if text.contains(['\n', '\r']) {
        return Err(value.fault("must have one line, and nothing but an end of line behind it"));
    }
    Ok(SecretFile { text, exposed: is_exposed(&found).then_some(path) })
}
