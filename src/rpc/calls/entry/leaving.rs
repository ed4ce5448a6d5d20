//! Whether the caller of a call with one request has left, of which gRPC wakes nobody.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::{noop_waker_ref, AtomicWaker};
use futures_util::Stream;
use grpcio::RequestStream;

use super::decoder::Decoder;
use crate::clock;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::proto::{Raw, Shaped};
use crate::threads::polls::{PollGuard, Polled};

/// The requests of a call, of which the last was read. They are asked from time to time.
pub(super) struct Leaving<Q> {
    ended: Arc<EndedRequests<Q>>,
    _guard: PollGuard,
}

struct EndedRequests<Q> {
    /// Nothing is read from it: it only looks whether the call is still alive.
    requests: Leaf<RequestStream<Raw<Q>>>,
    caller: Arc<Caller>,
    left: AtomicBool,
    waker: AtomicWaker,
}

impl<Q: Shaped> Leaving<Q> {
    pub(super) fn of(requests: RequestStream<Raw<Q>>, decoder: &Decoder) -> Leaving<Q> {
        let ended = Arc::new(EndedRequests {
            requests: Leaf::new(requests),
            caller: Arc::clone(&decoder.caller),
            left: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let polls = &decoder.context.polls;
        let guard = polls.add(clock::now(), Arc::clone(&ended) as Arc<dyn Polled>);
        Leaving { ended, _guard: guard }
    }

    /// Ready once the caller has left.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ended.waker.register(cx.waker());
        match self.ended.left.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl<Q: Shaped> Polled for EndedRequests<Q> {
    fn has_happened(&self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut requests = self.requests.lock();
        let next = Pin::new(&mut *requests).poll_next(&mut cx);
        drop(requests);
        let left = matches!(next, Poll::Ready(Some(Err(_))));
        if left {
            // Here, because gRPC's thread may be gone: it ends before the work does where the
            // service stops.
            self.caller.leave();
            self.left.store(true, Ordering::Release);
            self.waker.wake();
        }
        left
    }
}
