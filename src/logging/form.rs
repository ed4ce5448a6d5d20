//! What the log looks like and which of its lines are written; both may change while the process
//! runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use log::{LevelFilter, Metadata};

use crate::logging::filter::LogFilter;

/// The filter where nobody has asked for another: our own lines from INFO up, others' from WARN.
pub const DEFAULT_LEVEL: &str = "warn,connection_pool_manager=info";

/// The form of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `event=name key=value …` behind time, level and module.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    /// The words they are chosen by.
    pub const WORDS: [(&'static str, LogFormat); 2] =
        [("text", LogFormat::Text), ("json", LogFormat::Json)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

static IS_JSON: AtomicBool = AtomicBool::new(false);
/// `None`: nothing is written yet.
static FILTER: RwLock<Option<LogFilter>> = RwLock::new(None);

/// Sets the form of the lines from now on.
pub fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// The form of the lines.
pub fn format() -> LogFormat {
    if IS_JSON.load(Ordering::Relaxed) {
        LogFormat::Json
    } else {
        LogFormat::Text
    }
}

/// Sets which lines are written from now on; [`LogFilter::parse`] tells what a specification is.
/// Nothing makes PostgreSQL's driver write more than warnings.
///
/// # Errors
/// What is allowed; then nothing changes.
pub fn set_level(spec: &str) -> Result<(), String> {
    let filter = LogFilter::parse(spec)?;
    let most = filter.most();
    // gRPC's C core tells of failed handshakes at DEBUG.
    let is_off = most == LevelFilter::Off;
    let asked = if is_off { LevelFilter::Info } else { most.max(LevelFilter::Debug) };
    *FILTER.write().unwrap_or_else(PoisonError::into_inner) = Some(filter);
    log::set_max_level(asked);
    Ok(())
}

/// The target of lines that are written whatever the level: who could silence them is who they
/// are about.
pub const AUDIT: &str = "connection_pool_manager::audit";

/// Whether the filter lets a line pass.
pub fn is_written(metadata: &Metadata<'_>) -> bool {
    if metadata.target() == AUDIT {
        return true;
    }
    let filter = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    filter.as_ref().is_some_and(|filter| filter.admits(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn a_level_holds_from_now_on_and_a_wrong_one_changes_nothing() {
        let written = |target: &str, level| {
            is_written(&Metadata::builder().target(target).level(level).build())
        };
        set_level("off,connection_pool_manager::pool=trace").expect("it is one");
        assert!(written("connection_pool_manager::pool::gate", Level::Trace));
        assert!(!written("connection_pool_manager::rpc", Level::Error));
        assert!(written(AUDIT, Level::Info));
        assert!(set_level("loud").is_err());
        assert!(written("connection_pool_manager::pool::gate", Level::Trace));
        set_level("off").expect("it is one");
        assert!(written(AUDIT, Level::Info) && !written("connection_pool_manager", Level::Error));
        assert_eq!(log::max_level(), LevelFilter::Info, "who acts is told");
        set_level(DEFAULT_LEVEL).expect("it is one");
        assert!(!written("connection_pool_manager::pool::gate", Level::Debug));
        assert!(written("connection_pool_manager::rpc", Level::Info));
        assert_eq!(log::max_level(), LevelFilter::Debug, "the C core tells of handshakes there");
    }
}
