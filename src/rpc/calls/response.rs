//! The messages around the data of a streamed result, which Query and CopyOut share.

use protobuf::Message;

use crate::backend::notice::Notice;
use crate::pool::work::task::Executed;
use crate::proto::sql::{
    self, copy_out_response, query_response, CopyOutResponse, CopyOutTrailer, QueryResponse,
    QueryTrailer,
};
use crate::rpc::convert::encode::encoded;
use crate::rpc::convert::results;
use crate::rpc::convert::results::Ending;

/// A response of a call whose result is a stream, may hold notices, and ends with a trailer.
pub(super) trait StreamedResponse: Message {
    /// The response with a notice.
    fn notice(notice: sql::Notice) -> Self;
    /// The last response.
    fn trailer(ending: Ending) -> Self;
}

/// The bytes of the response with this notice.
pub(super) fn notice<R: StreamedResponse>(notice: Notice) -> Vec<u8> {
    encoded(&R::notice(results::notice(notice)))
}

/// The bytes of the last response.
pub(super) fn trailer<R: StreamedResponse>(executed: Executed) -> Vec<u8> {
    encoded(&R::trailer(results::ending(executed)))
}

impl StreamedResponse for QueryResponse {
    fn notice(notice: sql::Notice) -> QueryResponse {
        query(query_response::Kind::Notice(notice))
    }

    fn trailer(ending: Ending) -> QueryResponse {
        let Ending { rows_affected, command_tag, session } = ending;
        let trailer =
            QueryTrailer { rows_affected, command_tag, session, ..QueryTrailer::default() };
        query(query_response::Kind::Trailer(trailer))
    }
}

pub(super) fn query(kind: query_response::Kind) -> QueryResponse {
    QueryResponse { kind: Some(kind), ..QueryResponse::default() }
}

impl StreamedResponse for CopyOutResponse {
    fn notice(notice: sql::Notice) -> CopyOutResponse {
        copy_out(copy_out_response::Kind::Notice(notice))
    }

    fn trailer(ending: Ending) -> CopyOutResponse {
        let Ending { rows_affected, command_tag, session } = ending;
        let trailer =
            CopyOutTrailer { rows_affected, command_tag, session, ..CopyOutTrailer::default() };
        copy_out(copy_out_response::Kind::Trailer(trailer))
    }
}

fn copy_out(kind: copy_out_response::Kind) -> CopyOutResponse {
    CopyOutResponse { kind: Some(kind), ..CopyOutResponse::default() }
}
