//! For tests of programs that use the service: the service with a PostgreSQL of its own.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use connection_pool_manager::client::Pool;
//! use connection_pool_manager::testkit::TestService;
//!
//! let service = TestService::start()?;
//! let dsn = service.tenant("acme", "secret")?; // A database and a role.
//! let pool = Pool::open("pools", &service.client_config())?;
//! // … calls of connectionpool.ConnectionPoolService with this DSN …
//! # drop((dsn, pool));
//! service.stop();
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::client::ServiceConfig;
use crate::config::{GrpcTls, ServerConfig};
use crate::embedded::{Embedded, EmbeddedError, Options};
use crate::server::{Server, StartError};

/// The service on this machine, in plaintext, on free ports, and an ephemeral PostgreSQL. Both end
/// when it is dropped.
pub struct TestService {
    /// `None`: it was stopped.
    server: Option<Server>,
    grpc_port: u16,
    http: SocketAddr,
    postgres: Embedded,
}

/// What could not be started.
#[derive(Debug)]
pub enum TestServiceError {
    /// The PostgreSQL.
    Postgres(EmbeddedError),
    /// The service.
    Service(StartError),
}

impl TestService {
    /// Starts both, which takes a few seconds.
    ///
    /// # Errors
    /// If PostgreSQL's programs are not found, or one of the two does not start.
    pub fn start() -> Result<TestService, TestServiceError> {
        TestService::with(ServerConfig::default())
    }

    /// The same with these settings; where it listens and TLS are not heeded.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and if the settings break a rule.
    pub fn with(config: ServerConfig) -> Result<TestService, TestServiceError> {
        let postgres = Embedded::start(Options::default()).map_err(TestServiceError::Postgres)?;
        let config = ServerConfig {
            listen: Ipv4Addr::LOCALHOST.to_string(),
            port: 0,
            tls: GrpcTls::Insecure,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..config
        };
        let server = Server::start(config).map_err(TestServiceError::Service)?;
        let (grpc_port, http) = (server.grpc_port(), server.http_address());
        Ok(TestService { server: Some(server), grpc_port, http, postgres })
    }

    /// The port of gRPC on 127.0.0.1.
    pub fn grpc_port(&self) -> u16 {
        self.grpc_port
    }

    /// Where health and metrics are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Settings of a client of it.
    pub fn client_config(&self) -> ServiceConfig {
        ServiceConfig::test("127.0.0.1", self.grpc_port)
    }

    /// The PostgreSQL.
    pub fn postgres(&self) -> &Embedded {
        &self.postgres
    }

    /// Makes a role and a database of this name, and returns the DSN.
    ///
    /// # Errors
    /// If PostgreSQL refuses, because the name is taken for instance.
    pub fn tenant(&self, name: &str, password: &str) -> Result<String, EmbeddedError> {
        self.postgres.create_tenant(name, password)?;
        Ok(self.postgres.tenant_dsn(name, password))
    }

    /// Stops the service, and then PostgreSQL. True if all leases had ended in time.
    pub fn stop(mut self) -> bool {
        self.server.take().is_none_or(Server::stop)
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

impl fmt::Debug for TestService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestService").field("grpc_port", &self.grpc_port).finish_non_exhaustive()
    }
}

impl fmt::Display for TestServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TestServiceError::Postgres(_) => "no PostgreSQL could be started",
            TestServiceError::Service(_) => "the service could not be started",
        })
    }
}

impl std::error::Error for TestServiceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TestServiceError::Postgres(error) => Some(error),
            TestServiceError::Service(error) => Some(error),
        }
    }
}
