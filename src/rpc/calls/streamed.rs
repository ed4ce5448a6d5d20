//! Calls whose result is a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::core::budget::Held;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::listen::Listening;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::Service;
use crate::pool::work::task::Executed;
use crate::proto::sql_grpc::Encoded;
use crate::proto::{Raw, Shaped};
use crate::rpc::calls::entry::Call;
use crate::rpc::streams::result::ResultReader;

/// A call whose result has been requested.
pub(in crate::rpc) struct StreamCall<R = Executed> {
    pub(in crate::rpc) reader: ResultReader,
    /// Resolves when the request has ended.
    pub(in crate::rpc) answer: PendingAnswer<R>,
    /// Makes the last message of a request that succeeded.
    pub(in crate::rpc) trailer: fn(R) -> Vec<u8>,
    /// The listener, which is removed with the call.
    pub(in crate::rpc) held: Option<Listening>,
}

/// Serves one call whose result is a stream.
pub(in crate::rpc) fn serve<Q: Shaped, R: Send + 'static, A>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: DuplexSink<Encoded>,
    ask: A,
) where
    A: FnOnce(&Service, Q, &Arc<Caller>) -> Result<StreamCall<R>, RequestError> + Send + 'static,
{
    let asked = service.clone();
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        match call.request(move |request, caller| ask(&asked, request, caller)).await {
            Ok(asked) => pump(&mut call, asked).await,
            Err(ended) => call.end(ended).await,
        }
    });
}

/// The statement of a client that reads nothing is cancelled after one stall timeout. The
/// client has a second one to read what is left and the reason.
const LAST: u32 = 2;

/// Sends the messages, and then how the request ended.
async fn pump<Q: Shaped, R>(call: &mut Call<Q, DuplexSink<Encoded>>, asked: StreamCall<R>) {
    let StreamCall { reader, answer, trailer, held: _held } = asked;
    // The memory of the message that is being sent.
    let mut unsent = Held::default();
    loop {
        let next = poll_fn(|cx| match call.poll_room(cx, LAST) {
            Poll::Ready(Ok(())) => {
                unsent = Held::default();
                reader.poll_next(cx).map(Ok)
            }
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
            Poll::Pending => Poll::Pending,
        });
        let sent = match next.await {
            Ok(Some((message, held))) => {
                unsent = held;
                call.send(Encoded(message))
            }
            Ok(None) => break,
            Err(ended) => Err(ended),
        };
        if let Err(ended) = sent {
            return call.end(ended).await;
        }
    }
    match call.wait(answer).await {
        // Whether it arrives changes nothing.
        Ok(executed) => drop(call.finish(Encoded(trailer(executed))).await),
        Err(ended) => call.end(ended).await,
    }
}
