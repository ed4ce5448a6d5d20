//! The only place that builds gRPC's channels. Each has a TCP connection of its own.
//!
//! What is set on a channel, and why: a subchannel pool of its own, or all channels to one
//! address would share one connection; no proxy from the environment unless asked, because that
//! would divert connections to this machine too; the limit of one attempt to connect, which is
//! 20 s otherwise; pings that go on without data, because the C core stops after two and then
//! never finds out that the peer of an idle connection is dead; no channelz, gRPC's own records
//! of each channel, which nobody can read here.

use std::ffi::CString;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use grpcio::{
    CallOption, Channel, ChannelBuilder, ChannelCredentials, Client, ClientUnaryReceiver,
    CompressionAlgorithms, ConnectivityState,
};

use super::bell::Bell;
use super::config::{Checked, Compression, ConnectionConfig, Tls};
use super::destination::Destination;
use super::endpoint::Endpoint;
use super::error::ConfigError;
use super::runtime::Runtime;
use super::tls::Files;
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
    /// Since when its connection stands, as far as that was told. Held likewise.
    stands: Leaf<Option<Instant>>,
    to: Arc<Destination>,
}

/// How the connection of a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Idle,
    Connecting,
    Failed(String),
}

impl Link {
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
    pub(super) fn state(&self) -> State {
        let failure = self.failure.lock().clone();
        match (failure, self.channel.check_connectivity_state(false)) {
            (Some(failure), _) => State::Failed(failure),
            (None, ConnectivityState::GRPC_CHANNEL_READY) => State::Ready,
            (None, ConnectivityState::GRPC_CHANNEL_IDLE) => State::Idle,
            (None, _) => State::Connecting,
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
async fn watch(link: Weak<Link>, bell: Bell) {
    loop {
        let (change, why) = {
            let Some(link) = link.upgrade() else {
                return;
            };
            let state = link.channel.check_connectivity_state(false);
            let failed = matches!(
                state,
                ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE
                    | ConnectivityState::GRPC_CHANNEL_SHUTDOWN
            );
            (link.channel.wait_for_state_change(state, WATCH), failed.then(|| link.ask()))
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
        change.await;
    }
}

fn reason(said: grpcio::Result<()>) -> String {
    match said {
        Err(grpcio::Error::RpcFailure(status)) => status.message().to_owned(),
        Err(error) => error.to_string(),
        Ok(()) => "the connection was lost".to_owned(),
    }
}

/// Makes the channels of one service.
pub(super) struct Dialer {
    runtime: Arc<Runtime>,
    settings: ConnectionConfig,
    connect_timeout: Duration,
    tls: Tls,
    /// `None`: no address is reached with TLS, or with credentials from elsewhere. Held for a
    /// few instructions.
    files: Leaf<Option<Arc<Files>>>,
    bell: Bell,
}

impl Dialer {
    /// Reads the files of TLS, if an address is reached with it.
    ///
    /// # Errors
    /// What is wrong with these files.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        checked: &Checked,
        bell: Bell,
    ) -> Result<Dialer, ConfigError> {
        let config = &checked.config;
        let dialer = Dialer {
            runtime,
            settings: config.connection.clone(),
            connect_timeout: config.connection.connect_timeout.min(config.pool.open_timeout),
            files: Leaf::new(None),
            tls: config.tls.clone(),
            bell,
        };
        dialer.prepare(&checked.endpoints)?;
        Ok(dialer)
    }

    /// Reads the files of TLS, if that was not necessary before and one of these needs them.
    ///
    /// # Errors
    /// What is wrong with these files.
    pub(super) fn prepare(&self, endpoints: &[(Endpoint, bool)]) -> Result<(), ConfigError> {
        let is_secure = endpoints.iter().any(|(_, secure)| *secure);
        let is_read = self.files.lock().is_some() || self.tls.credentials.is_some();
        if is_secure && !is_read {
            let files = Files::read(&self.tls)?;
            *self.files.lock() = Some(Arc::new(files));
        }
        Ok(())
    }

    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// One attempt to connect takes at most so long.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Begins to connect. Does not wait.
    pub(super) fn dial(&self, to: Arc<Destination>) -> Option<Arc<Link>> {
        let mut builder = self.builder();
        if to.at.is_some() && self.tls.server_name.is_none() {
            // The server is still called by its name, and its certificate must have that.
            builder = builder.default_authority(to.endpoint.to_string());
        }
        if to.secure {
            if let Some(name) = &self.tls.server_name {
                builder = builder.override_ssl_target(name.as_str());
            }
            builder = builder.set_credentials(self.credentials()?);
        }
        let channel = builder.connect(&to.target());
        let (failure, stands, since) = (Leaf::new(None), Leaf::new(None), clock::now());
        let client = OnceLock::new();
        let link = Arc::new(Link { channel, client, failure, stands, since, to });
        link.poke();
        let watching = watch(Arc::downgrade(&link), self.bell.clone());
        self.runtime.spawn(watching);
        Some(link)
    }

    fn credentials(&self) -> Option<ChannelCredentials> {
        if let Some(credentials) = &self.tls.credentials {
            return Some(credentials.make());
        }
        let files = self.files.lock().clone();
        files.map(|files| files.build())
    }

    /// Reads the files of TLS again. True if they hold something new, with which connections are
    /// made from now on.
    ///
    /// # Errors
    /// What is wrong with the files; then nothing changes.
    pub(super) fn reload(&self) -> Result<bool, ConfigError> {
        let Some(known) = self.files.lock().clone() else {
            return Ok(false);
        };
        let read = Files::read(&self.tls)?;
        let is_new = *known != read;
        if is_new {
            *self.files.lock() = Some(Arc::new(read));
        }
        Ok(is_new)
    }

    fn builder(&self) -> ChannelBuilder {
        let settings = &self.settings;
        let bytes = i32::try_from(settings.max_message_bytes).unwrap_or(i32::MAX);
        let attempt = i32::try_from(self.connect_timeout.as_millis()).unwrap_or(i32::MAX);
        let mut builder = ChannelBuilder::new(self.runtime.environment())
            .use_local_subchannel_pool(true)
            .enable_http_proxy(settings.http_proxy)
            .max_receive_message_len(bytes)
            .max_send_message_len(bytes)
            .raw_cfg_int(CString::from(c"grpc.enable_channelz"), 0)
            .raw_cfg_int(CString::from(c"grpc.min_reconnect_backoff_ms"), attempt.max(1));
        if settings.compression == Compression::Gzip {
            let gzip = CompressionAlgorithms::GRPC_COMPRESS_GZIP;
            builder = builder.default_compression_algorithm(gzip);
        }
        if let Some(agent) = &settings.user_agent {
            builder = builder.primary_user_agent(agent);
        }
        if let Some(time) = settings.keepalive_time {
            builder = builder
                .keepalive_time(time)
                .http2_max_pings_without_data(0)
                .keepalive_timeout(settings.keepalive_timeout)
                .keepalive_permit_without_calls(settings.keepalive_permit_without_calls);
        }
        builder
    }
}
