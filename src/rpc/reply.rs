//! One answer to one request.

use std::sync::Arc;

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::grant::Undelivered;
use crate::pool::job::Answer;
use crate::pool::service::Service;
use crate::proto::{Raw, Shaped};
use crate::rpc::entry::{Call, Ended};

/// Answers with what `work` promises. `work` must not block; a panic in it costs this
/// call only.
pub(super) fn answer<Q: Shaped, R, M>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: DuplexSink<M>,
    work: impl FnOnce(&Service, Q, &Arc<Caller>) -> Result<Answer<R>, Error> + Send + 'static,
    convert: impl FnOnce(R) -> (M, Option<Undelivered>) + Send + 'static,
) where
    R: Send + 'static,
    M: Send + 'static,
{
    let asked = service.clone();
    let work = move |request, caller: &_| work(&asked, request, caller);
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        match answered(&mut call, work).await {
            Ok(value) => {
                let (message, undelivered) = convert(value);
                let delivered = call.finish(message).await;
                if let Some(undelivered) = undelivered.filter(|_| delivered) {
                    undelivered.delivered();
                }
            }
            Err(ended) => call.end(ended).await,
        }
    });
}

async fn answered<Q: Shaped, M: Send + 'static, R: Send + 'static>(
    call: &mut Call<Q, M>,
    work: impl FnOnce(Q, &Arc<Caller>) -> Result<Answer<R>, Error> + Send + 'static,
) -> Result<R, Ended> {
    let promised = call.request(work).await?;
    call.wait(promised).await
}

/// Answers with what is known at once.
pub(super) fn answer_now<Q: Shaped, M: Send + 'static>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: DuplexSink<M>,
    work: impl FnOnce(&Service, Q) -> Result<M, Error> + Send + 'static,
) {
    let asked = service.clone();
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        match call.request(move |request, _| work(&asked, request)).await {
            // Whether it arrives changes nothing.
            Ok(message) => drop(call.finish(message).await),
            Err(ended) => call.end(ended).await,
        }
    });
}

#[cfg(test)]
mod tests;
