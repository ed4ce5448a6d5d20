//! The watched stream: every byte between the driver and PostgreSQL passes here.
//!
//! The driver hides two things that leases cannot do without: the transaction
//! status of `ReadyForQuery` and a way to break off from another thread. Both
//! are had by standing where the driver expects its TLS layer: it hands over the
//! plain socket, `handshake` does the SSL request and the TLS itself and returns a
//! stream that reads along (status, command tags, the cancel key) and that fails
//! once it has been aborted.
//!
//! The abort sits *below* TLS, so that it also ends a handshake that hangs.

use std::borrow::Cow;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsStream};
use postgres::Socket;
use postgres_openssl::MakeTlsConnector;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{sleep, Sleep};

use crate::backend::frames::Frames;
use crate::backend::handshake::Refusal;
use crate::backend::login::Login;
use crate::backend::requests::Requests;
use crate::core::budget::Share;
use crate::core::transaction::TransactionState;
use crate::error::{Excess, PgFault};

/// A notification of nobody, without channel and payload.
const NUDGE: [u8; 11] = [b'A', 0, 0, 0, 10, 0, 0, 0, 0, 0, 0];

/// What is known of one connection from its stream, and the handle that breaks
/// it off from any thread.
///
/// Its lock is a leaf: held for a few instructions, never while anything else is
/// called that can block.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Observed>);

#[derive(Debug, Default)]
struct Observed {
    epoch: u64,
    aborted: bool,
    waker: Option<Waker>,
    frames: Frames,
    requests: Requests,
    /// A wait for notifications is to end.
    nudged: bool,
    /// What of a nudge is still to be read.
    nudge: &'static [u8],
    /// Notifications are taken one by one, and those that wait come first.
    reads_little: bool,
    /// Where unfinished messages count.
    share: Share,
    /// Called when a statement sends what nobody wants without end.
    on_flood: Hook,
}

/// Something to be called once.
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

