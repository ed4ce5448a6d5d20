//! The only place that builds gRPC's channels. Each has a TCP connection of its own.
//!
//! What is set on a channel, and why: a subchannel pool of its own, or all channels to one
//! address would share one connection; no proxy from the environment unless asked, because that
//! would divert connections to this machine too; the limit of one attempt to connect, which is
//! 20 s otherwise; pings that go on without data, because the C core stops after two and then
//! never finds out that the peer of an idle connection is dead; no channelz, gRPC's own records
//! of each channel, which nobody can read here; no compression unless asked, because the limit of
//! a message is held against its compressed bytes, and a megabyte of gzip may become a gigabyte.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{ChannelBuilder, ChannelCredentials, CompressionAlgorithms};

use super::bell::KeeperBell;
use super::channel::Link;
use super::config::{Compression, ConnectionConfig, ServiceConfig, Tls};
use super::destination::Destination;
use super::endpoint::Endpoint;
use super::error::ConfigError;
use super::runtime::Runtime;
use super::tls::Files;
use crate::lock::Leaf;
use crate::threads;

/// The bit of no compression in gRPC's set of encodings.
const IDENTITY: i32 = 1;

/// Makes the channels of one service.
pub(super) struct Dialer {
    runtime: Arc<Runtime>,
    bell: KeeperBell,
    /// Held for a few instructions.
    ways: Leaf<Arc<Ways>>,
}

/// How channels are made.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    settings: ConnectionConfig,
    connect_timeout: Duration,
    tls: Tls,
    /// `None`: no address is reached with TLS, or with credentials from elsewhere.
    files: Option<Arc<Files>>,
}

impl Ways {
    /// Reads the files of TLS, if an address is reached with it.
    ///
    /// # Errors
    /// What is wrong with these files.
    pub(super) fn new(
        config: &ServiceConfig,
        endpoints: &[(Endpoint, bool)],
    ) -> Result<Ways, ConfigError> {
        let ways = Ways {
            settings: config.connection.clone(),
            connect_timeout: config.connection.connect_timeout.min(config.pool.open_timeout),
            files: None,
            tls: config.tls.clone(),
        };
        ways.prepared(endpoints)
    }

    /// The same with the files of TLS, if that was not necessary before and one of these needs
    /// them.
    fn prepared(mut self, endpoints: &[(Endpoint, bool)]) -> Result<Ways, ConfigError> {
        let is_secure = endpoints.iter().any(|(_, secure)| *secure);
        if is_secure && self.files.is_none() && self.tls.credentials.is_none() {
            self.files = Some(Arc::new(Files::read(&self.tls)?));
        }
        Ok(self)
    }

    /// Whether channels that were made in the `other` ways are as good as new ones. Pauses, and
    /// the limit of an attempt, are no matter of a channel that stands.
    fn makes_the_same(&self, other: &Ways) -> bool {
        let of = |ways: &Ways| ConnectionConfig {
            connect_timeout: Duration::ZERO,
            reconnect_backoff_min: Duration::ZERO,
            max_reconnect_delay: Duration::ZERO,
            ping_interval: None,
            dns_refresh: None,
            ..ways.settings.clone()
        };
        of(self) == of(other)
            && self.files == other.files
            && self.tls.server_name == other.tls.server_name
    }

    fn credentials(&self) -> Result<Option<ChannelCredentials>, String> {
        let Some(credentials) = &self.tls.credentials else {
            return Ok(self.files.as_ref().map(|files| files.build()));
        };
        // They are made by the program; the keeper must go on.
        let made = threads::survive(threads::GRPC_KEEPER, || credentials.make());
        made.map(Some).ok_or_else(|| "tls.credentials has panicked".to_owned())
    }
}

impl Dialer {
    /// Dials in these ways.
    pub(super) fn new(runtime: Arc<Runtime>, ways: Ways, bell: KeeperBell) -> Dialer {
        Dialer { runtime, ways: Leaf::new(Arc::new(ways)), bell }
    }

    fn ways(&self) -> Arc<Ways> {
        Arc::clone(&self.ways.lock())
    }

