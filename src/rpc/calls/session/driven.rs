//! Runs the future of a stream on the thread that has news for it.
//!
//! grpcio polls a future on the thread of its completion queue only. For each statement that
//! would be woken to begin the next one, and a worker woken for that. The worker that has ended a
//! statement runs the future itself, which begins the next one on that worker.

use std::future::{poll_fn, Future};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::{waker_ref, ArcWake, AtomicWaker};
use futures_util::FutureExt;

use crate::lock::Leaf;
use crate::threads::{self, here};

type StreamFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// It waits to be woken.
const RESTS: u8 = 0;
/// gRPC's thread was told to run it.
const WOKEN: u8 = 1;
/// A thread runs it.
const RUNS: u8 = 2;
/// It was woken while one did, which runs it once more.
const RUNS_AGAIN: u8 = 3;
/// It has ended.
const ENDED: u8 = 4;

/// A stream's future for gRPC's thread, of which workers may run a part.
pub(super) struct Driven(Arc<DrivenStream>);

/// The threads that run a stream's future, as the future knows them.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<AtomicBool>);

impl Threads {
    /// Goes on on gRPC's thread.
    pub(super) async fn pass_on(&self) {
        let mut passed = false;
        poll_fn(|_| match std::mem::replace(&mut passed, true) {
            true => Poll::Ready(()),
            false => {
                self.0.store(true, Ordering::Release);
                Poll::Pending
            }
        })
        .await;
    }
}

struct DrivenStream {
    state: AtomicU8,
    threads: Threads,
    /// Out while it runs.
    future: Leaf<Option<StreamFuture>>,
    grpc: AtomicWaker,
}

impl Driven {
    /// Of this future. A panic in it ends it.
    pub(super) fn new<F>(future: impl FnOnce(Threads) -> F) -> Driven
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let threads = Threads::default();
        let future = future(threads.clone());
        let future: StreamFuture = Box::pin(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                log::error!("event=panic thread={}", threads::GRPC);
            }
        });
        Driven(Arc::new(DrivenStream {
            state: AtomicU8::new(RESTS),
            threads,
            future: Leaf::new(Some(future)),
            grpc: AtomicWaker::new(),
        }))
    }
}

impl Future for Driven {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &self.0;
        // Before it is looked at, so that no end of it on another thread is missed.
        stream.grpc.register(cx.waker());
        stream.run();
        match stream.state.load(Ordering::Acquire) {
            ENDED => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl DrivenStream {
    fn turn(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Polls it until it waits or has ended. False: another thread does.
    fn run(self: &Arc<Self>) -> bool {
        if !self.turn(RESTS, RUNS) && !self.turn(WOKEN, RUNS) {
            return false;
        }
        let waker = waker_ref(self);
        let mut cx = Context::from_waker(&waker);
        let Some(mut future) = self.future.lock().take() else { return true };
        loop {
            if future.as_mut().poll(&mut cx).is_ready() {
                drop(future);
                self.state.store(ENDED, Ordering::Release);
                self.grpc.wake();
                return true;
            }
            *self.future.lock() = Some(future);
            if self.turn(RUNS, RESTS) {
                if self.threads.0.swap(false, Ordering::AcqRel) && self.turn(RESTS, WOKEN) {
                    self.grpc.wake();
                }
                return true;
            }
            self.state.store(RUNS, Ordering::Release);
            let Some(again) = self.future.lock().take() else { return true };
            future = again;
        }
    }
}

impl ArcWake for DrivenStream {
    fn wake_by_ref(stream: &Arc<Self>) {
        loop {
            match stream.state.load(Ordering::Acquire) {
                RUNS if stream.turn(RUNS, RUNS_AGAIN) => return,
                RESTS | WOKEN if here::is_ending() => {
                    if stream.run() {
                        return;
                    }
                }
                RESTS if stream.turn(RESTS, WOKEN) => return stream.grpc.wake(),
                RUNS | RESTS => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use crossbeam_channel::{unbounded, Sender};
    use futures_channel::mpsc;
    use futures_util::StreamExt;

    use super::*;
    use crate::threads::workers::Workers;

    /// Says on which thread each message was met, until there are none.
    fn met(mut messages: mpsc::UnboundedReceiver<u32>, tell: Sender<(u32, ThreadId)>) -> Driven {
        Driven::new(|_| async move {
            while let Some(message) = messages.next().await {
                let _ = tell.send((message, thread::current().id()));
            }
        })
    }

    #[allow(clippy::disallowed_methods)] // The thread it belongs to.
    fn runs(stream: Driven) -> thread::JoinHandle<()> {
        thread::spawn(|| futures_executor::block_on(stream))
    }

    #[test]
    fn a_worker_at_its_end_runs_it_and_everybody_else_leaves_it_to_the_thread_it_belongs_to() {
        let ((send, messages), (tell, told)) = (mpsc::unbounded(), unbounded());
        let stream = met(messages, tell);
        let own = runs(stream);
        let own_id = own.thread().id();
        let workers = Workers::default();
        for number in 0..100 {
            let (ending, send) = (number % 2 == 0, send.clone());
            let (ran, by) = unbounded();
            assert!(workers.run(move || {
                let sends = || {
                    let _ = send.unbounded_send(number);
                };
                if ending {
                    here::ending(sends);
                } else {
                    sends();
                }
                let _ = ran.send(thread::current().id());
            }));
            let (met, at) = told.recv().expect("it is met");
            let worker = by.recv().expect("it ran");
            assert_eq!(met, number);
            // Its own thread may just be at it.
            assert!(at == own_id || (ending && at == worker));
        }
        drop(send);
        own.join().expect("it has ended");
    }

    #[test]
    fn nothing_is_lost_where_many_threads_wake_it_at_once() {
        let ((send, messages), (tell, told)) = (mpsc::unbounded(), unbounded());
        let stream = met(messages, tell);
        let own = runs(stream);
        let workers = Workers::default();
        for _ in 0..4 {
            let send = send.clone();
            assert!(workers.run(move || for number in 0..2500 {
                let _ = here::ending(|| send.unbounded_send(number));
            }));
        }
        assert_eq!(told.iter().take(10_000).count(), 10_000);
        drop(send);
        own.join().expect("it has ended");
    }

    #[test]
    fn what_passes_on_goes_on_on_the_thread_it_belongs_to() {
        let ((send, mut messages), (tell, told)) = (mpsc::unbounded(), unbounded());
        let stream = Driven::new(|threads| async move {
            while let Some(()) = messages.next().await {
                while here::is_ending() {
                    threads.pass_on().await;
                }
                let _ = tell.send(thread::current().id());
            }
        });
        let own = runs(stream);
        let workers = Workers::default();
        for _ in 0..100 {
            let send = send.clone();
            assert!(workers.run(move || {
                let _ = here::ending(|| send.unbounded_send(()));
            }));
            assert_eq!(told.recv(), Ok(own.thread().id()));
        }
        drop(send);
        own.join().expect("it has ended");
    }

    #[test]
    fn it_ends_where_a_panic_ends_it() {
        let (send, mut messages) = mpsc::unbounded::<()>();
        let panics = poll_fn(move |cx| {
            let _ = std::task::ready!(messages.poll_next_unpin(cx));
            panic!("injected")
        });
        let stream = Driven::new(|_| panics);
        let own = runs(stream);
        assert!(Workers::default().run(move || here::ending(|| drop(send))));
        own.join().expect("it has ended");
    }
}
