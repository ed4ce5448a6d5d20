//! SqlService.Listen: notifications as they arrive.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::listen::Notification;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::pool::listen::{Letter, Mailbox};
use crate::pool::requests::responder::Responder;
use crate::pool::service::Service;
use crate::proto::sql::listen_response::Kind;
use crate::proto::sql::{self, ListenGap, ListenRequest, ListenResponse, ListenStarted};
use crate::rpc::calls::streamed::StreamCall;
use crate::rpc::convert;
use crate::rpc::convert::encode::encoded;
use crate::rpc::streams::batch;
use crate::rpc::streams::result::ResultWriter;

/// A reader that falls this far behind is disconnected: the others must not wait for
/// it, and no notification may be left out silently.
const BACKLOG_BYTES: usize = 4 << 20;
const CHANNELS_MAX: usize = 64;
/// PostgreSQL's limit of a name, in bytes.
const NAME_BYTES: usize = 63;

/// Requests notifications.
///
/// # Errors
/// If the request breaks a rule, or the tenant takes no more listeners.
pub(in crate::rpc) fn ask(
    service: &Service,
    request: &ListenRequest,
    caller: &Arc<Caller>,
) -> Result<StreamCall<Infallible>, RequestError> {
    let live = service.context().live();
    let (target, wait) = convert::requests::listen(request, &live.limits, &service.dsns(caller))?;
    let channels = channels(&request.channels)?;
    let (writer, reader) = ResultWriter::new(service, batch::no_batch);
    let (responder, answer) = Responder::new();
    let mailbox = ListenerMailbox {
        writer,
        responder: Leaf::new(Some(responder)),
        service: service.clone(),
        caller: Arc::clone(caller),
        tenant: target.tenant.clone(),
    };
    let held = Some(service.listen(&target, channels, Arc::new(mailbox), wait, caller)?);
    Ok(StreamCall { reader, answer, trailer: |never| match never {}, held })
}

fn channels(names: &[String]) -> Result<BTreeSet<String>, RequestError> {
    if names.is_empty() || names.len() > CHANNELS_MAX {
        let rule = format!("channels must be 1 to {CHANNELS_MAX}");
        return Err(RequestError::invalid("channels", rule));
    }
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
            let rule = format!("channels[{i}] must have 1 to {NAME_BYTES} bytes, none of them NUL");
            return Err(RequestError::invalid("channels", rule));
        }
    }
    Ok(names.iter().cloned().collect())
}

/// The messages of one listener.
struct ListenerMailbox {
    writer: ResultWriter,
    /// `None` once it has failed.
    responder: Leaf<Option<Responder<Infallible>>>,
    service: Service,
    caller: Arc<Caller>,
    tenant: TenantId,
}

impl ListenerMailbox {
    fn send(&self, kind: Kind) {
        self.writer.push(encoded(&response(kind)));
    }

    fn answer(&self, error: RequestError) {
        let responder = self.responder.lock().take();
        if let Some(responder) = responder {
            // The reader may have left, and needs no error then.
            let _ = responder.send(Err(error));
        }
    }
}

fn response(kind: Kind) -> ListenResponse {
    ListenResponse { kind: Some(kind), ..ListenResponse::default() }
}

impl Mailbox for ListenerMailbox {
    fn started(&self) {
        self.send(Kind::Started(ListenStarted::default()));
    }

    fn gap(&self, since: Instant) {
        let lost_at = Some(convert::fields::timestamp(since)).into();
        self.send(Kind::Gap(ListenGap { lost_at, ..ListenGap::default() }));
    }

    fn encoded(&self, notification: &Notification) -> Vec<u8> {
        let notification = sql::Notification {
            channel: notification.channel.clone(),
            payload: notification.payload.clone(),
            backend_pid: notification.pid,
            ..sql::Notification::default()
        };
        encoded(&response(Kind::Notification(notification)))
    }

    fn notification(&self, letter: Letter) -> bool {
        if self.writer.backlog() > BACKLOG_BYTES {
            return false;
        }
        if let Err(denied) = self.service.recheck(&self.tenant, &self.caller) {
            self.answer(denied);
            return false;
        }
        self.writer.post(letter);
        true
    }

    fn backlog(&self) -> usize {
        self.writer.backlog()
    }

    fn waits_since(&self) -> Option<Instant> {
        self.writer.waits_since()
    }

    fn fail(&self, error: RequestError) {
        self.answer(error);
        self.writer.end();
    }

    fn give_up(&self, error: RequestError) {
        self.answer(error);
        self.writer.close();
    }
}
