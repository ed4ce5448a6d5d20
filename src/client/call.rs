//! Unary calls on a pool, and on a connection of one.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use grpcio::{CallOption, Channel, Client, ClientUnaryReceiver, Metadata, MetadataBuilder, Method};

use super::call_error::Error;
use super::connection::Connection;
use super::hedge;
use super::options::CallOptions;
use super::pool::Pool;
use super::shared::Shared;
use super::unary::{self, Answered, Start};
use super::way::Way;

/// An answer with all that came with it.
#[derive(Debug)]
pub struct Reply<R> {
    /// The answer.
    pub message: R,
    /// What the server sent before it.
    pub headers: Metadata,
    /// What the server sent after it.
    pub trailers: Metadata,
    /// Who has answered.
    pub address: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// How long they took, pauses included.
    pub elapsed: Duration,
}

/// Where the attempts are made.
#[derive(Clone, Copy)]
enum On<'a> {
    /// Each on a connection that is lent for it.
    Pool,
    /// One, on this.
    Connection(&'a Connection),
}

fn make<R>(
    shared: &Arc<Shared>,
    on: On<'_>,
    method: &str,
    options: &CallOptions,
    at: &'static Location<'static>,
    start: Start<'_, R>,
) -> Result<Answered<R>, Error> {
    let mut way = Way::begin(shared, method, options, at)?;
    let result = match (on, way.plan.hedge) {
        (On::Connection(connection), _) => unary::once(&mut way, connection, start),
        (On::Pool, Some(hedge)) => hedge::race(&mut way, hedge, start),
        (On::Pool, None) => unary::in_turn(&mut way, start),
    };
    way.end(result.as_ref().err());
    result
}

impl<R> Answered<R> {
    fn reply(mut self) -> Reply<R> {
        let none = || MetadataBuilder::new().build();
        // They have come with the answer.
        let headers = self.receiver.headers().now_or_never().and_then(Result::ok).cloned();
        let trailers = self.receiver.trailers().now_or_never().and_then(Result::ok).cloned();
        Reply {
            message: self.message,
            headers: headers.unwrap_or_else(none),
            trailers: trailers.unwrap_or_else(none),
            address: self.to.to_string(),
            attempts: self.attempts,
            elapsed: self.elapsed,
        }
    }
}

impl Pool {
    /// Makes a unary call without a stub.
    ///
    /// # Errors
    /// [`Error::Pool`] if there was no connection, [`Error::Rpc`] with the last attempt's error.
    #[track_caller]
    pub fn call<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<R, Error> {
        let mut start = |client: &Client, option| client.unary_call_async(method, request, option);
        let at = Location::caller();
        let answered = make(self.shared(), On::Pool, method.name, options, at, &mut start)?;
        Ok(answered.message)
    }

    /// The same with the headers, the trailers, and who has answered.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    #[track_caller]
    pub fn exchange<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<Reply<R>, Error> {
        let mut start = |client: &Client, option| client.unary_call_async(method, request, option);
        let at = Location::caller();
        let answered = make(self.shared(), On::Pool, method.name, options, at, &mut start)?;
        Ok(answered.reply())
    }

    /// Makes a unary call with a stub: `start` calls its asynchronous form, which returns at
    /// once, for each attempt.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    #[track_caller]
    pub fn call_with<R>(
        &self,
        method: &str,
        options: &CallOptions,
        mut start: impl FnMut(&Channel, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let mut start = |client: &Client, option| start(client.channel(), option);
        let at = Location::caller();
        let answered = make(self.shared(), On::Pool, method, options, at, &mut start)?;
        Ok(answered.message)
    }
}

impl Connection {
    /// Makes a unary call on this connection without a stub: one attempt, as the interceptors,
    /// the breaker and the deadline allow it.
    ///
    /// # Errors
    /// As for [`Pool::call`].
    #[track_caller]
    pub fn call<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<R, Error> {
        let mut start = |client: &Client, option| client.unary_call_async(method, request, option);
        let (at, on) = (Location::caller(), On::Connection(self));
        Ok(make(self.shared(), on, method.name, options, at, &mut start)?.message)
    }

    /// The same with the headers, the trailers, and who has answered.
    ///
    /// # Errors
    /// As for [`Pool::call`].
    #[track_caller]
    pub fn exchange<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<Reply<R>, Error> {
        let mut start = |client: &Client, option| client.unary_call_async(method, request, option);
        let (at, on) = (Location::caller(), On::Connection(self));
        Ok(make(self.shared(), on, method.name, options, at, &mut start)?.reply())
    }

    /// Makes a unary call on this connection with a stub, by its asynchronous form.
    ///
    /// # Errors
    /// As for [`Pool::call`].
    #[track_caller]
    pub fn call_with<R>(
        &self,
        method: &str,
        options: &CallOptions,
        mut start: impl FnMut(&Channel, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let mut start = |client: &Client, option| start(client.channel(), option);
        let (at, on) = (Location::caller(), On::Connection(self));
        Ok(make(self.shared(), on, method, options, at, &mut start)?.message)
    }
}
