//! SqlService.Query: one statement, its rows as they arrive.

use std::sync::Arc;

use crate::backend::notice::Notices;
use crate::backend::session::{Rows, RunError};
use crate::core::value::Column;
use crate::error::RequestError;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::{Meter, Shape, Stop};
use crate::pool::caller::Caller;
use crate::pool::memory::Room;
use crate::pool::service::Service;
use crate::pool::work::outlet::{Interrupt, RowSink, Stalled};
use crate::pool::work::task::{Flow, Task};
use crate::proto::sql::query_response::Kind;
use crate::proto::sql::{QueryHeader, QueryRequest, QueryResponse};
use crate::rpc::calls::response::{notice, query, trailer};
use crate::rpc::calls::streamed::StreamCall;
use crate::rpc::convert;
use crate::rpc::convert::encode::encoded;
use crate::rpc::convert::row_format::RowFormat;
use crate::rpc::streams::batch;
use crate::rpc::streams::result::{EncodeBatch, ResultWriter};

fn encode_batch(format: RowFormat) -> EncodeBatch {
    match format {
        RowFormat::Typed => batch::typed_batch,
        RowFormat::Binary => batch::binary_batch,
    }
}

/// Requests the rows.
///
/// # Errors
/// If the request breaks a rule.
pub(in crate::rpc) fn ask(
    service: &Service,
    request: QueryRequest,
    caller: &Arc<Caller>,
) -> Result<StreamCall, RequestError> {
    let live = service.context().live();
    let limits = &live.limits;
    let (place, request, format) =
        convert::requests::query(request, limits, &service.dsns(caller))?;
    let (writer, reader) = ResultWriter::new(service, encode_batch(format));
    let encoder = RowEncoder {
        writer,
        format,
        columns: Vec::new(),
        scratch: Vec::new(),
        row_max: limits.result_bytes,
        problem: None,
        dropped: false,
    };
    let task = Task::new(request, Flow::Rows(Box::new(encoder)));
    let answer = service.execute(place, task, caller);
    Ok(StreamCall { reader, answer, trailer: trailer::<QueryResponse>, held: None })
}

/// Encodes rows as they arrive from PostgreSQL.
struct RowEncoder {
    writer: ResultWriter,
    format: RowFormat,
    columns: Vec<Column>,
    /// The row being encoded; kept for its memory.
    scratch: Vec<u8>,
    /// The most bytes of a row; a larger one does not fit into a message.
    row_max: usize,
    problem: Option<RunError>,
    /// The reader has left, or the request was cancelled: rows are no longer encoded.
    dropped: bool,
}

/// Memory beyond this that a large row has taken is freed before the next row.
const SCRATCH_BYTES: usize = 1 << 20;

impl RowEncoder {
    /// Puts the row into `scratch`, as it is sent.
    fn encode(&mut self, shapes: &[Shape], row: &RawRow<'_>) -> Result<(), (usize, Stop)> {
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_BYTES);
        if row.bytes().len() > self.row_max {
            return Err((0, Stop::TooLarge));
        }
        match self.format {
            RowFormat::Binary => {
                self.scratch.extend_from_slice(row.bytes());
                Ok(())
            }
            RowFormat::Typed => {
                let is_wanted = || self.writer.is_wanted();
                let mut meter = Meter::new(self.row_max, &is_wanted);
                batch::row(&mut self.scratch, shapes, row, &mut meter)
            }
        }
    }
}

impl Rows for RowEncoder {
    fn head(&mut self, columns: &[Column]) {
        let header = convert::results::columns(columns.to_vec());
        self.columns = columns.to_vec();
        let header = QueryHeader { columns: header, ..QueryHeader::default() };
        self.writer.push(encoded(&query(Kind::Header(header))));
    }

    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>) {
        if self.dropped {
            return;
        }
        match self.encode(shapes, row) {
            Ok(()) => self.dropped = !self.writer.add(&self.scratch),
            Err((_, Stop::Unwanted)) => self.dropped = true,
            Err((_, Stop::TooLarge)) => self.problem = Some(RunError::TooLarge { completed: true }),
            Err((index, Stop::Malformed(error))) => {
                let column = self.columns.get(index).map_or("", |column| &column.name).to_owned();
                let why = error.to_string();
                self.problem = Some(RunError::Undecodable { column, why, completed: true });
            }
        }
    }

    fn too_long(&mut self, _: usize) {
        self.problem = Some(RunError::TooLarge { completed: true });
    }

    fn notices(&mut self, fresh: &Notices) {
        self.writer.push_notices(fresh, notice::<QueryResponse>);
    }
}

impl RowSink for RowEncoder {
    fn open(&mut self, room: Room) {
        self.writer.open(room);
    }

    fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    fn wait(&mut self) -> Result<(), Stalled> {
        self.writer.wait()
    }

    fn problem(&mut self) -> Option<RunError> {
        self.problem.take()
    }

    fn interrupter(&self) -> Interrupt {
        self.writer.interrupter()
    }
}
