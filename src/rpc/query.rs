//! SqlService.Query: one statement, its rows as they come.
//!
//! A worker encodes the rows into a bounded pipe, one future on gRPC's thread
//! sends what comes out of it. A reader that is slow fills the pipe; then the
//! worker waits and does not read from PostgreSQL, whose socket fills in turn.

mod pipe;
mod wire;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Future, FutureExt, Sink, SinkExt};
use grpcio::{RpcContext, ServerStreamingSink, WriteFlags};
use protobuf::Message;

use crate::backend::session::{decode, Notices, RawRow, Rows, RunError};
use crate::backend::values::Shape;
use crate::clock;
use crate::core::value::Column;
use crate::error::Error;
use crate::pool::alarms::{Alarm, Alarms};
use crate::pool::caller::Caller;
use crate::pool::execute::{Executed, Task};
use crate::pool::job::Answer;
use crate::pool::outlet::{Outlet, Stalled};
use crate::pool::service::Service;
use crate::proto::sql::query_response::Kind;
use crate::proto::sql::{QueryHeader, QueryRequest, QueryResponse, QueryTrailer};
use crate::proto::sql_grpc::Encoded;
use crate::rpc::convert;
use crate::rpc::status::status;
use crate::threads;
use pipe::{Batch, Pipe};

/// A batch is sent when it has so many bytes,
const BATCH_BYTES: usize = 64 << 10;
/// or has waited for so long.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// How rows are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// As values.
    Typed,
    /// As PostgreSQL has them.
    Binary,
}

impl Format {
    fn seal(self) -> fn(Batch) -> Vec<u8> {
        match self {
            Format::Typed => wire::typed_batch,
            Format::Binary => wire::binary_batch,
        }
    }
}

/// Serves one call.
pub(super) fn serve(
    service: &Service,
    ctx: &RpcContext<'_>,
    request: QueryRequest,
    sink: ServerStreamingSink<Encoded>,
) {
    let caller = service.caller(&ctx.peer());
    let started = threads::survive(threads::GRPC, || start(service, request, &caller));
    let started = started.unwrap_or(Err(Error::Internal("a handler failed")));
    let served = AssertUnwindSafe(async move {
        match started {
            Ok((pipe, seal, answer)) => pump(sink, pipe, seal, answer, caller).await,
            Err(error) => fail(sink, &error).await,
        }
    });
    let served = served.catch_unwind();
    ctx.spawn(async move {
        // A panic that reached gRPC's thread would end it for good.
        if served.await.is_err() {
            log::error!("event=panic thread={}", threads::GRPC);
        }
    });
}

type Started = (Pipe, fn(Batch) -> Vec<u8>, Answer<Executed>);

fn start(service: &Service, request: QueryRequest, caller: &Arc<Caller>) -> Result<Started, Error> {
    let limits = &service.context().config.limits;
    let (place, request, format) = convert::sql::query(request, limits)?;
    let pipe = Pipe::default();
    let feed = Feed {
        pipe: pipe.clone(),
        format,
        columns: Vec::new(),
        alarms: service.context().tools.alarms.clone(),
        ripening: None,
        scratch: Vec::new(),
        row_max: limits.result_bytes,
        stall: limits.stall_timeout,
        problem: None,
    };
    let answer = service.execute(place, Task { request, outlet: Some(Box::new(feed)) }, caller);
    Ok((pipe, format.seal(), answer))
}

async fn fail(sink: ServerStreamingSink<Encoded>, error: &Error) {
    // The caller may have left; then nobody needs the error.
    let _ = sink.fail(status(error)).await;
}

/// Sends what comes, and at last how it ended.
async fn pump(
    mut sink: ServerStreamingSink<Encoded>,
    pipe: Pipe,
    seal: fn(Batch) -> Vec<u8>,
    mut answer: Answer<Executed>,
    caller: Arc<Caller>,
) {
    // However this ends, the worker is not to wait for us.
    let _closed = CloseOnDrop(pipe.clone());
    loop {
        let next = poll_fn(|cx| match Pin::new(&mut sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Err(())),
            Poll::Ready(Ok(())) => pipe.poll_next(cx, seal).map(Ok),
            Poll::Pending => Poll::Pending,
        });
        match next.await {
            // A sink that failed once must not be polled again: it is dropped.
            Err(()) => return caller.leave(),
            Ok(None) => break,
            Ok(Some(message)) => {
                let message = (Encoded(message), WriteFlags::default());
                if Pin::new(&mut sink).start_send(message).is_err() {
                    return caller.leave();
                }
            }
        }
    }
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut answer).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        match Pin::new(&mut sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    });
    let Some(ended) = ended.await else {
        return caller.leave();
    };
    match ended.unwrap_or(Err(Error::Internal("an answer was lost"))) {
        Err(error) => fail(sink, &error).await,
        Ok(executed) => {
            let message = Encoded(encoded(Kind::Trailer(trailer(executed))));
            // The hint puts message and status into one write.
            let flags = WriteFlags::default().buffer_hint(true);
            if sink.send((message, flags)).await.is_ok() {
                // As above.
                let _ = sink.close().await;
            }
        }
    }
}

