//! Whether the service wants requests, for those who watch that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::core::callers::CallerId;
use crate::core::watchers::{Admitted, TooManyWatchers, Watchers};
use crate::lock::Leaf;

/// Its last state, and who is notified of a change. Cheap to clone.
#[derive(Clone, Default)]
pub struct Serving(Arc<Leaf<Watched>>);

#[derive(Default)]
struct Watched {
    serving: Option<bool>,
    admitted: Watchers,
    told: HashMap<u64, Arc<Told>>,
}

/// What a watcher is told.
#[derive(Default)]
struct Told {
    changed: AtomicBool,
    displaced: AtomicBool,
    waker: AtomicWaker,
}

/// One who watches. Dropped, it makes room for another.
pub struct HealthWatcher {
    serving: Serving,
    caller: CallerId,
    id: u64,
    most: usize,
    told: Arc<Told>,
}

impl Serving {
    /// Tells all who watch, if it is a change.
    pub fn set(&self, serving: bool) {
        let mut watched = self.0.lock();
        if watched.serving == Some(serving) {
            return;
        }
        watched.serving = Some(serving);
        let all: Vec<Arc<Told>> = watched.told.values().map(Arc::clone).collect();
        drop(watched);
        for told in all {
            told.changed.store(true, Ordering::Release);
            told.waker.wake();
        }
    }

    /// A watcher of this connection; all may be `most`. One of a connection that has more than
    /// one may have to end for it.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn watch(&self, caller: &CallerId, most: usize) -> Result<HealthWatcher, TooManyWatchers> {
        let told = Arc::<Told>::default();
        let mut watched = self.0.lock();
        let Admitted { id, displaced } = watched.admitted.admit(caller, most)?;
        watched.told.insert(id, Arc::clone(&told));
        let displaced = displaced.and_then(|id| watched.told.remove(&id));
        drop(watched);
        if let Some(displaced) = displaced {
            displaced.displaced.store(true, Ordering::Release);
            displaced.waker.wake();
        }
        Ok(HealthWatcher { serving: self.clone(), caller: caller.clone(), id, most, told })
    }
}

impl HealthWatcher {
    /// Ready after each change; what has changed is to be looked up.
    ///
    /// # Errors
    /// It has to end, for another's first one.
    pub fn poll_change(&self, cx: &mut Context<'_>) -> Poll<Result<(), TooManyWatchers>> {
        self.told.waker.register(cx.waker());
        if self.told.displaced.load(Ordering::Acquire) {
            return Poll::Ready(Err(TooManyWatchers::GaveWay(self.most)));
        }
        match self.told.changed.swap(false, Ordering::AcqRel) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl Drop for HealthWatcher {
    fn drop(&mut self) {
        let mut watched = self.serving.0.lock();
        watched.admitted.leave(&self.caller, self.id);
        let told = watched.told.remove(&self.id);
        drop(watched);
        // With its waker, without the lock.
        drop(told);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    fn told(watcher: &HealthWatcher) -> Poll<Result<(), TooManyWatchers>> {
        watcher.poll_change(&mut Context::from_waker(noop_waker_ref()))
    }

    #[test]
    fn a_watcher_hears_of_changes_only_and_one_that_left_is_forgotten() {
        let serving = Serving::default();
        serving.set(true);
        let (one, other) = (CallerId::new("ipv4:192.0.2.1:1"), CallerId::new("ipv4:192.0.2.1:2"));
        let watch = |caller| serving.watch(caller, 2);
        let (first, second) = (watch(&one).expect("room"), watch(&one).expect("room"));
        serving.set(true);
        assert!(told(&first).is_pending());
        drop(second);
        serving.set(false);
        assert_eq!(told(&first), Poll::Ready(Ok(())));
        assert!(told(&first).is_pending());
        assert_eq!(serving.0.lock().told.len(), 1);
        let second = watch(&one).expect("room");
        let third = watch(&other).expect("its first one");
        assert_eq!(told(&second), Poll::Ready(Err(TooManyWatchers::GaveWay(2))));
        drop(second);
        assert!(told(&third).is_pending());
        assert_eq!(serving.0.lock().told.len(), 2);
    }
}
