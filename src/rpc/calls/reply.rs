//! Unary calls: one answer to one request.

use std::sync::Arc;

use futures_util::future::Either;
use futures_util::FutureExt;
use grpcio::{ClientStreamingSink, RequestStream, RpcContext};
use protobuf::Message;

use crate::core::budget::Held;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::grant::Undelivered;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::Service;
use crate::proto::{Raw, Shaped};
use crate::rpc::calls::entry::{AnswerSink, Call, CallEnd};

/// The values that are kept until the answer has been read.
#[derive(Default)]
pub(in crate::rpc) struct UntilTaken {
    /// A grant that is revoked if it does not arrive.
    pub(in crate::rpc) undelivered: Option<Undelivered>,
    /// The counted memory of the answer.
    pub(in crate::rpc) held: Held,
}

/// Answers with the result that `work` returns a promise of. `work` must not block; a panic in
/// it costs this call only.
pub(in crate::rpc) fn answer<Q: Shaped, R, M>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: ClientStreamingSink<M>,
    work: impl FnOnce(&Service, Q, &Arc<Caller>) -> Result<PendingAnswer<R>, RequestError>
        + Send
        + 'static,
    convert: impl FnOnce(R) -> (M, UntilTaken) + Send + 'static,
) where
    R: Send + 'static,
    M: Send + 'static,
{
    let (asked, open) = (service.clone(), service.context().tools.open_calls.clone());
    let work = move |request, caller: &_| work(&asked, request, caller);
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        let open = open.enter();
        let answered = answered(&mut call, work).await;
        drop(open);
        // Not in the arms, where the answer would have its room beside what is sent.
        let (mut sending, kept) = match answered {
            Ok(value) => {
                let (message, kept) = convert(value);
                (Either::Left(call.finish(message)), kept)
            }
            Err(ended) => (Either::Right(call.end(ended).map(|()| false)), UntilTaken::default()),
        };
        let UntilTaken { undelivered, held } = kept;
        let delivered = (&mut sending).await;
        drop(held);
        if let Some(undelivered) = undelivered.filter(|_| delivered) {
            undelivered.delivered();
        }
    });
}

async fn answered<Q: Shaped, S: AnswerSink, R: Send + 'static>(
    call: &mut Call<Q, S>,
    work: impl FnOnce(Q, &Arc<Caller>) -> Result<PendingAnswer<R>, RequestError> + Send + 'static,
) -> Result<R, CallEnd> {
    let promised = call.request(work).await?;
    call.wait(promised).await
}

/// Answers with the result of `work`, which is known at once. Fails if there is no memory for
/// the answer.
pub(in crate::rpc) fn answer_now<Q: Shaped, M: Message>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: ClientStreamingSink<M>,
    work: impl FnOnce(&Service, Q, &Arc<Caller>) -> Result<M, RequestError> + Send + 'static,
) {
    let asked = service.clone();
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        let work = move |request, caller: &Arc<Caller>| {
            let message = work(&asked, request, caller)?;
            let bytes = usize::try_from(message.compute_size()).unwrap_or(usize::MAX);
            let held = asked.context().memory.answer(caller.peer(), bytes)?;
            Ok((message, held))
        };
        match call.request(work).await {
            // Whether it arrives changes nothing.
            Ok((message, _held)) => drop(call.finish(message).await),
            Err(ended) => call.end(ended).await,
        }
    });
}

#[cfg(test)]
mod tests;
