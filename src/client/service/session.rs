//! The client's side of a Session stream. Dropping it breaks the stream off.

use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};

use super::{CallError, CallResult, Client};
use crate::proto::connection_pool::ConnectionRequest;
use crate::proto::sql::session_request::Kind;
use crate::proto::sql::{
    SessionCancel, SessionClose, SessionExecute, SessionOpened, SessionRequest, SessionResponse,
};

/// A lease that lives as long as this stream.
pub struct Session {
    sender: ClientDuplexSender<SessionRequest>,
    receiver: ClientDuplexReceiver<SessionResponse>,
    /// What the stream ended with, while an answer that came before is still read.
    failed: Option<CallError>,
    /// What could not be sent any more; gRPC must not be asked again.
    ended: bool,
    /// Its channel: gRPC does not connect one that nobody holds.
    _client: Client,
}

impl Client {
    /// Starts a Session stream, on which nothing has been said yet.
    ///
    /// # Errors
    /// What gRPC says.
    pub fn session(&self) -> CallResult<Session> {
        let (sender, receiver) = self.sql.session(self.options())?;
        Ok(Session { sender, receiver, failed: None, ended: false, _client: self.clone() })
    }

    /// Starts a Session stream and leases a connection for it.
    ///
    /// # Errors
    /// What the service says.
    pub fn open_session(&self, request: ConnectionRequest) -> CallResult<(Session, SessionOpened)> {
        use crate::proto::sql::session_response::Kind as Said;
        let mut session = self.session()?;
        session.send(Kind::Open(request))?;
        match session.next()?.and_then(|response| response.kind) {
            Some(Said::Opened(opened)) => Ok((session, opened)),
            _ => Err(CallError::unexpected("a session was not opened, and no reason was given")),
        }
    }
}

impl Session {
    /// Sends a request and does not wait for its answer.
    ///
    /// # Errors
    /// If the stream has ended; `next` says why.
    pub fn send(&mut self, kind: impl Into<Option<Kind>>) -> CallResult<()> {
        let request = SessionRequest { kind: kind.into(), ..SessionRequest::default() };
        Ok(self.say(request)?)
    }

    fn say(&mut self, request: SessionRequest) -> grpcio::Result<()> {
        if self.ended {
            return Err(grpcio::Error::RpcFinished(None));
        }
        let sent = block_on(self.sender.send((request, WriteFlags::default())));
        self.ended = sent.is_err();
        sent
    }

    /// Sends statements, under a name for their answer.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn execute(&mut self, id: u64, statements: &[&str]) -> CallResult<()> {
        let statements = statements.iter().map(|sql| super::statement(sql)).collect();
        self.send(Kind::Execute(SessionExecute { id, statements, ..SessionExecute::default() }))
    }

    /// Cancels what was sent under this name.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn cancel(&mut self, id: u64) -> CallResult<()> {
        self.send(Kind::Cancel(SessionCancel { id, ..SessionCancel::default() }))
    }

    /// Asks for the end, after all that was sent.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn close(&mut self) -> CallResult<()> {
        let kind = Some(Kind::Close(SessionClose::default()));
        let request = SessionRequest { kind, ..SessionRequest::default() };
        match self.say(request) {
            // The stream has ended well: it was answered before gRPC could say
            // that it was sent.
            Ok(()) | Err(grpcio::Error::RpcFinished(None)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the client's side of the stream, which without `close` breaks it off.
    ///
    /// # Errors
    /// What gRPC says.
    pub fn half_close(&mut self) -> CallResult<()> {
        match block_on(self.sender.close()) {
            // As above.
            Ok(()) | Err(grpcio::Error::RpcFinished(None)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next answer; `None` after the last.
    ///
    /// # Errors
    /// What the stream ended with.
    #[allow(clippy::should_implement_trait)] // An iterator could not say why it ended.
    pub fn next(&mut self) -> CallResult<Option<SessionResponse>> {
        if self.failed.is_none() {
            match block_on(self.receiver.next()).transpose() {
                Ok(said) => return Ok(said),
                // gRPC tells of the end first, and then of the answer that it has
                // received before and that nobody had asked for.
                Err(error) => self.failed = Some(error.into()),
            }
        }
        match block_on(self.receiver.next()) {
            Some(Ok(said)) => Ok(Some(said)),
            Some(Err(_)) | None => self.failed.take().map_or(Ok(None), Err),
        }
    }
}
