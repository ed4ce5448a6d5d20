//! Where log lines go: to standard error, one line an event.

use env_logger::{Builder, Logger};
use log::{Level, Log, Metadata, Record};

use crate::backend::DRIVER_CRATES;

/// What is written when RUST_LOG does not say.
const DEFAULT: &str = "warn,connection_pool_manager=info";

/// Our own lines from INFO up, other crates' from WARN. RUST_LOG changes that,
/// but nothing makes the driver say more than warnings.
pub(super) fn start() {
    let wanted = std::env::var(env_logger::DEFAULT_FILTER_ENV).unwrap_or_default();
    let filters = if wanted.is_empty() { DEFAULT } else { &wanted };
    let mut builder = Builder::new();
    builder.parse_filters(filters).format_timestamp_millis();
    let logger = Capped(builder.build());
    log::set_max_level(logger.0.filter());
    // A second call in one process finds a logger in place, which is fine.
    let _ = log::set_boxed_logger(Box::new(logger));
}

struct Capped(Logger);

fn is_capped(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    metadata.level() > Level::Warn && DRIVER_CRATES.contains(&root)
}

impl Log for Capped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_capped(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !is_capped(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_may_warn_and_say_no_more() {
        let capped = |target: &str, level| {
            is_capped(&Metadata::builder().target(target).level(level).build())
        };
        for driver in DRIVER_CRATES {
            assert!(capped(&format!("{driver}::query"), Level::Debug));
            assert!(!capped(&format!("{driver}::query"), Level::Warn));
        }
        assert!(!capped("connection_pool_manager::pool", Level::Debug));
    }
}
