//! Waits on the calling thread for a future, with a time limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::clock;

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// Making one costs an allocation; a thread needs one only.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Waits for `future`, at most until then; `None` if it is not ready by then.
///
/// Unlike `futures_executor::block_on` it has a time limit, and may stand inside another
/// executor.
pub(super) fn wait<F: Future>(
    mut future: Pin<&mut F>,
    until: Option<Instant>,
) -> Option<F::Output> {
    let waker = WAKER.with(Clone::clone);
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match until.map(|until| until.saturating_duration_since(clock::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;
    use crate::core::testing::start;

    #[test]
    fn what_is_ready_is_taken_even_after_the_limit() {
        assert_eq!(wait(pin!(async { 7 }), Some(start())), Some(7));
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let never = pin!(std::future::pending::<()>());
        assert_eq!(wait(never, Some(start() + Duration::from_millis(1))), None);
    }

    #[test]
    fn another_thread_wakes_it_also_inside_another_executor() {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let mut asked = false;
        let future = std::future::poll_fn(move |context| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            sender.send(context.waker().clone()).unwrap();
            Poll::Pending
        });
        let waking = crate::threads::spawn("test", move || receiver.recv().unwrap().wake());
        let outer = async { wait(pin!(future), None) };
        assert_eq!(futures_executor::block_on(outer), Some(()));
        waking.unwrap().join().unwrap();
    }
}
