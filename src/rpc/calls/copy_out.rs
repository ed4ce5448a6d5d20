//! SqlService.CopyOut: the data of COPY TO STDOUT as it arrives.

use std::sync::Arc;

use crate::backend::copy::Sink;
use crate::backend::notice::Notices;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::service::Service;
use crate::pool::work::task::{Flow, Task};
use crate::proto::sql::{CopyOutRequest, CopyOutResponse};
use crate::rpc::calls::response::{notice, trailer};
use crate::rpc::calls::streamed::StreamCall;
use crate::rpc::convert;
use crate::rpc::streams::batch;
use crate::rpc::streams::result::ResultWriter;

/// A row can be much larger than a message; it is cut into pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Requests the data.
///
/// # Errors
/// If the request breaks a rule.
pub(in crate::rpc) fn ask(
    service: &Service,
    request: CopyOutRequest,
    caller: &Arc<Caller>,
) -> Result<StreamCall, RequestError> {
    let live = service.context().live();
    let (place, request) =
        convert::requests::copy_out(request, &live.limits, &service.dsns(caller))?;
    let (writer, reader) = ResultWriter::new(service, batch::data_batch);
    let task = Task::new(request, Flow::CopyOut(Box::new(writer)));
    let answer = service.execute(place, task, caller);
    Ok(StreamCall { reader, answer, trailer: trailer::<CopyOutResponse>, held: None })
}

impl Sink for ResultWriter {
    fn data(&mut self, bytes: &[u8]) {
        // If the reader wants nothing more, the operation ends by itself.
        let _ = bytes.chunks(PIECE_BYTES).all(|piece| self.add(piece));
    }

    fn notices(&mut self, fresh: &Notices) {
        self.push_notices(fresh, notice::<CopyOutResponse>);
    }
}
