//! SqlService.

use grpcio::{RpcContext, ServerStreamingSink};

use crate::pool::service::Service;
use crate::proto::sql::{ExecuteRequest, ExecuteResponse};
use crate::proto::sql_grpc::SqlService;
use crate::rpc::{convert, reply};

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
            |caller| {
                let limits = &service.context().config.limits;
                let (place, request) = convert::execute(request, limits)?;
                Ok(service.execute(place, request, caller))
            },
            |executed| (convert::executed(executed), None),
        );
    }
}
