//! Tells the keeper that there may be something to do.

use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::time::{Duration, Instant};

use crate::clock;

/// Rings. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct KeeperBell(SyncSender<()>);

/// Hears it.
#[derive(Debug)]
pub(super) struct Ear(Receiver<()>);

/// The keeper looks at least so often.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn bell() -> (KeeperBell, Ear) {
    let (sender, receiver) = sync_channel(1);
    (KeeperBell(sender), Ear(receiver))
}

impl KeeperBell {
    pub(super) fn ring(&self) {
        // One that has rung and was not heard yet is enough; a keeper that is gone hears nothing.
        let _ = self.0.try_send(());
    }
}

impl Ear {
    /// Waits until it rings, at most until then.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let left = until.map_or(LONGEST, |until| until.saturating_duration_since(clock::now()));
        // A time that is over is as good as a ring.
        let _ = self.0.recv_timeout(left.min(LONGEST));
    }
}