struct CloseOnDrop(Pipe);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn encoded(kind: Kind) -> Vec<u8> {
    let response = QueryResponse { kind: Some(kind), ..QueryResponse::default() };
    // Serialising into memory fails only for uninitialised proto2 fields.
    response.write_to_bytes().unwrap_or_default()
}

fn trailer(mut executed: Executed) -> QueryTrailer {
    let result = executed.results.pop().unwrap_or_default();
    QueryTrailer {
        rows_affected: i64::try_from(result.rows_affected).unwrap_or(i64::MAX),
        command_tag: result.command_tag,
        session: Some(convert::sql::session(executed)).into(),
        ..QueryTrailer::default()
    }
}

/// The worker's end: encodes rows into the pipe.
struct Feed {
    pipe: Pipe,
    format: Format,
    columns: Vec<Column>,
    alarms: Alarms,
    /// Lets the batch go when it has waited for long enough.
    ripening: Option<Alarm>,
    /// The row being encoded; kept for its memory.
    scratch: Vec<u8>,
    /// A larger row does not fit into a message.
    row_max: usize,
    /// A reader that takes nothing for so long is given up.
    stall: Duration,
    problem: Option<RunError>,
}

impl Feed {
    fn encode(&mut self, shapes: &[Shape], row: &dyn RawRow) -> Result<(), (usize, String)> {
        self.scratch.clear();
        match self.format {
            Format::Binary => wire::binary_row(&mut self.scratch, shapes.len(), row),
            Format::Typed => {
                wire::row(&mut self.scratch, &decode(shapes, row)?);
                Ok(())
            }
        }
    }
}

impl Rows for Feed {
    fn head(&mut self, columns: Vec<Column>) {
        let header = convert::sql::columns(columns.clone());
        self.columns = columns;
        let header = QueryHeader { columns: header, ..QueryHeader::default() };
        self.pipe.push(encoded(Kind::Header(header)), self.format.seal());
    }

    fn row(&mut self, shapes: &[Shape], row: &dyn RawRow) {
        if row.bytes() > self.row_max {
            self.problem = Some(RunError::TooLarge { completed: true });
            return;
        }
        if let Err((index, why)) = self.encode(shapes, row) {
            let column = self.columns.get(index).map_or("", |column| &column.name).to_owned();
            self.problem = Some(RunError::Undecodable { column, why, completed: true });
            return;
        }
        // Some types are larger as text.
        if self.scratch.len() > self.row_max {
            self.problem = Some(RunError::TooLarge { completed: true });
            return;
        }
        let scratch = &self.scratch;
        let add = |batch: &mut Batch| {
            batch.bytes.extend_from_slice(scratch);
            batch.rows += 1;
        };
        if self.pipe.add(add, BATCH_BYTES, self.format.seal()) {
            let pipe = self.pipe.clone();
            let ripe = self.alarms.set(clock::now() + BATCH_WAIT, move || pipe.ripen());
            self.ripening = Some(ripe);
        }
    }

    fn notices(&mut self, fresh: &Notices) {
        if !fresh.any() {
            return;
        }
        for notice in fresh.take() {
            let notice = convert::sql::notice(notice);
            self.pipe.push(encoded(Kind::Notice(notice)), self.format.seal());
        }
    }
}

impl Outlet for Feed {
    fn is_full(&self) -> bool {
        self.pipe.is_full()
    }

    fn wait(&mut self) -> Result<(), Stalled> {
        self.pipe.wait(self.stall)
    }

    fn problem(&mut self) -> Option<RunError> {
        self.problem.take()
    }

    fn interrupter(&self) -> Box<dyn Fn() + Send + Sync> {
        let pipe = self.pipe.clone();
        Box::new(move || pipe.close())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.pipe.end(self.format.seal());
    }
}
