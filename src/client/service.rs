//! A small Rust client of this service: what the demo and the tests speak with.
//!
//! Calls block. Requests and answers are the generated messages of
//! [`crate::proto`].

pub mod copy;
pub mod listen;
pub mod query;
mod security;
pub mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{CallOption, Channel, Environment, Metadata};
use protobuf::Message;

use crate::proto::connection_pool::{
    ConnectionPoolMetricsRequest, ConnectionPoolMetricsResponse, ConnectionRelease,
    ConnectionRequest, ConnectionResponse, HealthCheckRequest, HealthCheckResponse,
    ReleaseResponse, RenewRequest, RenewResponse, StatsRequest, StatsResponse,
};
use crate::proto::connection_pool_grpc::ConnectionPoolServiceClient;
use crate::proto::error_details::ErrorInfo;
use crate::proto::errors::{PostgresError, WorkOutcome};
use crate::proto::health_grpc::HealthClient;
use crate::proto::sql::{ExecuteRequest, ExecuteResponse, Statement};
use crate::proto::sql_grpc::SqlServiceClient;
use crate::proto::status::Status;

pub use security::Security;

/// A connection to the service. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pool: ConnectionPoolServiceClient,
    sql: SqlServiceClient,
    health: HealthClient,
    timeout: Duration,
    /// What each call brings along.
    metadata: Option<Metadata>,
}

/// A call that failed.
#[derive(Debug)]
pub struct CallError {
    /// gRPC's code, as a number.
    pub code: i32,
    /// gRPC's text.
    pub message: String,
    /// Why, as a name of `connectionpool.Reason`.
    pub reason: String,
    /// Facts beside it.
    pub info: Option<Box<ErrorInfo>>,
    /// What became of the work.
    pub work: Option<Box<WorkOutcome>>,
    /// PostgreSQL's words.
    pub postgres: Option<Box<PostgresError>>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {}, {})", self.message, self.code, self.reason)
    }
}

impl std::error::Error for CallError {}

impl From<grpcio::Error> for CallError {
    fn from(error: grpcio::Error) -> CallError {
        // The second is returned to a message that was sent after the call had ended.
        let (grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status))) = error
        else {
            return CallError::unexpected(&error.to_string());
        };
        let details = Status::parse_from_bytes(status.details()).unwrap_or_default();
        CallError {
            code: status.code().into(),
            message: status.message().to_owned(),
            ..CallError::from(details)
        }
    }
}

