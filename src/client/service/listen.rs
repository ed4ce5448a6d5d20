//! The client's side of Listen. Dropping it ends the listening.

use futures_executor::block_on;
use futures_util::StreamExt;
use grpcio::ClientSStreamReceiver;

use super::{CallResult, Client};
use crate::proto::sql::{ListenRequest, ListenResponse};

/// Notifications as they come.
pub struct Listen {
    receiver: ClientSStreamReceiver<ListenResponse>,
    /// Its channel: gRPC does not connect one that nobody holds.
    _client: Client,
}

impl Client {
    /// Listens on channels of a tenant, until the client's timeout is over.
    ///
    /// # Errors
    /// What gRPC says; what the service says comes with the first `next`.
    pub fn listen(&self, request: &ListenRequest) -> CallResult<Listen> {
        let receiver = self.sql.listen(request, self.options())?;
        Ok(Listen { receiver, _client: self.clone() })
    }
}

impl Listen {
    /// The next message.
    ///
    /// # Errors
    /// What the service says.
    #[allow(clippy::should_implement_trait)] // An iterator could not say why it ended.
    pub fn next(&mut self) -> CallResult<Option<ListenResponse>> {
        Ok(block_on(self.receiver.next()).transpose()?)
    }
}
