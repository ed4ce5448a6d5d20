//! How its calls are answered.

use grpcio::{ClientStreamingSink, RequestStream, RpcContext};
use protobuf::Message;

use super::Admin;
use crate::core::access::Role;
use crate::error::RequestError;
use crate::pool::admin::actions::Administration;
use crate::pool::admin::audit;
use crate::pool::service::Service;
use crate::proto::{Raw, Shaped};
use crate::rpc::calls::reply;
use crate::rpc::calls::reply::UntilTaken;
use crate::rpc::convert::kept::MayBeLost;

/// Why what is done to a tenant of a client's DSN is not kept.
const OF_CLIENT: &str = "a client has registered the tenant: there is none after a restart, until \
                         a client brings its DSN again";

impl Admin {
    /// Answers a call that only looks.
    pub(super) fn look<Q: Shaped, M: Message>(
        &self,
        (ctx, requests, sink): (&RpcContext<'_>, RequestStream<Raw<Q>>, ClientStreamingSink<M>),
        action: &'static str,
        work: impl FnOnce(&Service, Q) -> Result<M, RequestError> + Send + 'static,
    ) {
        reply::answer_now(&self.0, ctx, requests, sink, move |service, request, caller| {
            audit::expect(caller, Role::Observer, action)?;
            work(service, request)
        });
    }

    /// Answers a call that changes what is kept: what it asks for is read, done, and kept.
    pub(super) fn change<Q: Shaped, P, M: MayBeLost>(
        &self,
        (ctx, requests, sink): (&RpcContext<'_>, RequestStream<Raw<Q>>, ClientStreamingSink<M>),
        action: &'static str,
        read: impl FnOnce(&Q) -> Result<P, RequestError> + Send + 'static,
        work: impl FnOnce(&Administration<'_>, P) -> Result<M, RequestError> + Send + 'static,
    ) {
        reply::answer(
            &self.0,
            ctx,
            requests,
            sink,
            move |service, request, caller| {
                let service = service.administer(caller, action)?;
                let asked = service.read(action, read(&request))?;
                let done = work(&service, asked)?;
                Ok(service.kept(done))
            },
            move |(mut done, outcome)| {
                *done.not_kept() = match outcome {
                    Some(Ok(())) if done.is_of_client() => OF_CLIENT.to_owned(),
                    Some(Err(why)) => why,
                    None | Some(Ok(())) => String::new(),
                };
                (done, UntilTaken::default())
            },
        );
    }

    /// Answers a call that acts: what it asks for is read, and done.
    pub(super) fn act<Q: Shaped, P, M: Message>(
        &self,
        (ctx, requests, sink): (&RpcContext<'_>, RequestStream<Raw<Q>>, ClientStreamingSink<M>),
        action: &'static str,
        read: impl FnOnce(&Q) -> Result<P, RequestError> + Send + 'static,
        work: impl FnOnce(Administration<'_>, P) -> Result<M, RequestError> + Send + 'static,
    ) {
        reply::answer_now(&self.0, ctx, requests, sink, move |service, request, caller| {
            let service = service.administer(caller, action)?;
            let asked = service.read(action, read(&request))?;
            work(service, asked)
        });
    }
}
