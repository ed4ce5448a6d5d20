//! Calls of one caller, as what they are to a program: a request, and later its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Poll;

use grpcio::Method;
use protobuf::Message;

use super::call::Call;
use super::connection::Connection;
use super::Done;

/// A caller on a connection of its own, or one that others use, too.
#[derive(Clone)]
pub struct Caller {
    pub connection: Rc<RefCell<Connection>>,
    /// Which of the callers it is, from 0.
    pub number: usize,
}

impl Caller {
    /// A call whose answer is read.
    pub async fn ask<Q: Message, A: Message>(&self, method: &Method<Q, A>, request: &Q) -> Done<A> {
        let mut call = self.unary(method.name, request).await?;
        let message = call.message()?.ok_or("the call ended without an answer")?;
        A::parse_from_bytes(message).map_err(|error| error.to_string())
    }

    /// A call of whose answer only its end is looked at: that it is one whole message, and
    /// that the status is good.
    pub async fn call<Q: Message, A>(&self, method: &Method<Q, A>, request: &Q) -> Done<()> {
        let mut call = self.unary(method.name, request).await?;
        let whole = call.message()?.is_some() && call.is_empty();
        whole.then_some(()).ok_or_else(|| "the answer is not one message".to_owned())
    }

    async fn unary(&self, path: &'static str, request: &impl Message) -> Done<Call> {
        let id = self.send(path, request)?;
        let ended = poll_fn(|_| match self.connection.borrow_mut().take_ended(id) {
            Some(call) => Poll::Ready(call),
            None => Poll::Pending,
        });
        let mut call = ended.await;
        call.outcome.take().unwrap_or(Ok(()))?;
        Ok(call)
    }

    fn send(&self, path: &'static str, request: &impl Message) -> Done<u32> {
        let mut connection = self.connection.borrow_mut();
        let id = connection.begin(self.number, path, false)?;
        connection.send(id, request, true)?;
        Ok(id)
    }

    /// Begins a call with messages both ways.
    pub fn stream<Q: Message, A: Message>(&self, method: &Method<Q, A>) -> Done<Stream<Q, A>> {
        let id = self.connection.borrow_mut().begin(self.number, method.name, true)?;
        Ok(Stream { caller: self.clone(), id, of: PhantomData })
    }

    /// Fails once the connection has ended, and says why.
    pub fn ended(&self) -> Done<()> {
        self.connection.borrow().ended()
    }
}

/// A call with messages both ways.
pub struct Stream<Q, A> {
    caller: Caller,
    id: u32,
    of: PhantomData<fn(Q) -> A>,
}

impl<Q: Message, A: Message> Stream<Q, A> {
    /// Sends a message, which may be the last one.
    pub fn send(&self, message: &Q, last: bool) -> Done<()> {
        self.caller.connection.borrow_mut().send(self.id, message, last)
    }

    /// The next message; `None`: the call has ended well.
    pub async fn next(&self) -> Done<Option<A>> {
        poll_fn(|_| {
            let next = self.look();
            next.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// `None`: nothing has come yet.
    fn look(&self) -> Option<Done<Option<A>>> {
        let mut connection = self.caller.connection.borrow_mut();
        let message = match connection.call(self.id).and_then(Call::message) {
            Ok(Some(bytes)) => A::parse_from_bytes(bytes).map_err(|error| error.to_string()),
            Ok(None) => {
                let ended = connection.take_ended(self.id)?;
                return Some(ended.outcome.unwrap_or(Ok(())).map(|()| None));
            }
            Err(why) => Err(why),
        };
        Some(message.map(Some))
    }
}
