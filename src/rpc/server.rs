//! The gRPC server: credentials, limits of connections, bind, stop.

use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerConfig;
use crate::listener::{self, is_every_address};
use crate::pool::service::Service;
use crate::proto::admin_grpc::create_admin_service;
use crate::proto::connection_pool_grpc::create_connection_pool_service;
use crate::proto::health_grpc::create_health;
use crate::proto::reflection_grpc::{create_server_reflection, create_server_reflection_alpha};
use crate::proto::sql_grpc::create_sql_service;
use crate::proto::{DESCRIPTORS, METHODS};
use crate::rpc::descriptors::Descriptors;
use crate::rpc::services::admin::Admin;
use crate::rpc::services::connection_pool::ConnectionPool;
use crate::rpc::services::health::HealthService;
use crate::rpc::services::reflection::Reflection;
use crate::rpc::services::sql::Sql;
use crate::threads;
use grpcio::{ChannelBuilder, EnvBuilder, ResourceQuota, ServerBuilder, ServerCredentials};

pub use crate::rpc::bind_error::BindError;
pub use crate::rpc::credentials::Certificate;
pub use crate::rpc::credentials::OwnClient;

/// Completion queues, each with a thread, are as many as cores, within these bounds. Handlers
/// never block them, but reading a large request takes one for its time, so that there are two
/// at least. More than cores cost each call: a packet is passed on between their threads
/// (docs/performance.md). Beside two clients with requests of 4 MB without end, on two cores,
/// one call in a hundred of others took more than 7 to 11 ms with four queues, and 10 to 12 ms
/// with two.
const QUEUES: RangeInclusive<usize> = 2..=16;
/// The bit of no compression in gRPC's set of encodings.
const IDENTITY: i32 = 1;
/// Concurrent calls of one connection. At most 192 of them may wait; the others leave room for
/// releases and renewals.
pub(super) const STREAMS: i32 = 256;
/// The unread bytes that a client may send in each stream: 16 MiB a connection. Its own probes
/// would let gRPC grow the window to the many megabytes that a loopback carries.
const WINDOW_BYTES: i32 = 64 << 10;
/// The bytes that gRPC reads from one connection before it serves others. With its own 4 MiB
/// it would accept 280 000 calls before the guard can stop it.
const READ_BYTES: i32 = 64 << 10;
/// Memory for all of gRPC's buffers. When it is used up gRPC closes connections without
/// calls, whose clients did nothing wrong, and takes no new ones. So it is well above
/// what the guard lets unfinished requests have, and is only the last line behind it.
const QUOTA_BYTES: usize = 1 << 30;

/// A running gRPC server.
pub struct GrpcServer {
    server: Option<grpcio::Server>,
    port: u16,
    /// None: gRPC is served without TLS.
    certificate: Option<Certificate>,
}

