//! Signals from the operator.

use crossbeam_channel::{unbounded, Receiver};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::logging;
use crate::threads;

/// Signals that stop the service.
pub(super) const STOPPING: &[i32] = &[SIGINT, SIGTERM];
/// What a signal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requested {
    /// Stop the service.
    Stop,
    /// Read the certificate files again.
    Reload,
}

/// Signals that would end a process without a handler for them. SIGPIPE too: Rust ignores it, but a
/// failed exec (`process::settle_allocator`) undoes that.
const IGNORED: &[i32] = &[SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE];

/// Returns a channel that receives `Stop` at the first signal in `stopping`; the second one ends
/// the process at once. SIGHUP, unless it is in `stopping`, sends `Reload`. Other signals do
/// nothing.
pub(super) fn signals(stopping: &'static [i32]) -> std::io::Result<Receiver<Requested>> {
    let mut signals = Signals::new(stopping.iter().chain(IGNORED))?;
    let (requests_tx, requests_rx) = unbounded();
    threads::spawn(threads::SIGNALS, move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            if stopping.contains(&signal) {
                if is_stopping {
                    log::warn!("event=forced_exit");
                    logging::finish();
                    std::process::exit(1);
                }
                is_stopping = true;
                let _ = requests_tx.send(Requested::Stop);
            } else if signal == SIGHUP && requests_tx.is_empty() {
                // A pending request covers this signal too.
                let _ = requests_tx.send(Requested::Reload);
            }
        }
    })?;
    Ok(requests_rx)
}
