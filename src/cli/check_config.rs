//! `check-config`: the settings as they would be in force, and where each came from.

use std::io::Write;

use crate::cli::flags::Flags;
use crate::cli::Ran;
use crate::clock;
use crate::config::{changes, document};
use crate::settings::{Fault, Faults, Origin};

/// Prints the settings.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn run(flags: &Flags) -> Ran {
    let loaded = flags.begin()?;
    let now = i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX);
    for warning in loaded.warnings(now) {
        eprintln!("warning: {warning}");
    }
    let mut text = loaded.effective();
    if let Some(path) = &loaded.config.state_file {
        let kept = changes::read(path, &loaded.config).map_err(|wrong| {
            let text = loaded.with_places(&format!("--state-file: {wrong}"), &["state_file"]);
            Faults::from(Fault::new("", Origin::Default, text))
        })?;
        for dropped in &kept.dropped {
            eprintln!("warning: {dropped}");
        }
        for (key, what, origin) in &kept.shown {
            text.push_str(&format!("state.{key} = {what:?}  # {origin}\n"));
        }
    }
    print(&text)
}

/// Prints a configuration file with every key.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print_defaults() -> Ran {
    print(&document::with_defaults())
}

/// Writes to standard output, which may be a full disk.
fn print(text: &str) -> Ran {
    let mut out = std::io::stdout();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}
