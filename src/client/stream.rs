//! Streams as blocking iterators, on a pool or on a connection of one.

mod both;
mod messages;
mod on_connection;
mod outbox;
mod upload;

pub use both::{Duplex, DuplexMessages};
pub use messages::Messages;
pub use outbox::Outbox;
pub use upload::Upload;

use std::panic::Location;

use grpcio::{CallOption, Channel, Client, ClientSStreamReceiver, Marshaller, Method};

use super::call_error::Error;
use super::options::CallOptions;
use super::pool::Pool;
use super::way::Way;

/// The same method once more: grpcio's cannot be cloned.
fn copy<Q, R>(method: &Method<Q, R>) -> Method<Q, R> {
    Method {
        ty: method.ty,
        name: method.name,
        req_mar: Marshaller { ser: method.req_mar.ser, de: method.req_mar.de },
        resp_mar: Marshaller { ser: method.resp_mar.ser, de: method.resp_mar.de },
    }
}

impl Pool {
    /// Asks for a stream of answers. It is begun anew like a unary call that has failed, until
    /// its first message has come. The connection is its own until its end.
    ///
    /// # Errors
    /// As for [`call`](Self::call), of its beginning; later ones come from the iterator.
    #[track_caller]
    pub fn stream<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<Messages<R>, Error>
    where
        Q: Clone + Send + 'static,
        R: 'static,
    {
        let (method, request) = (copy(method), request.clone());
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Messages::begin(way, move |client, option| {
            client.server_streaming(&method, &request, option)
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
        mut start: impl FnMut(&Channel, CallOption) -> grpcio::Result<ClientSStreamReceiver<R>>
            + Send
            + 'static,
    ) -> Result<Messages<R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Messages::begin(way, move |client: &Client, option| start(client.channel(), option))
    }

    /// Begins a call that sends a stream and gets one answer. It is made once.
    ///
    /// # Errors
    /// As for [`call`](Self::call), of its beginning.
    #[track_caller]
    pub fn upload<Q, R>(
        &self,
        method: &Method<Q, R>,
        options: &CallOptions,
    ) -> Result<Upload<Q, R>, Error> {
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Upload::begin(way, None, |client, option| client.client_streaming(method, option))
    }

    /// The same with a stub.
    ///
    /// # Errors
    /// As for [`upload`](Self::upload).
    #[track_caller]
    pub fn upload_with<Q, R>(
        &self,
        method: &str,
        options: &CallOptions,
        start: impl FnOnce(&Channel, CallOption) -> grpcio::Result<upload::UploadEnds<Q, R>>,
    ) -> Result<Upload<Q, R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Upload::begin(way, None, |client, option| start(client.channel(), option))
    }

    /// Begins a call with a stream in each direction. It is made once.
    ///
    /// # Errors
    /// As for [`call`](Self::call), of its beginning.
    #[track_caller]
    pub fn duplex<Q, R>(
        &self,
        method: &Method<Q, R>,
        options: &CallOptions,
    ) -> Result<Duplex<Q, R>, Error> {
        let way = Way::begin(self.shared(), method.name, options, Location::caller())?;
        Duplex::begin(way, None, |client, option| client.duplex_streaming(method, option))
    }

    /// The same with a stub.
    ///
    /// # Errors
    /// As for [`duplex`](Self::duplex).
    #[track_caller]
    pub fn duplex_with<Q, R>(
        &self,
        method: &str,
        options: &CallOptions,
        start: impl FnOnce(&Channel, CallOption) -> grpcio::Result<both::DuplexEnds<Q, R>>,
    ) -> Result<Duplex<Q, R>, Error> {
        let way = Way::begin(self.shared(), method, options, Location::caller())?;
        Duplex::begin(way, None, |client, option| start(client.channel(), option))
    }
}
