//! The time limit of a future.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use futures_util::{Future, FutureExt};

use crate::clock;
use crate::threads::alarms::{Alarm, Alarms};

/// Limits one wait of a future after the other. The alarm of an earlier wait is kept and is set
/// again only when it rings: most calls end before that, so that each costs one alarm, however
/// often it waits.
pub(super) struct TimeLimit {
    alarms: Alarms,
    until: Option<Instant>,
    set: Option<SetAlarm>,
}

struct SetAlarm {
    at: Instant,
    rung: Arc<Ringing>,
    _alarm: Alarm,
}

#[derive(Default)]
struct Ringing {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl TimeLimit {
    /// Without a limit.
    pub(super) fn new(alarms: &Alarms) -> TimeLimit {
        TimeLimit { alarms: alarms.clone(), until: None, set: None }
    }

    /// Sets the limit, from now on, unless there is one.
    pub(super) fn start(&mut self, limit: Duration) {
        if self.until.is_none() {
            self.until = Some(clock::now() + limit);
        }
    }

    /// Removes the limit.
    pub(super) fn clear(&mut self) {
        self.until = None;
    }

    /// Ready once the limit has passed; never without one.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
        let rung = Arc::<Ringing>::default();
        rung.waker.register(cx.waker());
        let bell = Arc::clone(&rung);
        let alarm = self.alarms.set(until, move || {
            bell.rung.store(true, Ordering::Release);
            bell.waker.wake();
        });
        self.set = Some(SetAlarm { at: until, rung, _alarm: alarm });
        Poll::Pending
    }

    /// Waits for `future` for `limit` at most; `None`: the limit has passed.
    pub(super) fn within<F: Future + Unpin>(
        &mut self,
        limit: Duration,
        mut future: F,
    ) -> impl Future<Output = Option<F::Output>> + Unpin + use<'_, F> {
        self.clear();
        self.start(limit);
        poll_fn(move |cx| match future.poll_unpin(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.poll_expired(cx).map(|()| None),
        })
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
    fn a_later_limit_reuses_the_alarm_of_an_earlier_one_and_expires_in_its_own_time() {
        let (alarms, woken) = (Alarms::new(Bell::default()), Arc::<Woken>::default());
        let waker = waker(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut limit = TimeLimit::new(&alarms);
        assert!(limit.poll_expired(&mut cx).is_pending() && alarms.next().is_none());
        limit.start(Duration::from_secs(3600));
        assert!(limit.poll_expired(&mut cx).is_pending());
        let first = alarms.next().expect("an alarm");
        limit.clear();
        limit.start(Duration::from_secs(7200));
        assert!(limit.poll_expired(&mut cx).is_pending());
        assert_eq!(alarms.next(), Some(first));
        alarms.run_due(first, 1);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(limit.poll_expired(&mut cx).is_pending());
        assert!(alarms.next().expect("another alarm") > first);
        limit.clear();
        limit.start(Duration::ZERO);
        assert!(limit.poll_expired(&mut cx).is_ready());
        drop(limit);
        assert!(alarms.next().is_none());
    }
}
