//! Asks a server whether it serves.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use grpcio::{CallOption, Method};
use protobuf::Message;

use super::bell::KeeperBell;
use super::call_error::Code;
use super::channel::Link;
use super::config::HealthConfig;
use super::lineup::{ProbeOutcome, SlotId};
use super::raw::raw;
use super::runtime::Runtime;
use crate::lock::Leaf;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::proto::health_grpc::HEALTH_CHECK;

/// Sends probes for one pool, and keeps what they have found until the keeper takes it.
pub(super) struct Prober {
    /// Held for a few instructions.
    question: Leaf<Arc<Question>>,
    runtime: Arc<Runtime>,
    bell: KeeperBell,
    /// Held for a few instructions.
    found: Arc<Leaf<Vec<Probed>>>,
}

/// What servers are asked.
struct Question {
    method: Method<Vec<u8>, Vec<u8>>,
    request: Vec<u8>,
    /// The answer is one of the health service, and says more than that there is one.
    is_health: bool,
    timeout: Duration,
}

/// What a probe has found.
pub(super) struct Probed {
    pub(super) slot: SlotId,
    pub(super) link: Arc<Link>,
    pub(super) in_round: bool,
    pub(super) found: ProbeOutcome,
}

impl Question {
    fn new(config: &HealthConfig) -> Question {
        let (name, request) = match &config.method {
            Some(method) => (interned(method), Vec::new()),
            None => (HEALTH_CHECK.name, health_request(&config.service)),
        };
        Question {
            method: raw(name),
            request,
            is_health: config.method.is_none(),
            timeout: config.timeout,
        }
    }
}

impl Prober {
    pub(super) fn new(config: &HealthConfig, runtime: Arc<Runtime>, bell: KeeperBell) -> Prober {
        let question = Leaf::new(Arc::new(Question::new(config)));
        Prober { question, runtime, bell, found: Arc::default() }
    }

    /// Asks as this says from now on. What was asked before is still taken in.
    pub(super) fn adjust(&self, config: &HealthConfig) {
        *self.question.lock() = Arc::new(Question::new(config));
    }

    /// Asks over this channel. Does not wait.
    pub(super) fn ask(&self, slot: SlotId, link: &Arc<Link>, in_round: bool) {
        let question = Arc::clone(&self.question.lock());
        let Question { method, request, is_health, timeout } = &*question;
        let options = CallOption::default().timeout(*timeout);
        let asked = link.client_for_once().unary_call_async(method, request, options);
        let (is_health, weak) = (*is_health, Arc::downgrade(link));
        let (places, bell) = (Arc::clone(&self.found), self.bell.clone());
        let asking = async move {
            let found = match asked {
                // grpcio panics over an answer without a message.
                Ok(mut receiver) => {
                    let answer = AssertUnwindSafe(receiver.message()).catch_unwind().await;
                    answer.map_or(ProbeOutcome::Alive, |said| judge(said, is_health))
                }
                Err(error) => ProbeOutcome::Silent(error.to_string()),
            };
            if let Some(link) = weak.upgrade() {
                places.lock().push(Probed { slot, link, in_round, found });
                bell.ring();
            }
        };
        self.runtime.spawn(asking);
    }

    /// What was found since the last time.
    pub(super) fn take(&self) -> Vec<Probed> {
        std::mem::take(&mut *self.found.lock())
    }
}

/// Whatever a server answers proves that it lives, also that it knows no health service.
fn judge(said: grpcio::Result<Vec<u8>>, is_health: bool) -> ProbeOutcome {
    match said {
        Ok(answer) if is_health && !serves(&answer) => ProbeOutcome::NotServing,
        Ok(_) => ProbeOutcome::Alive,
        Err(error) if shows_life(&error) => ProbeOutcome::Alive,
        Err(grpcio::Error::RpcFailure(status)) => ProbeOutcome::Silent(status.message().to_owned()),
        Err(error) => ProbeOutcome::Silent(error.to_string()),
    }
}

/// Whether it is an error that the server has answered.
pub(super) fn shows_life(error: &grpcio::Error) -> bool {
    match error {
        grpcio::Error::RpcFailure(status) => !matches!(
            Code::of(status.code().into()),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        ),
        _ => false,
    }
}

/// The request of the health service. It has one field of text.
pub(super) fn health_request(service: &str) -> Vec<u8> {
    let request = HealthCheckRequest { service: service.to_owned(), ..Default::default() };
    request.write_to_bytes().unwrap_or_default()
}

/// Whether an answer of the health service says anything but that the server does not serve.
pub(super) fn serves(answer: &[u8]) -> bool {
    let said = HealthCheckResponse::parse_from_bytes(answer).map(|said| said.status);
    !said.is_ok_and(|status| status == ServingStatus::NOT_SERVING.into())
}

/// gRPC takes names that live for ever. A program has few of them.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}
