//! Streams on a connection that somebody has: each is one attempt, as the interceptors, the breaker
//! and the deadline allow it. The connection stays lent until the stream has ended, also if the
//! guard is dropped before.

use std::panic::Location;

use grpcio::{CallOption, Channel, Client, ClientSStreamReceiver, Method};

use super::{both, upload, Duplex, Messages, Upload};
use crate::client::call_error::Error;
use crate::client::connection::Connection;
use crate::client::options::CallOptions;
use crate::client::way::Way;

impl Connection {
    /// Asks for a stream of answers on this connection, once.
    ///
    /// # Errors
    /// As for [`Pool::call`](crate::client::Pool::call), of its beginning; later ones come from
    /// the iterator.
    #[track_caller]
    pub fn stream<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<Messages<R>, Error> {
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Messages::begin_on(way, self, |client, option| {
            client.server_streaming(method, request, option)
        })
    }

    /// The same with a stub: `start` calls it.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream).
    #[track_caller]
    pub fn stream_with<R>(
        &self,
        method: &str,
        options: &CallOptions,
        start: impl FnOnce(&Channel, CallOption) -> grpcio::Result<ClientSStreamReceiver<R>>,
    ) -> Result<Messages<R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Messages::begin_on(way, self, |client: &Client, option| start(client.channel(), option))
    }

    /// Begins a call on this connection that sends a stream and gets one answer.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream).
    #[track_caller]
    pub fn upload<Q, R>(
        &self,
        method: &Method<Q, R>,
        options: &CallOptions,
    ) -> Result<Upload<Q, R>, Error> {
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Upload::begin(way, Some(self), |client, option| client.client_streaming(method, option))
    }

    /// The same with a stub.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream).
    #[track_caller]
    pub fn upload_with<Q, R>(
        &self,
        method: &str,
        options: &CallOptions,
        start: impl FnOnce(&Channel, CallOption) -> grpcio::Result<upload::UploadEnds<Q, R>>,
    ) -> Result<Upload<Q, R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Upload::begin(way, Some(self), |client, option| start(client.channel(), option))
    }

    /// Begins a call on this connection with a stream in each direction.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream).
    #[track_caller]
    pub fn duplex<Q, R>(
        &self,
        method: &Method<Q, R>,
        options: &CallOptions,
    ) -> Result<Duplex<Q, R>, Error> {
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Duplex::begin(way, Some(self), |client, option| client.duplex_streaming(method, option))
    }

    /// The same with a stub.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream).
    #[track_caller]
    pub fn duplex_with<Q, R>(
        &self,
        method: &str,
        options: &CallOptions,
        start: impl FnOnce(&Channel, CallOption) -> grpcio::Result<both::DuplexEnds<Q, R>>,
    ) -> Result<Duplex<Q, R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Duplex::begin(way, Some(self), |client, option| start(client.channel(), option))
    }
}
