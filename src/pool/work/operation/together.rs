//! The time limit of statements that were sent together.
//!
//! It begins for all of them at once. When it has passed, only the first has certainly had its
//! time, and which of them runs is not known. PostgreSQL is sent a cancel all the same: if it hits
//! another one, whoever runs the operation undoes them and goes on, behind the cancel, with each
//! on its own.

use std::sync::Arc;
use std::time::Duration;

use super::{has_arrived, Limit, Operation};

impl Operation {
    /// The time limit of all statements that were sent together.
    pub(in crate::pool) fn timeout_together(self: &Arc<Self>, limit: Duration) -> Limit {
        self.limit(limit, |operation, state| operation.is_overdue_in(state))
    }

    /// True if such a limit has passed.
    pub(in crate::pool) fn is_overdue(&self) -> bool {
        self.state.lock().overdue
    }

    /// Waits until the cancel that was sent then has arrived; no other follows. False: that is not
    /// seen, or there is a cause by now.
    pub(in crate::pool) fn cancel_arrives(&self) -> bool {
        let mut state = self.state.lock();
        if state.cause.is_some() {
            return false;
        }
        state.round += 1;
        let sent = state.sent.take();
        let alarms = (state.grace.take(), state.again.take());
        drop(state);
        drop(alarms);
        let arrived = has_arrived(sent);
        self.state.lock().stray |= !arrived;
        arrived
    }

    /// Goes on behind a cancel that has arrived, as if there had been none. False: there is a
    /// cause by now, or the connection is gone.
    pub(in crate::pool) fn goes_on(&self) -> bool {
        let state = self.state.lock();
        let watch = state.target.as_ref().map(|target| Arc::clone(&target.watch));
        drop(state);
        let Some(watch) = watch else { return false };
        // What was to close the socket after that cancel does nothing any more.
        let (epoch, aborted) = (watch.begin(), watch.is_aborted());
        let mut state = self.state.lock();
        let goes_on = state.cause.is_none() && !state.stray && !aborted;
        state.overdue &= !goes_on;
        state.target.iter_mut().for_each(|target| target.epoch = epoch);
        goes_on
    }
}
