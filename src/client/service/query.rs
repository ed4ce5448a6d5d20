//! The client's side of a Query. Dropping it cancels the statement.

use futures_executor::block_on;
use futures_util::StreamExt;
use grpcio::ClientSStreamReceiver;

use super::{CallResult, Client};
use crate::proto::sql::{QueryRequest, QueryResponse};

/// A result as it comes.
pub struct Query {
    receiver: ClientSStreamReceiver<QueryResponse>,
    /// Its channel: gRPC does not connect one that nobody holds.
    _client: Client,
}

impl Client {
    /// Runs one statement and streams its result.
    ///
    /// # Errors
    /// What gRPC says; what the service says comes with the first `next`.
    pub fn query(&self, request: &QueryRequest) -> CallResult<Query> {
        let receiver = self.sql.query(request, self.options())?;
        Ok(Query { receiver, _client: self.clone() })
    }
}

impl Query {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    #[allow(clippy::should_implement_trait)] // An iterator could not say why it ended.
    pub fn next(&mut self) -> CallResult<Option<QueryResponse>> {
        Ok(block_on(self.receiver.next()).transpose()?)
    }
}
