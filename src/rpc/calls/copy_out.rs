//! SqlService.CopyOut: the data of COPY TO STDOUT as it comes.

use std::sync::Arc;

use protobuf::Message;

use crate::backend::copy::Sink;
use crate::backend::notice::{Notice, Notices};
use crate::backend::session::RunError;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::memory::Room;
use crate::pool::service::Service;
use crate::pool::work::outlet::{Interrupt, Outlet, Stalled};
use crate::pool::work::task::{Executed, Flow, Task};
use crate::proto::sql::copy_out_response::Kind;
use crate::proto::sql::{CopyOutRequest, CopyOutResponse, CopyOutTrailer};
use crate::rpc::calls::streamed::StreamCall;
use crate::rpc::convert;
use crate::rpc::streams::batch;
use crate::rpc::streams::result::ResultWriter;

/// A row can be much larger than a message; it is cut into pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Asks for the data.
///
/// # Errors
/// If the request breaks a rule.
pub(in crate::rpc) fn ask(
    service: &Service,
    request: CopyOutRequest,
    caller: &Arc<Caller>,
) -> Result<StreamCall, Error> {
    let limits = &service.context().config.limits;
    let (place, request) = convert::requests::copy_out(request, limits)?;
    let (writer, reader) = ResultWriter::new(service, batch::data_batch);
    let task = Task::new(request, Flow::CopyOut(Box::new(DataWriter(writer))));
    Ok(StreamCall { reader, answer: service.execute(place, task, caller), trailer, held: None })
}

fn encoded(kind: Kind) -> Vec<u8> {
    let response = CopyOutResponse { kind: Some(kind), ..CopyOutResponse::default() };
    // Serialising into memory fails only for uninitialised proto2 fields.
    response.write_to_bytes().unwrap_or_default()
}

fn notice(notice: Notice) -> Vec<u8> {
    encoded(Kind::Notice(convert::results::notice(notice)))
}

fn trailer(executed: Executed) -> Vec<u8> {
    let (rows_affected, command_tag, session) = convert::results::ending(executed);
    let session = Some(session).into();
    encoded(Kind::Trailer(CopyOutTrailer {
        rows_affected,
        command_tag,
        session,
        ..CopyOutTrailer::default()
    }))
}

struct DataWriter(ResultWriter);

impl Sink for DataWriter {
    fn data(&mut self, bytes: &[u8]) {
        // Once it is dropped, the operation ends it.
        let _ = bytes.chunks(PIECE_BYTES).all(|piece| self.0.add(piece));
    }

    fn notices(&mut self, fresh: &Notices) {
        self.0.notices(fresh, notice);
    }
}

impl Outlet for DataWriter {
    fn open(&mut self, room: Room) {
        self.0.open(room);
    }

    fn is_full(&self) -> bool {
        self.0.is_full()
    }

    fn wait(&mut self) -> Result<(), Stalled> {
        self.0.wait()
    }

    fn problem(&mut self) -> Option<RunError> {
        None
    }

    fn interrupter(&self) -> Interrupt {
        self.0.interrupter()
    }
}
