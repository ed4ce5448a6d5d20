//! SqlService.

use grpcio::{ClientStreamingSink, DuplexSink, RequestStream, RpcContext};

use crate::pool::service::Service;
use crate::proto::sql::{
    CopyInRequest, CopyInResponse, CopyOutRequest, ExecuteRequest, ExecuteResponse, ListenRequest,
    QueryRequest, SessionRequest, SessionResponse,
};
use crate::proto::sql_grpc::{Encoded, SqlService};
use crate::proto::Raw;
use crate::rpc::calls::copy_in;
use crate::rpc::calls::copy_out;
use crate::rpc::calls::listen;
use crate::rpc::calls::query;
use crate::rpc::calls::reply;
use crate::rpc::calls::reply::UntilTaken;
use crate::rpc::calls::session;
use crate::rpc::calls::streamed;
use crate::rpc::convert;

/// Answers SqlService, each method by its module of `rpc::calls`.
#[derive(Clone)]
pub(in crate::rpc) struct Sql(pub Service);

impl SqlService for Sql {
    fn execute(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ExecuteRequest>>,
        sink: ClientStreamingSink<ExecuteResponse>,
    ) {
        reply::answer(
            &self.0,
            &ctx,
            requests,
            sink,
            |service, request, caller| {
                let live = service.context().live();
                let (place, request) =
                    convert::requests::execute(request, &live.limits, &service.dsns(caller))?;
                Ok(service.execute(place, request, caller))
            },
            |mut executed| {
                let held = std::mem::take(&mut executed.held);
                (convert::results::executed(executed), UntilTaken { held, ..UntilTaken::default() })
            },
        );
    }

    fn query(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<QueryRequest>>,
        sink: DuplexSink<Encoded>,
    ) {
        streamed::serve(&self.0, &ctx, requests, sink, query::ask);
    }

    fn listen(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ListenRequest>>,
        sink: DuplexSink<Encoded>,
    ) {
        streamed::serve(&self.0, &ctx, requests, sink, |service, request, caller| {
            listen::ask(service, &request, caller)
        });
    }

    fn copy_in(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<CopyInRequest>>,
        sink: DuplexSink<CopyInResponse>,
    ) {
        copy_in::serve(&self.0, &ctx, requests, sink);
    }

    fn copy_out(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<CopyOutRequest>>,
        sink: DuplexSink<Encoded>,
    ) {
        streamed::serve(&self.0, &ctx, requests, sink, copy_out::ask);
    }

    fn session(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<SessionRequest>>,
        sink: DuplexSink<SessionResponse>,
    ) {
        session::serve(&self.0, &ctx, requests, sink);
    }
}
