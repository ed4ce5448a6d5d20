//! The standard reflection service of gRPC, v1 and v1alpha.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use grpcio::{DuplexSink, RequestStream, RpcContext, RpcStatusCode};

use crate::error::RequestError;
use crate::pool::service::Service;
use crate::proto::reflection::server_reflection_request::Message_request as Asked;
use crate::proto::reflection::server_reflection_response::Message_response as Answered;
use crate::proto::reflection::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use crate::proto::reflection_grpc::{ServerReflection, ServerReflectionAlpha};
use crate::proto::Raw;
use crate::rpc::calls::entry::{Call, CallEnd};
use crate::rpc::descriptors::Descriptors;

/// The longest name of ours has some 70 bytes. An answer repeats its request.
const NAME_BYTES: usize = 1 << 10;

type OneCall = Call<ServerReflectionRequest, DuplexSink<ServerReflectionResponse>>;

/// Answers grpc.reflection.v1.ServerReflection and its namesake of v1alpha.
#[derive(Clone)]
pub(in crate::rpc) struct Reflection {
    pub(in crate::rpc) service: Service,
    pub(in crate::rpc) descriptors: Arc<Descriptors>,
}

impl ServerReflection for Reflection {
    fn server_reflection_info(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ServerReflectionRequest>>,
        sink: DuplexSink<ServerReflectionResponse>,
    ) {
        self.serve(&ctx, requests, sink);
    }
}

impl ServerReflectionAlpha for Reflection {
    fn server_reflection_info(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<Raw<ServerReflectionRequest>>,
        sink: DuplexSink<ServerReflectionResponse>,
    ) {
        self.serve(&ctx, requests, sink);
    }
}

impl Reflection {
    fn serve(
        &self,
        ctx: &RpcContext<'_>,
        requests: RequestStream<Raw<ServerReflectionRequest>>,
        sink: DuplexSink<ServerReflectionResponse>,
    ) {
        let (service, descriptors) = (self.service.clone(), Arc::clone(&self.descriptors));
        Call::serve(&self.service, ctx, requests, sink, |mut call| async move {
            let known =
                service.context().access.now().expect_identity(call.caller.authentication());
            if let Err(denied) = known {
                return call.end(RequestError::from(denied).into()).await;
            }
            match answer_each(&descriptors, &mut call).await {
                Ok(()) => call.close().await,
                Err(ended) => call.end(ended).await,
            }
        });
    }
}

/// Answers one request after the other, until the client has sent its last.
async fn answer_each(descriptors: &Arc<Descriptors>, call: &mut OneCall) -> Result<(), CallEnd> {
    let mut decoding = None;
    loop {
        let next = poll_fn(|cx| match call.poll_room(cx, 1) {
            Poll::Ready(Ok(())) => {
                let descriptors = Arc::clone(descriptors);
                let work = move |request| response(&descriptors, request);
                call.messages.poll_next(cx, &mut decoding, work)
            }
            Poll::Ready(Err(ended)) => Poll::Ready(Some(Err(ended))),
            Poll::Pending => Poll::Pending,
        });
        match next.await {
            Some(answer) => call.send(answer?)?,
            None => return Ok(()),
        }
    }
}

fn response(
    descriptors: &Descriptors,
    request: ServerReflectionRequest,
) -> Result<ServerReflectionResponse, RequestError> {
    bounded("host", &request.host)?;
    let answer = match &request.message_request {
        Some(Asked::FileByFilename(name)) => {
            bounded("file_by_filename", name)?;
            files(descriptors.file(name), "there is no file of this name")
        }
        Some(Asked::FileContainingSymbol(name)) => {
            bounded("file_containing_symbol", name)?;
            files(descriptors.file_of(name), "no file defines this name")
        }
        Some(Asked::FileContainingExtension(extension)) => {
            bounded("containing_type", &extension.containing_type)?;
            refused(RpcStatusCode::NOT_FOUND, "there are no extensions")
        }
        Some(Asked::AllExtensionNumbersOfType(name)) => {
            bounded("all_extension_numbers_of_type", name)?;
            match descriptors.is_message(name) {
                true => Answered::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    ..ExtensionNumberResponse::default()
                }),
                false => refused(RpcStatusCode::NOT_FOUND, "there is no message of this name"),
            }
        }
        Some(Asked::ListServices(text)) => {
            bounded("list_services", text)?;
            let named = |name: &String| ServiceResponse {
                name: name.clone(),
                ..ServiceResponse::default()
            };
            let service = descriptors.services().iter().map(named).collect();
            let services = ListServiceResponse { service, ..ListServiceResponse::default() };
            Answered::ListServicesResponse(services)
        }
        None => {
            return Err(RequestError::invalid("message_request", "message_request must be set"))
        }
    };
    Ok(ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request).into(),
        message_response: Some(answer),
        ..ServerReflectionResponse::default()
    })
}

fn bounded(field: &'static str, text: &str) -> Result<(), RequestError> {
    match text.len() <= NAME_BYTES {
        true => Ok(()),
        false => Err(RequestError::invalid(
            field,
            format!("{field} may have {NAME_BYTES} bytes at most"),
        )),
    }
}

fn files(found: Option<Vec<Vec<u8>>>, otherwise: &str) -> Answered {
    found.map_or_else(
        || refused(RpcStatusCode::NOT_FOUND, otherwise),
        |file_descriptor_proto| {
            let special_fields = Default::default();
            Answered::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto,
                special_fields,
            })
        },
    )
}

fn refused(code: RpcStatusCode, why: &str) -> Answered {
    Answered::ErrorResponse(ErrorResponse {
        error_code: code.into(),
        error_message: why.to_owned(),
        ..ErrorResponse::default()
    })
}
