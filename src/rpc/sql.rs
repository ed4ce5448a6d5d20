//! SqlService.

use grpcio::{DuplexSink, RequestStream, RpcContext, ServerStreamingSink};

use crate::pool::service::Service;
use crate::proto::sql::{
    CopyInRequest, CopyInResponse, CopyOutRequest, ExecuteRequest, ExecuteResponse, ListenRequest,
    QueryRequest, SessionRequest, SessionResponse,
};
use crate::proto::sql_grpc::{Encoded, SqlService};
use crate::rpc::{convert, copy_in, copy_out, listen, outflow, query, reply, session};

/// Answers SqlService.
#[derive(Clone)]
pub(super) struct Sql(pub Service);

impl SqlService for Sql {
    fn execute(
        &mut self,
        ctx: RpcContext<'_>,
        request: ExecuteRequest,
        sink: ServerStreamingSink<ExecuteResponse>,
    ) {
        let service = &self.0;
        reply::answer(
            &ctx,
            sink,
            service.caller(&ctx.peer()),
            |caller| {
                let limits = &service.context().config.limits;
                let (place, request) = convert::sql::execute(request, limits)?;
                Ok(service.execute(place, request, caller))
            },
            |executed| (convert::sql::executed(executed), None),
        );
    }

    fn query(
        &mut self,
        ctx: RpcContext<'_>,
        request: QueryRequest,
        sink: ServerStreamingSink<Encoded>,
    ) {
        let service = &self.0;
        outflow::serve(service, &ctx, sink, |caller| query::ask(service, request, caller));
    }

    fn listen(
        &mut self,
        ctx: RpcContext<'_>,
        request: ListenRequest,
        sink: ServerStreamingSink<Encoded>,
    ) {
        let service = &self.0;
        outflow::serve(service, &ctx, sink, |caller| listen::ask(service, &request, caller));
    }

    fn copy_in(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<CopyInRequest>,
        sink: DuplexSink<CopyInResponse>,
    ) {
        copy_in::serve(&self.0, &ctx, requests, sink);
    }

    fn copy_out(
        &mut self,
        ctx: RpcContext<'_>,
        request: CopyOutRequest,
        sink: ServerStreamingSink<Encoded>,
    ) {
        let service = &self.0;
        outflow::serve(service, &ctx, sink, |caller| copy_out::ask(service, request, caller));
    }

    fn session(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<SessionRequest>,
        sink: DuplexSink<SessionResponse>,
    ) {
        session::serve(&self.0, &ctx, requests, sink);
    }
}
