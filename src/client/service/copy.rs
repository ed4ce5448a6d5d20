//! The client's side of COPY. Dropping either cancels it.

use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{ClientCStreamReceiver, ClientCStreamSender, ClientSStreamReceiver, WriteFlags};

use super::{CallResult, Client};
use crate::proto::sql::copy_in_request::Kind;
use crate::proto::sql::{
    CopyInFinish, CopyInRequest, CopyInResponse, CopyInStart, CopyOutRequest, CopyOutResponse,
};

/// A COPY FROM STDIN that takes data.
pub struct CopyIn {
    sender: ClientCStreamSender<CopyInRequest>,
    receiver: ClientCStreamReceiver<CopyInResponse>,
    /// What could not be sent any more; gRPC must not be asked again.
    ended: bool,
    /// Its channel: gRPC does not connect one that nobody holds.
    _client: Client,
}

/// A COPY TO STDOUT that gives data.
pub struct CopyOut {
    receiver: ClientSStreamReceiver<CopyOutResponse>,
    _client: Client,
}

impl Client {
    /// Starts a COPY FROM STDIN. Its end says whether PostgreSQL has accepted it.
    ///
    /// # Errors
    /// What gRPC says.
    pub fn copy_in(&self, start: CopyInStart) -> CallResult<CopyIn> {
        let mut copy = self.copy_in_unstarted()?;
        // An end that came before is told by the answer.
        let _ = copy.send(Kind::Start(start));
        Ok(copy)
    }

    /// Starts a CopyIn call on which nothing has been said yet.
    ///
    /// # Errors
    /// What gRPC says.
    pub fn copy_in_unstarted(&self) -> CallResult<CopyIn> {
        let (sender, receiver) = self.sql.copy_in(self.options())?;
        Ok(CopyIn { sender, receiver, ended: false, _client: self.clone() })
    }

    /// Starts a COPY TO STDOUT.
    ///
    /// # Errors
    /// What gRPC says; what the service says comes with the first `next`.
    pub fn copy_out(&self, request: &CopyOutRequest) -> CallResult<CopyOut> {
        let receiver = self.sql.copy_out(request, self.options())?;
        Ok(CopyOut { receiver, _client: self.clone() })
    }
}

impl CopyIn {
    /// Sends data, cut anywhere.
    ///
    /// # Errors
    /// If the call has ended; `end` says why.
    pub fn data(&mut self, data: &[u8]) -> CallResult<()> {
        self.send(Kind::Data(data.to_vec()))
    }

    /// Completes the COPY and waits for its result.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    pub fn finish(mut self) -> CallResult<CopyInResponse> {
        // An end that came before is told by the answer.
        let _ = self.send(Kind::Finish(CopyInFinish::default()));
        self.end()
    }

    /// Ends the client's side, which without `finish` aborts the COPY, and waits
    /// for the answer.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    pub fn end(mut self) -> CallResult<CopyInResponse> {
        if !self.ended {
            // As above.
            let _ = block_on(self.sender.close());
        }
        Ok(block_on(&mut self.receiver)?)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub fn send(&mut self, kind: impl Into<Option<Kind>>) -> CallResult<()> {
        if self.ended {
            return Err(grpcio::Error::RpcFinished(None).into());
        }
        let request = CopyInRequest { kind: kind.into(), ..CopyInRequest::default() };
        let sent = block_on(self.sender.send((request, WriteFlags::default())));
        self.ended = sent.is_err();
        Ok(sent?)
    }
}

impl CopyOut {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    #[allow(clippy::should_implement_trait)] // An iterator could not say why it ended.
    pub fn next(&mut self) -> CallResult<Option<CopyOutResponse>> {
        Ok(block_on(self.receiver.next()).transpose()?)
    }
}
