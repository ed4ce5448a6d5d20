//! Limits of time for a future that waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use futures_util::Future;

use crate::clock;
use crate::threads::alarms::{Alarm, Alarms};

/// One limit after the other for the same future. An alarm that was set for an earlier
/// one is left to ring, and then set again: most calls are over before it does, so that
/// each costs one alarm however often it waits.
pub(super) struct Patience {
    alarms: Alarms,
    until: Option<Instant>,
    set: Option<Set>,
}

struct Set {
    at: Instant,
    rung: Arc<Rung>,
    _alarm: Alarm,
}

#[derive(Default)]
struct Rung {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Patience {
    /// None yet.
    pub(super) fn new(alarms: &Alarms) -> Patience {
        Patience { alarms: alarms.clone(), until: None, set: None }
    }

    /// From now on there is this limit, if there was none.
    pub(super) fn begin(&mut self, limit: Duration) {
        if self.until.is_none() {
            self.until = Some(clock::now() + limit);
        }
    }

    /// No limit any more.
    pub(super) fn rest(&mut self) {
        self.until = None;
    }

    /// Ready when the limit is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        if let Some(set) = self.set.as_ref().filter(|set| set.at <= until) {
            set.rung.waker.register(cx.waker());
            if !set.rung.rung.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        if clock::now() >= until {
            return Poll::Ready(());
        }
        let rung = Arc::<Rung>::default();
        rung.waker.register(cx.waker());
        let bell = Arc::clone(&rung);
        let alarm = self.alarms.set(until, move || {
            bell.rung.store(true, Ordering::Release);
            bell.waker.wake();
        });
        self.set = Some(Set { at: until, rung, _alarm: alarm });
        Poll::Pending
    }

    /// What comes of `future`; `None` if that takes longer than `limit`.
    pub(super) async fn within<T>(
        &mut self,
        limit: Duration,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        self.rest();
        self.begin(limit);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::task::{waker, ArcWake};

    use super::*;
    use crate::threads::bell::Bell;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_later_limit_uses_the_alarm_of_an_earlier_one_and_ends_in_its_own_time() {
        let (alarms, woken) = (Alarms::new(Bell::default()), Arc::<Woken>::default());
        let waker = waker(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut patience = Patience::new(&alarms);
        assert!(patience.poll(&mut cx).is_pending() && alarms.next().is_none());
        patience.begin(Duration::from_secs(3600));
        assert!(patience.poll(&mut cx).is_pending());
        let first = alarms.next().expect("an alarm");
        patience.rest();
        patience.begin(Duration::from_secs(7200));
        assert!(patience.poll(&mut cx).is_pending());
        assert_eq!(alarms.next(), Some(first));
        alarms.run_due(first, 1);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(patience.poll(&mut cx).is_pending());
        assert!(alarms.next().expect("another alarm") > first);
        patience.rest();
        patience.begin(Duration::ZERO);
        assert!(patience.poll(&mut cx).is_ready());
        drop(patience);
        assert!(alarms.next().is_none());
    }
}
