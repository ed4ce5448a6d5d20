//! `check-config`: the settings as they would be in force, and where each came from.

use crate::cli::flags::Flags;
use crate::cli::Outcome;
use crate::config::document;

/// Prints the settings.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn run(flags: &Flags) -> Outcome {
    print!("{}", flags.load()?.effective());
    Ok(())
}

/// Prints a configuration file with every key.
pub(super) fn print_defaults() -> Outcome {
    print!("{}", document::with_defaults());
    Ok(())
}
