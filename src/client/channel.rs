//! A channel of gRPC's, and how its connection is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use grpcio::{CallOption, Channel, Client, ClientUnaryReceiver, ConnectivityState};

use super::bell::KeeperBell;
use super::destination::Destination;
use super::runtime::Runtime;
use crate::clock;
use crate::lock::Leaf;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::proto::health_grpc::HEALTH_CHECK;

/// A watch that sees no change begins anew after so long.
const WATCH: Duration = Duration::from_secs(3600);
/// A call on a channel that has failed is answered in microseconds.
const WHY: Duration = Duration::from_millis(500);

/// A channel with what belongs to it.
pub(super) struct Link {
    channel: Channel,
    /// Calls without a stub are made by it. Made by the first of them: it costs more than a
    /// checkout, and 6 KiB that a connection at rest does not need.
    client: OnceLock<Client>,
    /// Since when there is this channel.
    since: Instant,
    /// Why it could not be connected. Held for a few instructions.
    failure: Leaf<Option<String>>,
    /// Since when its connection stands, as far as that is known. Held likewise.
    stands: Leaf<Option<Instant>>,
    /// It has begun to connect: one that is idle from now on has ended.
    begun: AtomicBool,
    to: Arc<Destination>,
}

/// How the connection of a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChannelState {
    Ready,
    /// It is to be connected, and has not begun to, as far as that is known.
    Idle,
    /// It was being connected, or stood, and does no more.
    Ended,
    Connecting,
    Failed(String),
}

impl Link {
    /// Begins to connect. Does not wait.
    pub(super) fn new(channel: Channel, to: Arc<Destination>) -> Arc<Link> {
        let (failure, stands, since) = (Leaf::new(None), Leaf::new(None), clock::now());
        let (client, begun) = (OnceLock::new(), AtomicBool::new(false));
        let link = Arc::new(Link { channel, client, failure, stands, begun, since, to });
        link.poke();
        link
    }

    /// Rings when its state changes.
    pub(super) fn watched(self: &Arc<Self>, runtime: &Runtime, bell: &KeeperBell) {
        runtime.spawn(watch(Arc::downgrade(self), bell.clone()));
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(self.channel.clone()))
    }

    /// One for a single call of the keeper's.
    pub(super) fn client_for_once(&self) -> Client {
        Client::new(self.channel.clone())
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn is_ready(&self) -> bool {
        self.channel.check_connectivity_state(false) == ConnectivityState::GRPC_CHANNEL_READY
    }

    /// How it is; one that has failed is `Connecting` until the reason is known.
    pub(super) fn state(&self) -> ChannelState {
        let failure = self.failure.lock().clone();
        // Before the state: one that has not begun is idle, too.
        let begun = self.begun.load(Ordering::Acquire);
        match (failure, self.channel.check_connectivity_state(false)) {
            (Some(failure), _) => ChannelState::Failed(failure),
            (None, ConnectivityState::GRPC_CHANNEL_READY) => ChannelState::Ready,
            (None, ConnectivityState::GRPC_CHANNEL_IDLE) if begun => ChannelState::Ended,
            (None, ConnectivityState::GRPC_CHANNEL_IDLE) => ChannelState::Idle,
            (None, _) => ChannelState::Connecting,
        }
    }

    /// What it connects to.
    pub(super) fn to(&self) -> &Arc<Destination> {
        &self.to
    }

    /// Its connection stands since then.
    pub(super) fn stood(&self, since: Instant) {
        *self.stands.lock() = Some(since);
    }

    /// Its connection has ended. Since when it stood, the first time that somebody asks.
    pub(super) fn fell(&self) -> Option<Instant> {
        self.stands.lock().take()
    }

    /// Connects once more one that stood.
    pub(super) fn connect_again(&self) {
        self.begun.store(false, Ordering::Release);
        self.poke();
    }

    /// Connects, if it is not connected: nothing else does, until somebody calls.
    pub(super) fn poke(&self) {
        self.channel.check_connectivity_state(true);
    }

    /// Asks why it could not be connected, which is known only by a call.
    fn ask(&self) -> grpcio::Result<ClientUnaryReceiver<HealthCheckResponse>> {
        let options = CallOption::default().timeout(WHY);
        self.client_for_once().unary_call_async(
            &HEALTH_CHECK,
            &HealthCheckRequest::default(),
            options,
        )
    }

    fn fail(&self, reason: String) {
        *self.failure.lock() = Some(reason);
    }
}

/// Rings when the state of the link changes, for as long as it lives, which this does not make
/// longer. Runs on gRPC's thread, so it must neither block nor panic.
async fn watch(link: Weak<Link>, bell: KeeperBell) {
    let mut left = false;
    loop {
        let (change, why, was_idle) = {
            let Some(link) = link.upgrade() else {
                return;
            };
            let state = link.channel.check_connectivity_state(false);
            let is_idle = state == ConnectivityState::GRPC_CHANNEL_IDLE;
            if left || !is_idle {
                link.begun.store(true, Ordering::Release);
            }
            let failed = matches!(
                state,
                ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE
                    | ConnectivityState::GRPC_CHANNEL_SHUTDOWN
            );
            let change = link.channel.wait_for_state_change(state, WATCH);
            (change, failed.then(|| link.ask()), is_idle)
        };
        if let Some(asked) = why {
            let said = match asked {
                Ok(mut receiver) => receiver.message().await.map(drop),
                Err(error) => Err(error),
            };
            if let Some(link) = link.upgrade() {
                link.fail(reason(said));
            }
            return bell.ring();
        }
        bell.ring();
        // A connection may come and go between two looks, and only this tells.
        left = change.await && was_idle;
    }
}

fn reason(said: grpcio::Result<()>) -> String {
    match said {
        Err(grpcio::Error::RpcFailure(status)) => status.message().to_owned(),
        Err(error) => error.to_string(),
        Ok(()) => "the connection was lost".to_owned(),
    }
}