impl CallError {
    fn unexpected(message: &str) -> CallError {
        CallError {
            code: 2,
            message: message.to_owned(),
            reason: String::new(),
            info: None,
            work: None,
            postgres: None,
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> CallError {
        let mut said = CallError { code: status.code, ..CallError::unexpected(&status.message) };
        for any in &status.details {
            said.info = any.unpack().ok().flatten().map(Box::new).or(said.info);
            said.work = any.unpack().ok().flatten().map(Box::new).or(said.work);
            said.postgres = any.unpack().ok().flatten().map(Box::new).or(said.postgres);
        }
        if let Some(info) = &said.info {
            said.reason.clone_from(&info.reason);
        }
        said
    }
}

type CallResult<T> = Result<T, CallError>;

impl Client {
    /// A client of the service at `host:port`. Connects with the first call.
    pub fn new(environment: &Arc<Environment>, address: &str, security: &Security<'_>) -> Client {
        Client::on(security.channel(environment, address))
    }

    /// A client on a channel that is there.
    pub fn on(channel: Channel) -> Client {
        Client {
            pool: ConnectionPoolServiceClient::new(channel.clone()),
            sql: SqlServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
            timeout: Duration::from_secs(60),
            metadata: None,
        }
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        Client { timeout, ..self.clone() }
    }

    /// What each call is made with: its time limit and the token, also for calls by the stubs.
    pub fn options(&self) -> CallOption {
        let options = CallOption::default().timeout(self.timeout).wait_for_ready(true);
        match &self.metadata {
            Some(metadata) => options.headers(metadata.clone()),
            None => options,
        }
    }

    /// The generated stub, for calls in the background.
    pub fn pool_stub(&self) -> &ConnectionPoolServiceClient {
        &self.pool
    }

    /// The generated stub, for calls in the background.
    pub fn sql_stub(&self) -> &SqlServiceClient {
        &self.sql
    }

    /// Leases a connection with the defaults.
    ///
    /// # Errors
    /// What the service says.
    pub fn acquire(&self, tenant: &str, dsn: &str) -> CallResult<ConnectionResponse> {
        self.acquire_with(&ConnectionRequest {
            tenant_id: tenant.to_owned(),
            dsn: dsn.to_owned(),
            ..ConnectionRequest::default()
        })
    }

    /// Leases a connection.
    ///
    /// # Errors
    /// What the service says.
    pub fn acquire_with(&self, request: &ConnectionRequest) -> CallResult<ConnectionResponse> {
        Ok(self.pool.get_connection(request, self.options())?)
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// What the service says.
    pub fn release(&self, connection_id: &str) -> CallResult<ReleaseResponse> {
        self.release_with(connection_id, false)
    }

    /// Ends a lease; with `force` also a busy one.
    ///
    /// # Errors
    /// What the service says.
    pub fn release_with(&self, connection_id: &str, force: bool) -> CallResult<ReleaseResponse> {
        let request = ConnectionRelease {
            connection_id: connection_id.to_owned(),
            force,
            ..ConnectionRelease::default()
        };
        Ok(self.pool.release_connection(&request, self.options())?)
    }

    /// Restarts a lease's time to live.
    ///
    /// # Errors
    /// What the service says.
    pub fn renew(&self, request: &RenewRequest) -> CallResult<RenewResponse> {
        Ok(self.pool.renew_connection(request, self.options())?)
    }

    /// A tenant's figures.
    ///
    /// # Errors
    /// What the service says.
    pub fn stats(&self, tenant: &str) -> CallResult<StatsResponse> {
        let request = StatsRequest { tenant_id: tenant.to_owned(), ..StatsRequest::default() };
        Ok(self.pool.get_pool_stats(&request, self.options())?)
    }

    /// How well the service is, or one tenant.
    ///
    /// # Errors
    /// What the service says.
    pub fn health(&self, tenant: &str) -> CallResult<HealthCheckResponse> {
        let request =
            HealthCheckRequest { tenant_id: tenant.to_owned(), ..HealthCheckRequest::default() };
        Ok(self.pool.health_check(&request, self.options())?)
    }

    /// Numbers of all pools, or of one tenant's.
    ///
    /// # Errors
    /// What the service says.
    pub fn pool_metrics(&self, tenant: &str) -> CallResult<ConnectionPoolMetricsResponse> {
        let request = ConnectionPoolMetricsRequest {
            tenant_id: tenant.to_owned(),
            ..ConnectionPoolMetricsRequest::default()
        };
        Ok(self.pool.get_connection_pool_metrics(&request, self.options())?)
    }

    /// The generated stub of the standard health service.
    pub fn health_stub(&self) -> &HealthClient {
        &self.health
    }

    /// Runs statements.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    pub fn execute(&self, request: &ExecuteRequest) -> CallResult<ExecuteResponse> {
        Ok(self.sql.execute(request, self.options())?)
    }

    /// Runs statements without parameters on a lease.
    ///
    /// # Errors
    /// What the service, or PostgreSQL, says.
    pub fn run(&self, connection_id: &str, statements: &[&str]) -> CallResult<ExecuteResponse> {
        self.execute(&ExecuteRequest {
            connection_id: connection_id.to_owned(),
            statements: statements.iter().map(|sql| statement(sql)).collect(),
            ..ExecuteRequest::default()
        })
    }
}

/// A statement without parameters.
pub fn statement(sql: &str) -> Statement {
    Statement { sql: sql.to_owned(), ..Statement::default() }
}

/// One value of a result as text, for people: row and column from 0.
pub fn text_at(response: &ExecuteResponse, result: usize, row: usize, column: usize) -> String {
    use crate::proto::sql::value::Kind;
    let value = response
        .results
        .get(result)
        .and_then(|result| result.rows.get(row))
        .and_then(|row| row.values.get(column))
        .and_then(|value| value.kind.as_ref());
    match value {
        None => "(none)".to_owned(),
        Some(Kind::Null(_)) => "NULL".to_owned(),
        Some(Kind::Bool(v)) => v.to_string(),
        Some(Kind::Int(v)) => v.to_string(),
        Some(Kind::Double(v)) => v.to_string(),
        Some(Kind::Text(v)) => v.clone(),
        Some(Kind::Bytes(v)) => format!("{} bytes", v.len()),
        Some(other) => format!("{other:?}"),
    }
}