impl GrpcServer {
    /// Binds and serves.
    ///
    /// # Errors
    /// If the certificate or the address cannot be used.
    pub fn start(config: &ServerConfig, service: &Service) -> Result<GrpcServer, BindError> {
        let (client_ca, demanded) = (config.client_ca.as_deref(), config.client_certificates);
        let certificate =
            Certificate::load(&config.tls, client_ca, demanded, config.certificate_warning)?;
        let credentials =
            certificate.as_ref().map_or_else(ServerCredentials::insecure, Certificate::credentials);
        let env = Arc::new(EnvBuilder::new().cq_count(queues()).name_prefix(threads::GRPC).build());
        let arguments = ChannelBuilder::new(Arc::clone(&env))
            // With the default, a second server would share the port silently.
            .reuse_port(false)
            .max_concurrent_stream(STREAMS)
            // The limit of requests is that of `RequestMessages`.
            .max_receive_message_len(-1)
            .max_send_message_len(-1)
            .keepalive_time(config.keepalive_time)
            .keepalive_timeout(config.keepalive_timeout)
            .keepalive_permit_without_calls(true)
            .http2_min_recv_ping_interval_without_data(Duration::from_secs(10))
            .raw_cfg_int(c"grpc.server_handshake_timeout_ms".to_owned(), 10_000)
            // gRPC unpacks a message before it looks how large it has become: nothing
            // that is compressed is taken.
            .raw_cfg_int(c"grpc.compression_enabled_algorithms_bitset".to_owned(), IDENTITY)
            .http2_bdp_probe(false)
            .raw_cfg_int(c"grpc.experimental.tcp_max_read_chunk_size".to_owned(), READ_BYTES)
            .stream_initial_window_size(WINDOW_BYTES)
            .set_resource_quota(ResourceQuota::new(Some("grpc")).resize_memory(QUOTA_BYTES))
            .build_args();
        let address = address(&config.listen, config.port);
        let refused = |why: String| BindError::Listen { address: address.clone(), why };
        service.context().tools.metrics.serves(METHODS);
        if config.port != 0 && is_every_address(&config.listen) {
            // gRPC is content with one of the families where the other's port is taken.
            let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, config.port));
            listener::listen(every).map_err(|e| refused(e.to_string()))?;
        }
        let mut server = services(config, service, ServerBuilder::new(env))
            .channel_args(arguments)
            .build()
            .map_err(|e| refused(e.to_string()))?;
        let port = server
            .add_listening_port(&address, credentials)
            .map_err(|e| refused(why_not(&address).unwrap_or_else(|| e.to_string())))?;
        server.start();
        Ok(GrpcServer { server: Some(server), port, certificate })
    }

    /// The port on which it listens; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the service's own calls, if clients are asked for one.
    pub fn own_client(&self) -> Option<OwnClient> {
        self.certificate.as_ref().and_then(Certificate::own_client).cloned()
    }

    /// The certificate, which can be read again; none without TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        self.certificate.clone()
    }

    /// Returns the certificate chain and key in force, in PEM; none without TLS.
    pub fn certificate_pems(&self) -> impl Fn() -> Option<(Vec<u8>, Vec<u8>)> + Send + Sync {
        let certificate = self.certificate.clone();
        move || certificate.as_ref().map(Certificate::pems)
    }

    /// Refuses new calls, waits `grace` for the running ones to end, then cancels them.
    pub fn stop(mut self, grace: Duration) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let ended = server.shutdown();
        let (done_tx, done_rx) = crossbeam_channel::bounded(1);
        let waiter = threads::spawn(threads::GRPC_STOP, move || {
            // A failed shutdown has nothing left to wait for.
            let _ = futures_executor::block_on(ended);
            let _ = done_tx.send(());
        });
        let in_time = done_rx.recv_timeout(grace).is_ok();
        if !in_time {
            server.cancel_all_calls();
        }
        if let Ok(waiter) = waiter {
            // It ends: every call has ended or was cancelled.
            let _ = waiter.join();
        }
    }
}

fn services(config: &ServerConfig, service: &Service, builder: ServerBuilder) -> ServerBuilder {
    let builder = builder
        .register_service(create_connection_pool_service(ConnectionPool(service.clone())))
        .register_service(create_sql_service(Sql(service.clone())))
        .register_service(create_admin_service(Admin(service.clone())))
        .register_service(create_health(HealthService(service.clone())));
    if !config.reflection {
        return builder;
    }
    // The build has written them.
    let descriptors = Arc::new(Descriptors::parse(DESCRIPTORS).unwrap_or_default());
    let reflection = Reflection { service: service.clone(), descriptors };
    builder
        .register_service(create_server_reflection(reflection.clone()))
        .register_service(create_server_reflection_alpha(reflection))
}

fn queues() -> usize {
    let cores = std::thread::available_parallelism().map_or(*QUEUES.start(), usize::from);
    cores.clamp(*QUEUES.start(), *QUEUES.end())
}

/// IPv6 addresses need brackets.
fn address(listen: &str, port: u16) -> String {
    if listen.contains(':') && !listen.starts_with('[') {
        format!("[{listen}]:{port}")
    } else {
        format!("{listen}:{port}")
    }
}

/// The system's reason for a failed bind, which gRPC does not report.
fn why_not(address: &str) -> Option<String> {
    std::net::TcpListener::bind(address).err().map(|error| error.to_string())
}
