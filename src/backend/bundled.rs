//! The stream that bundles rows before the driver sees them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{ready, Context, Poll};

use postgres::tls::{ChannelBinding, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::backend::bundle::{Bundler, Bundling, Plan};

/// One read; PostgreSQL sends records of 8 KiB.
const READ_BYTES: usize = 16 << 10;

/// Says from outside how a stream bundles. A leaf lock.
#[derive(Debug, Clone, Default)]
pub(super) struct Bundles(Arc<Mutex<Plan>>);

impl Bundles {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How what comes from now on is bundled. Only between two statements.
    pub(super) fn set(&self, bundling: Bundling) {
        let mut plan = self.lock();
        *plan = Plan { bundling, hears: plan.hears, ..Plan::default() };
    }

    /// Whether notifications are passed on.
    pub(super) fn hear(&self, hears: bool) {
        self.lock().hears = hears;
    }

    /// Look-ups of types since the bundling was set.
    pub(super) fn lookups(&self) -> usize {
        self.lock().lookups
    }
}

/// A stream whose reader gets bundles.
pub struct BundledStream<S> {
    stream: S,
    bundles: Bundles,
    bundler: Bundler,
    /// What is for the reader, from `given` on.
    ready: Vec<u8>,
    given: usize,
}

impl<S> BundledStream<S> {
    pub(super) fn new(stream: S, bundles: Bundles) -> BundledStream<S> {
        BundledStream { stream, bundles, bundler: Bundler::default(), ready: Vec::new(), given: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BundledStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let own = &mut *self;
        // A read can bring less than a header, of which nothing can be given yet.
        while own.given == own.ready.len() {
            own.given = 0;
            own.ready.clear();
            let mut room = [MaybeUninit::uninit(); READ_BYTES];
            let mut fresh = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut own.stream).poll_read(cx, &mut fresh))?;
            if fresh.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            own.bundler.bundle(&mut own.bundles.lock(), fresh.filled(), &mut own.ready);
        }
        let waiting = own.ready.get(own.given..).unwrap_or_default();
        let given = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..given]);
        own.given += given;
        // A backend at rest keeps no memory for this.
        if own.given == own.ready.len() && own.bundles.lock().bundling == Bundling::None {
            (own.given, own.ready) = (0, Vec::new());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BundledStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for BundledStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}
