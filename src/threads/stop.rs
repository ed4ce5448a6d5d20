//! Stop is a closed channel: every thread that waits, waits on it too.

use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Receiver, Sender};

/// Tells threads to stop when it is dropped.
pub struct Stop(#[allow(dead_code)] Sender<()>);

/// Becomes ready when its threads are to stop.
pub type Stopped = Receiver<()>;

impl Stop {
    /// A stop and what its threads wait on.
    pub fn new() -> (Stop, Stopped) {
        let (sender, receiver) = bounded(0);
        (Stop(sender), receiver)
    }
}

/// A thread that ends when told, and is waited for when dropped: the stop comes
/// first, then the handle.
pub struct Thread {
    stop: Option<Stop>,
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
        let (stop, stopped) = Stop::new();
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
