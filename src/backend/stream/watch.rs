//! A connection's state as other threads see it, and the handle that aborts it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{eventfd, EventfdFlags};

use crate::backend::stream::socket::Socket;
use crate::core::budget::Share;
use crate::core::transaction::TransactionState;
use crate::error::PgFault;

/// The state of one connection, and the handle that aborts it from any thread.
///
/// Its lock is a leaf: held for a few instructions, never while anything else is
/// called that can block.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<WatchState>,
    transaction: AtomicU8,
}

#[derive(Debug, Default)]
struct WatchState {
    epoch: u64,
    aborted: bool,
    /// Gone once the connection is closed.
    socket: Option<Arc<Socket>>,
    /// A wait for notifications must end.
    nudged: bool,
    /// Signalled by a nudge; exists only if notifications are waited for.
    bell: Option<Arc<OwnedFd>>,
    /// The budgets that unfinished messages are charged to.
    share: Share,
    /// Called when a statement floods: too many notices and other messages besides its
    /// rows.
    on_flood: Hook,
    last_words: Option<PgFault>,
    was_asked: bool,
}

/// A callback that is called once.
#[derive(Default)]
struct Hook(Option<Box<dyn Fn() + Send>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

/// Names one operation on a connection; an abort for an older one does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

impl Watch {
    fn lock(&self) -> MutexGuard<'_, WatchState> {
        // The fields stay consistent at every step, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an operation; aborts meant for earlier ones no longer apply.
    pub fn begin(&self) -> Epoch {
        let mut state = self.lock();
        state.epoch += 1;
        Epoch(state.epoch)
    }

    /// Ends the current operation.
    pub fn end(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        let hook = std::mem::take(&mut state.on_flood);
        drop(state);
        drop(hook);
    }

    /// Sets the callback for a statement of the current operation that floods. It is called
    /// once and must not block.
    pub fn on_flood(&self, act: impl Fn() + Send + 'static) {
        let hook = Hook(Some(Box::new(act)));
        let before = std::mem::replace(&mut self.lock().on_flood, hook);
        drop(before);
    }

    /// Calls the callback of [`Watch::on_flood`].
    pub(in crate::backend) fn is_flooded(&self) {
        let hook = self.lock().on_flood.0.take();
        if let Some(act) = hook {
            act();
        }
    }

    /// Aborts the connection if the operation `epoch` is still current. Returns whether it
    /// did.
    pub fn abort(&self, epoch: Epoch) -> bool {
        let state = self.lock();
        let hit = state.epoch == epoch.0;
        if hit {
            break_off(state);
        }
        hit
    }

    /// Aborts the connection, whatever it does. Only for its owner.
    pub fn abort_now(&self) {
        break_off(self.lock());
    }

    /// True once the connection was aborted.
    pub fn is_aborted(&self) -> bool {
        self.lock().aborted
    }

    /// The transaction state of the last ReadyForQuery.
    pub fn transaction(&self) -> TransactionState {
        let status = self.transaction.load(Ordering::Acquire);
        TransactionState::from_ready_for_query(status).unwrap_or_default()
    }

    /// Records a ReadyForQuery with this state.
    pub(in crate::backend) fn is_ready(&self, transaction: TransactionState) {
        let status = match transaction {
            TransactionState::None => b'I',
            TransactionState::Open => b'T',
            TransactionState::Failed => b'E',
        };
        self.transaction.store(status, Ordering::Release);
    }

    /// Records a ReadyForQuery of a backend that is made of nothing.
    #[cfg(test)]
    pub fn stands_at(&self, transaction: TransactionState) {
        self.is_ready(transaction);
    }

    /// Sets the budgets that the buffered part of an unfinished message is charged to.
    pub fn count_in(&self, share: Share) {
        self.lock().share = share;
    }

    /// The budgets set by [`Watch::count_in`].
    pub(in crate::backend) fn share(&self) -> Share {
        self.lock().share.clone()
    }

    /// The FATAL or PANIC error that PostgreSQL sent before it closed.
    pub fn last_words(&self) -> Option<PgFault> {
        self.lock().last_words.clone()
    }

    /// Records such an error.
    pub(in crate::backend) fn has_said(&self, last_words: PgFault) {
        self.lock().last_words = Some(last_words);
    }

    /// True if the server requested the password.
    pub fn was_asked(&self) -> bool {
        self.lock().was_asked
    }

    /// Records that the server requested the password.
    pub(in crate::backend) fn is_asked(&self) {
        self.lock().was_asked = true;
    }

    /// Ends the current or the next wait for notifications.
    pub fn nudge(&self) {
        let mut state = self.lock();
        state.nudged = true;
        let bell = state.bell.clone();
        drop(state);
        if let Some(bell) = bell {
            // Does not block; a full eventfd is already signalled.
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        }
    }

    /// True if there was a nudge since the last call.
    pub(in crate::backend) fn take_nudge(&self) -> bool {
        let mut state = self.lock();
        let nudged = std::mem::take(&mut state.nudged);
        let bell = state.bell.clone();
        drop(state);
        if let Some(bell) = bell.filter(|_| nudged) {
            // It does not block.
            let _ = rustix::io::read(&*bell, &mut [0u8; 8]);
        }
        nudged
    }

    /// The eventfd that a nudge signals.
    pub(in crate::backend) fn bell(&self) -> std::io::Result<Arc<OwnedFd>> {
        let known = self.lock().bell.clone();
        if let Some(bell) = known {
            return Ok(bell);
        }
        let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        self.lock().bell = Some(Arc::clone(&bell));
        Ok(bell)
    }

    /// Sets the connection's socket, and forgets what a server tried before has sent.
    pub(in crate::backend) fn attach(&self, socket: &Arc<Socket>) {
        let mut state = self.lock();
        let before = state.socket.replace(Arc::clone(socket));
        state.last_words = None;
        state.was_asked = false;
        let aborted = state.aborted;
        drop(state);
        drop(before);
        if aborted {
            socket.break_off();
        }
    }

    /// Forgets the socket: the connection is closed.
    pub(in crate::backend) fn detach(&self) {
        let mut state = self.lock();
        let gone = (state.socket.take(), state.bell.take());
        drop(state);
        drop(gone);
    }
}

/// The system call is made without the lock; a concurrent abort is harmless.
fn break_off(mut state: MutexGuard<'_, WatchState>) {
    state.aborted = true;
    let socket = state.socket.clone();
    drop(state);
    if let Some(socket) = socket {
        socket.break_off();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_operation_can_be_aborted() {
        let watch = Watch::default();
        let first = watch.begin();
        watch.end();
        assert!(!watch.abort(first) && !watch.is_aborted());
        let second = watch.begin();
        assert!(watch.abort(second) && watch.is_aborted());
    }

    #[test]
    fn a_nudge_is_taken_once_and_rings_once() {
        let watch = Watch::default();
        assert!(!watch.take_nudge());
        watch.nudge();
        watch.nudge();
        assert!(watch.take_nudge() && !watch.take_nudge());
        let bell = watch.bell().unwrap();
        watch.nudge();
        assert!(watch.take_nudge());
        let silent = rustix::io::read(&*bell, &mut [0u8; 8]);
        assert_eq!(silent, Err(rustix::io::Errno::AGAIN));
    }

    #[test]
    fn the_state_is_the_last_one() {
        let watch = Watch::default();
        assert_eq!(watch.transaction(), TransactionState::None);
        for state in [TransactionState::Open, TransactionState::Failed, TransactionState::None] {
            watch.is_ready(state);
            assert_eq!(watch.transaction(), state);
        }
    }
}
