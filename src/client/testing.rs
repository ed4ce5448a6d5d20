//! For tests of programs that call services: a server that says what its script has.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use connection_pool_manager::client::testing::{Answer, FakeService};
//! use connection_pool_manager::client::{CallOptions, Code, Pool, ServiceConfig, raw};
//!
//! let get = "/shop.Users/Get";
//! let fake = FakeService::start(&[get])?;
//! fake.next(get, Answer::Fail { code: Code::Unavailable, message: "down".into(), details: vec![] });
//!
//! let users = Pool::open("users", &ServiceConfig::test("127.0.0.1", fake.port()))?;
//! let options = CallOptions::new().idempotent();
//! assert_eq!(users.call(&raw(get), &b"7".to_vec(), &options)?, b"7"); // Repeated, then echoed.
//! assert_eq!(fake.calls(get), 2);
//! # Ok(())
//! # }
//! ```

mod script;

use std::fmt;
use std::sync::Arc;

use grpcio::{
    CertificateRequestType, ChannelBuilder, EnvBuilder, Environment, Server, ServerBuilder,
    ServerCredentials, ServerCredentialsBuilder, ServiceBuilder,
};

use super::raw::raw;
use script::Script;
pub use script::{Answer, Received};

/// A server on this machine, of unary methods in bytes. Stops when dropped.
pub struct FakeService {
    port: u16,
    settings: FakeSettings,
    environment: Arc<Environment>,
    script: Arc<Script>,
    /// `None` while it is stopped.
    server: Option<Server>,
}

/// How a fake server is.
#[derive(Clone, Debug, Default)]
pub struct FakeSettings {
    /// Its methods, such as `/shop.Users/Get`; others are answered with UNIMPLEMENTED.
    pub methods: Vec<String>,
    /// Its port; 0 takes any.
    pub port: u16,
    /// It speaks TLS.
    pub tls: Option<FakeTls>,
    /// It asks clients to leave connections that are so old, in milliseconds, by GOAWAY.
    pub max_connection_age_ms: Option<u32>,
}

/// What a fake server speaks TLS with, in PEM.
#[derive(Clone)]
pub struct FakeTls {
    /// Its certificate with its chain.
    pub cert: Vec<u8>,
    /// The key of that.
    pub key: Vec<u8>,
    /// Clients must show a certificate of this authority.
    pub client_ca: Option<Vec<u8>>,
}

/// Without the key.
impl fmt::Debug for FakeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTls").field("client_ca", &self.client_ca.is_some()).finish()
    }
}

impl FakeService {
    /// A server of these methods, in plaintext, on any port. It echoes what it is sent.
    ///
    /// # Errors
    /// If gRPC cannot start it.
    pub fn start(methods: &[&str]) -> grpcio::Result<FakeService> {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        FakeService::with(FakeSettings { methods, ..FakeSettings::default() })
    }

    /// A server with these settings.
    ///
    /// # Errors
    /// If gRPC cannot start it, because the port is taken for instance.
    pub fn with(settings: FakeSettings) -> grpcio::Result<FakeService> {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("fake").build());
        let script = Arc::new(Script::default());
        let (port, server) = listen(&settings, settings.port, &environment, &script)?;
        Ok(FakeService { port, settings, environment, script, server: Some(server) })
    }

    /// Its port, which stays the same over [`stop`](Self::stop).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next call of a method that has no answer yet has this one.
    pub fn next(&self, method: &str, answer: Answer) {
        self.script.next(method, answer);
    }

    /// Calls of a method for which [`next`](Self::next) has nothing have this answer from now on.
    pub fn always(&self, method: &str, answer: Answer) {
        self.script.always(method, answer);
    }

    /// How many calls of a method have come.
    pub fn calls(&self, method: &str) -> usize {
        self.script.calls(method)
    }

    /// The last calls, at most 1000, the oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.script.received()
    }

    /// How many connections have made calls.
    pub fn connections(&self) -> usize {
        self.script.peers()
    }

    /// Stops it: connections are closed, and new ones refused.
    pub fn stop(&mut self) {
        self.script.forget();
        self.server = None;
    }

    /// Starts it again on the same port, if it is stopped.
    ///
    /// # Errors
    /// If somebody has taken the port meanwhile.
    pub fn start_again(&mut self) -> grpcio::Result<()> {
        if self.server.is_none() {
            let again = listen(&self.settings, self.port, &self.environment, &self.script)?;
            self.server = Some(again.1);
        }
        Ok(())
    }
}

impl Drop for FakeService {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for FakeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeService").field("port", &self.port).finish_non_exhaustive()
    }
}

fn listen(
    settings: &FakeSettings,
    port: u16,
    environment: &Arc<Environment>,
    script: &Arc<Script>,
) -> grpcio::Result<(u16, Server)> {
    let mut service = ServiceBuilder::new();
    for method in &settings.methods {
        // gRPC takes names that live for ever. A test has few of them.
        let name: &'static str = Box::leak(method.clone().into_boxed_str());
        let script = Arc::clone(script);
        service = service.add_unary_handler(&raw(name), move |ctx, request, sink| {
            script.answer(name, &ctx, request, sink);
        });
    }
    let mut arguments = ChannelBuilder::new(Arc::clone(environment)).reuse_port(false);
    if let Some(age) = settings.max_connection_age_ms {
        let age = i32::try_from(age).unwrap_or(i32::MAX);
        arguments = arguments.raw_cfg_int(c"grpc.max_connection_age_ms".to_owned(), age);
    }
    let mut server = ServerBuilder::new(Arc::clone(environment))
        .register_service(service.build())
        .channel_args(arguments.build_args())
        .build()?;
    let port = server.add_listening_port(format!("127.0.0.1:{port}"), credentials(settings))?;
    server.start();
    Ok((port, server))
}

fn credentials(settings: &FakeSettings) -> ServerCredentials {
    let Some(tls) = &settings.tls else {
        return ServerCredentials::insecure();
    };
    let mut builder = ServerCredentialsBuilder::new();
    if let Some(ca) = &tls.client_ca {
        let kind = CertificateRequestType::RequestAndRequireClientCertificateAndVerify;
        builder = builder.root_cert(ca.clone(), kind);
    }
    builder.add_cert(tls.cert.clone(), tls.key.clone()).build()
}
