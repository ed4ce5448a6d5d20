//! Sets up the log: which lines are written, and in which form.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Arguments;
use std::panic::PanicHookInfo;

use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::backend::DRIVER_CRATES;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::logging::grpc_core::{self, Verbosity};
use crate::rpc;
use crate::threads;

/// The filter if RUST_LOG is not set.
const DEFAULT: &str = "warn,connection_pool_manager=info";
/// The first part of our own lines' targets.
const OURS: &str = "connection_pool_manager";
/// gRPC's C core asks for the level of the first target and logs under the second.
const GRPC: [&str; 2] = ["grpcio", ""];

/// Starts the log: our own lines from INFO up, other crates' from WARN. RUST_LOG changes that, but
/// nothing makes the driver log more than warnings. Lines of gRPC's C core become events of ours;
/// GRPC_VERBOSITY sets how many.
pub(super) fn start() {
    // A second call in one process keeps the first logger.
    let logger = match logging::start(builder().build()) {
        Ok(queue) => builder().target(Target::Pipe(Box::new(queue))).build(),
        // Without a thread to write them, lines are written by the thread that logs.
        Err(_) => builder().build(),
    };
    // The C core logs failed handshakes at DEBUG.
    let wanted = logger.filter();
    let off = wanted == LevelFilter::Off;
    log::set_max_level(if off { wanted } else { wanted.max(LevelFilter::Debug) });
    let _ = log::set_boxed_logger(Box::new(Capped(logger, Verbosity::of_environment())));
    rpc::redirect_log();
    std::panic::set_hook(Box::new(panicked));
}

fn builder() -> Builder {
    let wanted = std::env::var(env_logger::DEFAULT_FILTER_ENV).unwrap_or_default();
    let filters = if wanted.is_empty() { DEFAULT } else { &wanted };
    let mut builder = Builder::new();
    builder.parse_filters(filters).format_timestamp_millis();
    builder
}

/// Logs where a thread panicked. The code that catches the panic logs its consequence.
fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let (name, message) = (thread.name().unwrap_or("unnamed"), threads::text_of(panic.payload()));
    if logging::admits("thread_panicked", None) {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = Quoted(message);
        log::warn!("event=thread_panicked thread={name} at={at} message={message}");
    }
    // Captured only if RUST_BACKTRACE is set.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        log::warn!("event=backtrace thread={name}\n{trace}");
    }
    if name == "main" {
        logging::finish();
    }
}

struct Capped(Logger, Verbosity);

/// Writes a line of the C core as one of ours.
fn log_as(logger: &Logger, level: Level, line: Arguments<'_>) {
    logger.log(&Record::builder().level(level).target(grpc_core::TARGET).args(line).build());
}

fn root<'a>(metadata: &Metadata<'a>) -> &'a str {
    metadata.target().split("::").next().unwrap_or_default()
}

fn is_capped(metadata: &Metadata<'_>) -> bool {
    let root = root(metadata);
    metadata.level() > Level::Warn && DRIVER_CRATES.contains(&root)
}

/// Limits warnings of other crates, which any client can cause by sending garbage to a port.
fn is_repeated(metadata: &Metadata<'_>) -> bool {
    metadata.level() <= Level::Warn
        && root(metadata) != OURS
        && !logging::admits("other_crates", None)
}

impl Log for Capped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        GRPC.contains(&root(metadata)) || !is_capped(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let metadata = record.metadata();
        if GRPC.contains(&root(metadata)) {
            let (file, text) = (record.file_static().unwrap_or_default(), record.args());
            if let Some((level, line)) = self.1.event(record.level(), file, &text.to_string()) {
                log_as(&self.0, level, format_args!("{line}"));
            }
        } else if self.enabled(metadata) && !is_repeated(metadata) {
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
