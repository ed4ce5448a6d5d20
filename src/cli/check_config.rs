//! `check-config`: the settings as they would be in force, and where each came from.

use std::io::Write;

use crate::cli::flags::Flags;
use crate::cli::{next_start, Ran};
use crate::clock;
use crate::config::document;
use crate::settings::SettingFaults;

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
    let mut faults = SettingFaults::default();
    match next_start::certificates(&loaded) {
        // Whoever has not said where they are may only want to see the settings.
        Some(found) if found.is_default => eprintln!("warning: {}", found.fault),
        found => faults.0.extend(found.map(|found| found.fault)),
    }
    let kept = next_start::state(&loaded).map_err(|wrong| faults.0.extend(wrong.0));
    faults.ended()?;
    let (kept, mut text) = (kept.unwrap_or_default(), loaded.effective());
    for dropped in &kept.dropped {
        eprintln!("warning: {dropped}");
    }
    for (key, what, origin) in &kept.shown {
        text.push_str(&format!("state.{key} = {what:?}  # {origin}\n"));
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
