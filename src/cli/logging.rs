//! Sets up the log: which lines are written, and in which form.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Arguments;
use std::io::Write;
use std::panic::PanicHookInfo;

use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::backend::DRIVER_CRATES;
use crate::config::ServerConfig;
use crate::core::log_line::{self, LogHead};
use crate::core::quoted::Quoted;
use crate::logging;
use crate::logging::grpc_core::{self, Verbosity};
use crate::logging::{LogFormat, LogQueue, DEFAULT_LEVEL};
use crate::rpc;
use crate::threads;

/// The first part of our own lines' targets.
const OURS: &str = "connection_pool_manager";
/// gRPC's C core asks for the level of the first target and logs under the second.
const GRPC: [&str; 2] = ["grpcio", ""];

/// Starts the log as text, with the default level or that of RUST_LOG; [`settle`] comes after the
/// settings are read. Lines of gRPC's C core become events of ours; GRPC_VERBOSITY sets how many.
pub(super) fn start() {
    let wanted = std::env::var(env_logger::DEFAULT_FILTER_ENV).unwrap_or_default();
    if logging::set_level(&wanted).is_err() {
        // Who serves is told of a wrong one with all other settings.
        let _ = logging::set_level(DEFAULT_LEVEL);
    }
    // A second call in one process keeps the first logger. Without a thread to write them, lines
    // are written by the thread that logs.
    let writers = Writers::new(logging::start(Writers::new(None)).ok());
    let _ = log::set_boxed_logger(Box::new(Capped(writers, Verbosity::of_environment())));
    rpc::redirect_log();
    std::panic::set_hook(Box::new(panicked));
}

/// Sets the log to what the settings say.
pub(super) fn settle(config: &ServerConfig) {
    logging::set_format(config.log_format);
    // It was checked when it was read.
    let _ = logging::set_level(&config.log_level);
}

/// Writes lines in the form that is set.
struct Writers {
    text: Logger,
    json: Logger,
}

impl Writers {
    /// Lines go into the queue, or to standard error without one.
    fn new(queue: Option<LogQueue>) -> Writers {
        let builder = || {
            let mut builder = Builder::new();
            if let Some(queue) = &queue {
                builder.target(Target::Pipe(Box::new(queue.clone())));
            }
            // What is written is decided by `logging`.
            builder.filter_level(LevelFilter::Trace).format_timestamp_millis();
            builder
        };
        let json = builder()
            .format(|out, record| {
                let level = record.level().as_str().to_ascii_lowercase();
                let ts = out.timestamp_millis().to_string();
                let head = LogHead { ts: &ts, level: &level, target: record.target() };
                writeln!(out, "{}", log_line::object(&head, &record.args().to_string()))
            })
            .build();
        Writers { text: builder().build(), json }
    }

    fn current(&self) -> &Logger {
        match logging::format() {
            LogFormat::Text => &self.text,
            LogFormat::Json => &self.json,
        }
    }
}

impl Log for Writers {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.current().log(record);
    }

    fn flush(&self) {
        self.current().flush();
    }
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

struct Capped(Writers, Verbosity);

/// Writes a line of the C core as one of ours.
fn log_as(logger: &Writers, level: Level, line: Arguments<'_>) {
    let record = Record::builder().level(level).target(grpc_core::TARGET).args(line).build();
    if logging::is_written(record.metadata()) {
        logger.log(&record);
    }
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
        GRPC.contains(&root(metadata)) || !is_capped(metadata) && logging::is_written(metadata)
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
