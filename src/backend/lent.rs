//! The conversation, lent to the driver for the login.
//!
//! The driver reads one message at a time, and nothing after the first ReadyForQuery.
//! Everything later is still unread when the loan is over.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use postgres::tls::{ChannelBinding, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::backend::conversation::Conversation;
use crate::backend::login::Login;
use crate::backend::refusal::Refusal;
use crate::pgwire::message::Message;

/// The lender's side. A leaf lock: nothing is read or written under it.
#[derive(Clone, Default)]
pub struct Loan(Arc<Mutex<Option<Conversation>>>);

impl Loan {
    fn lock(&self) -> MutexGuard<'_, Option<Conversation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a conversation, for this login.
    pub(super) fn lend(&self, conversation: Conversation, login: Login) -> Lent {
        *self.lock() = Some(conversation);
        Lent { loan: self.clone(), login, unread: Vec::new() }
    }

    /// Takes the conversation back. `None`: none was lent yet.
    pub(super) fn take(&self) -> Option<Conversation> {
        self.lock().take()
    }

    /// Uses the conversation while it is lent. `None`: the loan is over.
    fn with<T>(&self, act: impl FnOnce(&mut Conversation) -> T) -> Option<T> {
        let mut conversation = self.take()?;
        let done = act(&mut conversation);
        *self.lock() = Some(conversation);
        Some(done)
    }
}

/// The driver's side. Once the loan is over, it reads the end of the stream.
pub struct Lent {
    loan: Loan,
    login: Login,
    /// The part of a message that the driver has not read yet.
    unread: Vec<u8>,
}

impl Lent {
    fn read(&mut self) -> io::Result<()> {
        let Lent { loan, login, unread } = self;
        let read = loan.with(|conversation| {
            if let Message::Authentication(&[a, b, c, d, ..]) =
                conversation.next_of_login(unread)?
            {
                login.note(u32::from_be_bytes([a, b, c, d]));
            }
            if login.was_asked() {
                conversation.watch().is_asked();
            }
            Ok(())
        });
        // The driver has not seen the request yet, so it cannot answer it.
        match login.objection() {
            Some(why) => Err(io::Error::other(Refusal::Mismatch(why.to_owned()))),
            None => read.unwrap_or(Ok(())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            self.read()?;
        }
        let now = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..now]);
        self.unread.drain(..now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.loan.with(|conversation| conversation.stream().try_write(buf));
        Poll::Ready(written.unwrap_or(Ok(buf.len())))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Lent {
    fn channel_binding(&self) -> ChannelBinding {
        let binding = self.loan.with(|conversation| conversation.stream().channel_binding());
        binding.unwrap_or_else(ChannelBinding::none)
    }
}