/// What a cancel request must present.
#[derive(Clone)]
pub struct CancelKey {
    /// Process id of the backend.
    pub pid: i32,
    /// The secret that came with it.
    pub secret: Vec<u8>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Observed> {
        // The fields stay consistent at every step, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an operation; aborts meant for earlier ones no longer apply.
    pub fn begin(&self) -> Epoch {
        let mut seen = self.lock();
        seen.epoch += 1;
        Epoch(seen.epoch)
    }

    /// Ends the current operation.
    pub fn end(&self) {
        let mut seen = self.lock();
        seen.epoch += 1;
        let hook = std::mem::take(&mut seen.on_flood);
        drop(seen);
        drop(hook);
    }

    /// What is done, once and without blocking, when a statement of the current
    /// operation sends notices without end.
    pub fn on_flood(&self, act: impl Fn() + Send + 'static) {
        let hook = Hook(Some(Box::new(act)));
        let before = std::mem::replace(&mut self.lock().on_flood, hook);
        drop(before);
    }

    /// Breaks the connection off if it is still at the operation `epoch`.
    /// Returns whether it did.
    pub fn abort(&self, epoch: Epoch) -> bool {
        let seen = self.lock();
        let hit = seen.epoch == epoch.0;
        if hit {
            break_off(seen);
        }
        hit
    }

    /// Breaks the connection off whatever it does. Only for its owner.
    pub fn abort_now(&self) {
        break_off(self.lock());
    }

    /// True once the connection was broken off.
    pub fn is_aborted(&self) -> bool {
        self.lock().aborted
    }

    /// The transaction state of the last ReadyForQuery.
    pub fn transaction(&self) -> TransactionState {
        self.lock().frames.transaction
    }

    /// The last command tag since `start_statement`.
    pub fn tag(&self) -> Option<String> {
        self.lock().frames.tag.clone()
    }

    /// A new statement starts: what the last one said is not its own.
    pub fn start_statement(&self) {
        self.lock().frames.start_statement();
    }

    /// The service asks something for itself: the answer must be short.
    pub fn start_question(&self) {
        self.lock().frames.bounds.start_question();
    }

    /// Bytes that have come as answer to that.
    pub fn answered(&self) -> usize {
        self.lock().frames.bounds.answered()
    }

    /// Why the stream was broken off, if that was for what it would have cost.
    pub fn excess(&self) -> Option<Excess> {
        self.lock().frames.excess
    }

    /// Whether notifications are passed on, and so are to be counted.
    pub fn hear(&self, hears: bool) {
        self.lock().frames.bounds.hears = hears;
    }

    /// All notifications that came were taken.
    pub fn took_notifications(&self) {
        self.lock().frames.bounds.took_notifications();
    }

    /// While notifications wait, no more is read. Only for whoever takes them.
    pub fn read_little(&self, little: bool) {
        self.lock().reads_little = little;
    }

    /// What of an unfinished message is in memory counts in these budgets.
    pub fn count_in(&self, share: Share) {
        self.lock().share = share;
    }

    /// A COPY FROM STDIN starts.
    pub fn start_copy_in(&self) {
        let mut seen = self.lock();
        seen.frames.start_statement();
        seen.requests.start_copy_in();
    }

    /// The COPY FROM STDIN is over.
    pub fn end_copy_in(&self) {
        self.lock().requests.end_copy_in();
    }

    /// PostgreSQL is asked for so many rows of the next statement at most; `None` =
    /// for all of them.
    pub fn limit_rows(&self, limit: Option<u32>) {
        self.lock().requests.limit_rows(limit);
    }

    /// The last error of this statement, if there was one.
    pub fn failed(&self) -> Option<PgFault> {
        self.lock().frames.failed.clone()
    }

    /// True once the statement that started could have had an effect.
    pub fn has_bound(&self) -> bool {
        self.lock().frames.bound
    }

    /// A statement is about to be prepared.
    pub fn start_prepare(&self) {
        self.lock().frames.start_prepare();
    }

    /// True once PostgreSQL has understood it; what the driver asks from then on
    /// it asks for itself.
    pub fn has_described(&self) -> bool {
        self.lock().frames.described
    }

    /// Ends a wait for notifications, now or the next one, by one that PostgreSQL
    /// has not sent: it has no channel, which a real one always has.
    pub fn nudge(&self) {
        let mut seen = self.lock();
        seen.nudged = true;
        let waker = seen.waker.take();
        drop(seen);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Puts of the nudge that is due into `buf` what has room there, if the stream
    /// is between messages. False: there is nothing to put.
    fn put_nudge(&self, buf: &mut ReadBuf<'_>) -> bool {
        let mut seen = self.lock();
        if seen.nudge.is_empty() && seen.nudged && seen.frames.is_between() {
            seen.nudged = false;
            seen.nudge = &NUDGE;
        }
        let (now, rest) = seen.nudge.split_at(seen.nudge.len().min(buf.remaining()));
        buf.put_slice(now);
        seen.nudge = rest;
        !now.is_empty()
    }

    /// True if notifications wait that are to be taken before more is read.
    fn has_backlog(&self) -> bool {
        let seen = self.lock();
        seen.reads_little && seen.frames.bounds.has_backlog()
    }

    /// The FATAL or PANIC error that PostgreSQL sent before it closed.
    pub fn last_words(&self) -> Option<PgFault> {
        self.lock().frames.last_words.clone()
    }

    /// Statements that the driver has prepared and not closed; it counts on them.
    pub fn prepared(&self) -> usize {
        self.lock().frames.prepared
    }

    /// How often a setting that changes the meaning of texts has changed.
    pub fn settings(&self) -> u64 {
        self.lock().frames.settings
    }

    /// True while the session's client_encoding is not UTF8.
    pub fn has_foreign_encoding(&self) -> bool {
        self.lock().frames.foreign_encoding
    }

    /// What the server reports of in_hot_standby and default_transaction_read_only;
    /// PostgreSQL 14 and later do.
    pub fn reported(&self) -> (Option<bool>, Option<bool>) {
        let seen = self.lock();
        (seen.frames.standby, seen.frames.read_only)
    }

    /// How to cancel what runs here; known once authentication is over.
    pub fn cancel_key(&self) -> Option<CancelKey> {
        self.lock().frames.key.clone()
    }

    /// True if the server has asked for the password.
    pub fn was_asked(&self) -> bool {
        self.lock().frames.login.was_asked()
    }

    /// True if the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.lock().frames.login.is_encrypted()
    }

    /// Another server is tried: what the last one said does not count.
    pub(super) fn start_anew(&self, login: Login) {
        let mut seen = self.lock();
        seen.frames = Frames::default();
        seen.frames.login = login;
        seen.frames.bounds.held = seen.share.hold_nothing();
    }

    fn register(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut seen = self.lock();
        if seen.aborted {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match &seen.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => seen.waker = Some(cx.waker().clone()),
        }
        Ok(())
    }
}

fn break_off(mut seen: MutexGuard<'_, Observed>) {
    seen.aborted = true;
    let waker = seen.waker.take();
    drop(seen);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The socket with the abort in front of it.
#[derive(Debug)]
pub struct Breakable {
    socket: Socket,
    watch: Arc<Watch>,
    /// When to give this server up; gone once it is ready for statements.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Breakable {
    /// A fresh socket whose server has `limit` to become ready for statements.
    pub(super) fn new(socket: Socket, watch: &Arc<Watch>, limit: Duration) -> Breakable {
        Breakable { socket, watch: Arc::clone(watch), limit: Some(Box::pin(sleep(limit))) }
    }

    /// Another server may still answer where this one is mute.
    fn wait(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.watch.register(cx)?;
        let Some(limit) = &mut self.limit else {
            return Ok(());
        };
        if self.watch.lock().frames.ready {
            self.limit = None;
        } else if limit.as_mut().poll(cx).is_ready() {
            return Err(io::Error::other(Refusal::Mute));
        }
        Ok(())
    }
}

/// True if the other side is gone.
fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wait(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.register(cx)?;
        match Pin::new(&mut self.socket).poll_write(cx, buf) {
            // A server that refuses us says why and closes. What it said can still
            // be read, so the driver must get that far.
            Poll::Ready(Err(error)) if is_cut(&error) && !self.watch.lock().frames.ready => {
                Poll::Ready(Ok(buf.len()))
            }
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.register(cx)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.register(cx)?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The TLS layer over the socket.
pub(super) type Encrypted = <MakeTlsConnector as MakeTlsConnect<Breakable>>::Stream;

enum Layer {
    Plain(Breakable),
    Tls(Box<Encrypted>),
}

/// The stream the driver gets: plain or encrypted, read along.
pub struct WatchedStream {
    layer: Layer,
    watch: Arc<Watch>,
    /// Reading comes first until this is done.
    way: Option<JoinHandle<()>>,
}

impl WatchedStream {
    /// The stream without TLS.
    pub(super) fn plain(stream: Breakable) -> WatchedStream {
        let watch = Arc::clone(&stream.watch);
        WatchedStream { layer: Layer::Plain(stream), watch, way: None }
    }

    /// The stream over TLS.
    pub(super) fn encrypted(stream: Encrypted, watch: Arc<Watch>) -> WatchedStream {
        watch.lock().frames.login.encrypted();
        WatchedStream { layer: Layer::Tls(Box::new(stream)), watch, way: None }
    }

    /// Ready if it may be written. The driver's runtime looks at its sockets only
    /// when all it has to do waits for something, and one more piece of data never
    /// waits. An empty task that it runs is something to wait for: it gets its turn
    /// just before the sockets do.
    fn poll_way(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.way.is_none() && !self.watch.lock().requests.gives_way() {
            return Poll::Ready(());
        }
        let way = self.way.get_or_insert_with(|| tokio::spawn(async {}));
        // It can fail only with the runtime.
        let done = Pin::new(way).poll(cx).map(drop);
        if done.is_ready() {
            self.way = None;
        }
        done
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.put_nudge(buf) {
            return Poll::Ready(Ok(()));
        }
        // What waits is taken without waiting for the stream.
        if self.watch.has_backlog() {
            return Poll::Pending;
        }
        let start = buf.filled().len();
        let polled = match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        // It may have come before there was anybody to be woken.
        if polled.is_pending() && self.watch.put_nudge(buf) {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Ok(())) = &polled {
            if let Some(fresh) = buf.filled().get(start..) {
                let mut seen = self.watch.lock();
                seen.frames.read(fresh);
                if let Some(excess) = seen.frames.excess {
                    return Poll::Ready(Err(io::Error::other(excess)));
                }
                let hook = match seen.frames.bounds.is_flooded() {
                    true => seen.on_flood.0.take(),
                    false => None,
                };
                // The driver has not seen the question yet, so it cannot answer.
                if let Some(why) = seen.frames.login.objection() {
                    let refusal = Refusal::Mismatch(why.to_owned());
                    return Poll::Ready(Err(io::Error::other(refusal)));
                }
                drop(seen);
                if let Some(act) = hook {
                    act();
                }
            }
        }
        polled
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_way(cx).is_pending() {
            return Poll::Pending;
        }
        let bytes = self.watch.lock().requests.outgoing(buf);
        let polled = match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write(cx, &bytes),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, &bytes),
        };
        if let Poll::Ready(Ok(written)) = &polled {
            let changed = matches!(bytes, Cow::Owned(_)).then_some(bytes.len());
            self.watch.lock().requests.wrote(*written, changed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

impl TlsStream for WatchedStream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.layer {
            Layer::Plain(_) => ChannelBinding::none(),
            Layer::Tls(stream) => stream.channel_binding(),
        }
    }
}
