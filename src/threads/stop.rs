//! The stop of a thread is a closed channel, which every wait of the thread includes.

use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Receiver, Sender};

/// Stops threads when it is dropped.
pub struct StopSignal(#[allow(dead_code)] Sender<()>);

/// Closed when the threads must stop.
pub type Stopped = Receiver<()>;

impl StopSignal {
    /// A signal, and the channel that it closes.
    pub fn new() -> (StopSignal, Stopped) {
        let (sender, receiver) = bounded(0);
        (StopSignal(sender), receiver)
    }
}

/// A thread. When this is dropped, it is stopped and then joined.
pub struct Thread {
    stop: Option<StopSignal>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts `body`, which must end soon after the channel it gets is closed.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(
        name: &'static str,
        body: impl FnOnce(Stopped) + Send + 'static,
    ) -> std::io::Result<Thread> {
        let (stop, stopped) = StopSignal::new();
        let handle = crate::threads::spawn(name, move || body(stopped))?;
        Ok(Thread { stop: Some(stop), handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(handle) = self.handle.take() {
            // A panic of the thread was logged by the thread.
            let _ = handle.join();
        }
    }
}
