//! SqlService.

use grpcio::{DuplexSink, RequestStream, RpcContext, ServerStreamingSink};

use crate::pool::service::Service;
use crate::proto::sql::{
    ExecuteRequest, ExecuteResponse, QueryRequest, SessionRequest, SessionResponse,
};
use crate::proto::sql_grpc::{Encoded, SqlService};
use crate::rpc::{convert, query, reply, session};

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
        query::serve(&self.0, &ctx, request, sink);
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