    /// Dials in these ways from now on. True if channels that were dialled before are to be
    /// replaced.
    pub(super) fn change(&self, ways: Ways) -> bool {
        let ways = Arc::new(ways);
        let before = std::mem::replace(&mut *self.ways.lock(), Arc::clone(&ways));
        !before.makes_the_same(&ways)
    }

    /// Reads the files of TLS, if that was not necessary before and one of these needs them.
    ///
    /// # Errors
    /// What is wrong with these files.
    pub(super) fn prepare(&self, endpoints: &[(Endpoint, bool)]) -> Result<(), ConfigError> {
        loop {
            let ways = self.ways();
            if ways.files.is_some() || ways.tls.credentials.is_some() {
                return Ok(());
            }
            let prepared = (*ways).clone().prepared(endpoints)?;
            if self.replace(&ways, prepared) {
                return Ok(());
            }
        }
    }

    /// False if others than `before` hold meanwhile; then nothing changes.
    fn replace(&self, before: &Arc<Ways>, ways: Ways) -> bool {
        let mut now = self.ways.lock();
        let same = Arc::ptr_eq(&now, before);
        if same {
            *now = Arc::new(ways);
        }
        same
    }

    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// One attempt to connect takes at most so long.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.ways().connect_timeout
    }

    /// Begins to connect. Does not wait.
    ///
    /// # Errors
    /// Why there are no credentials for it.
    pub(super) fn dial(&self, to: Arc<Destination>) -> Result<Arc<Link>, String> {
        if to.secure {
            // They are read by now, unless addresses and settings were changed at the same time.
            self.prepare(&[(to.endpoint.clone(), true)]).map_err(|error| error.to_string())?;
        }
        let ways = self.ways();
        let mut builder = self.builder(&ways);
        if to.at.is_some() && ways.tls.server_name.is_none() {
            // The server is still called by its name, and its certificate must have that.
            builder = builder.default_authority(to.endpoint.to_string());
        }
        if to.secure {
            if let Some(name) = &ways.tls.server_name {
                builder = builder.override_ssl_target(name.as_str());
            }
            let credentials = ways.credentials()?.ok_or("there are no files of TLS")?;
            builder = builder.set_credentials(credentials);
        }
        let link = Link::new(builder.connect(&to.target()), to);
        link.watched(&self.runtime, &self.bell);
        Ok(link)
    }

    /// Reads the files of TLS again. True if they hold something new, with which connections are
    /// made from now on.
    ///
    /// # Errors
    /// What is wrong with the files; then nothing changes.
    pub(super) fn reload(&self) -> Result<bool, ConfigError> {
        let ways = self.ways();
        let Some(known) = &ways.files else {
            return Ok(false);
        };
        let read = Files::read(&ways.tls)?;
        let is_new = **known != read;
        let files = Some(Arc::new(read));
        // Others that hold meanwhile have read their files later.
        Ok(is_new && self.replace(&ways, Ways { files, ..(*ways).clone() }))
    }

    fn builder(&self, ways: &Ways) -> ChannelBuilder {
        let settings = &ways.settings;
        let bytes = i32::try_from(settings.max_message_bytes).unwrap_or(i32::MAX);
        let attempt = i32::try_from(ways.connect_timeout.as_millis()).unwrap_or(i32::MAX);
        let mut builder = ChannelBuilder::new(self.runtime.environment())
            .use_local_subchannel_pool(true)
            .enable_http_proxy(settings.http_proxy)
            .max_receive_message_len(bytes)
            .max_send_message_len(bytes)
            .raw_cfg_int(CString::from(c"grpc.enable_channelz"), 0)
            .raw_cfg_int(CString::from(c"grpc.min_reconnect_backoff_ms"), attempt.max(1));
        match settings.compression {
            Compression::Gzip => {
                let gzip = CompressionAlgorithms::GRPC_COMPRESS_GZIP;
                builder = builder.default_compression_algorithm(gzip);
            }
            Compression::None => {
                let name = CString::from(c"grpc.compression_enabled_algorithms_bitset");
                builder = builder.raw_cfg_int(name, IDENTITY);
            }
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
