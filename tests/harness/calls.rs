//! Leases that are held, and calls in the background.

use std::time::Duration;

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::embedded::Embedded;
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, ConnectionResponse, StatsResponse,
};
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use super::{code, eventually, millis, postgres, Service, Tenant, PATIENCE};

/// A lease and the client that holds it.
pub struct Held {
    pub client: Client,
    pub id: String,
    pub pid: i32,
}

impl Service {
    /// Leases a connection of the tenant.
    pub fn lease(&self, tenant: &Tenant) -> Held {
        let client = self.client();
        let granted = client.acquire(&tenant.name, &tenant.dsn).expect("a lease");
        let pid = granted.lease.backend_pid;
        Held { client, id: granted.connection_id, pid }
    }
}

impl Held {
    /// Runs statements that must succeed.
    #[track_caller]
    pub fn run(&self, statements: &[&str]) -> ExecuteResponse {
        self.client
            .run(&self.id, statements)
            .unwrap_or_else(|error| panic!("{statements:?}: {error}"))
    }

    /// Runs statements that must fail.
    #[track_caller]
    pub fn fails(&self, statements: &[&str]) -> CallError {
        match self.client.run(&self.id, statements) {
            Ok(_) => panic!("{statements:?} succeeded"),
            Err(error) => error,
        }
    }

    /// The first value of one statement's result, as text.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        connection_pool_manager::client::service::text_at(&self.run(&[sql]), 0, 0, 0)
    }
}

/// A call in the background; dropped, it is cancelled.
pub type Later<T> = grpcio::ClientUnaryReceiver<T>;

fn patient() -> grpcio::CallOption {
    grpcio::CallOption::default().timeout(5 * PATIENCE).wait_for_ready(true)
}

/// Asks for a lease and does not wait.
pub fn acquire_later(client: &Client, request: &ConnectionRequest) -> Later<ConnectionResponse> {
    client.pool_stub().get_connection_async(request, patient()).expect("a call")
}

/// Runs statements and does not wait.
pub fn execute_later(client: &Client, request: &ExecuteRequest) -> Later<ExecuteResponse> {
    client.sql_stub().execute_async(request, patient()).expect("a call")
}

/// What came of a call in the background.
pub fn answer<T: Unpin>(call: Later<T>) -> Result<T, CallError> {
    Ok(futures_executor::block_on(call)?)
}

/// The delay of the RetryInfo in a failed call's details.
pub fn retry_delay(error: &grpcio::Error) -> Option<Duration> {
    use connection_pool_manager::proto::{error_details::RetryInfo, status::Status};
    use protobuf::Message;
    let grpcio::Error::RpcFailure(status) = error else {
        return None;
    };
    let details = Status::parse_from_bytes(status.details()).ok()?.details;
    let found: Option<RetryInfo> = details.iter().find_map(|any| any.unpack().ok().flatten());
    found.map(|info| Duration::new(info.retry_delay.seconds as u64, info.retry_delay.nanos as u32))
}

/// Backends of the service in this database that run a statement with this text.
pub fn running_on(postgres: &Embedded, database: &str, text: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' \
         and application_name like 'connpool/%' and state = 'active' and query like '%{text}%'"
    );
    postgres.sql("postgres", &sql).expect("SQL runs").trim().parse().expect("a number")
}

impl Tenant {
    /// The same tenant with at most so many connections, and none kept warm.
    pub fn pool_of(mut self, max: usize) -> Tenant {
        self.dsn += &format!(" pool_max_conns={max} pool_min_conns=0");
        self
    }

    /// Its backends that run a statement with this text.
    pub fn running(&self, text: &str) -> usize {
        running_on(postgres(), &self.name, text)
    }
}

impl Service {
    /// Waits until the tenant's figures are such.
    pub fn wait_stats(&self, tenant: &str, what: &str, holds: impl Fn(&StatsResponse) -> bool) {
        let client = self.client();
        eventually(what, || holds(&client.stats(tenant).expect("stats")));
    }

    /// A lease of such terms.
    pub fn lease_with(&self, request: &ConnectionRequest) -> Held {
        let client = self.client();
        let granted = client.acquire_with(request).expect("a lease");
        let pid = granted.lease.backend_pid;
        Held { client, id: granted.connection_id, pid }
    }

    /// True while the tenant is registered.
    pub fn knows(&self, tenant: &str) -> bool {
        match self.client().stats(tenant) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.reason, "TENANT_NOT_FOUND", "{error}");
                false
            }
        }
    }
}

impl Held {
    /// Runs a statement and does not wait.
    pub fn run_later(&self, sql: &str) -> Later<ExecuteResponse> {
        let request = ExecuteRequest {
            connection_id: self.id.clone(),
            statements: vec![connection_pool_manager::client::service::statement(sql)],
            timeout: millis(3_600_000),
            ..ExecuteRequest::default()
        };
        execute_later(&self.client, &request)
    }

    /// Ends the lease.
    #[track_caller]
    pub fn release(&self) {
        self.client.release(&self.id).expect("the release succeeds");
    }

    /// How the lease ended, in the words of the refusal of whatever comes late.
    #[track_caller]
    pub fn end_reason(&self) -> String {
        let error = self.fails(&["select 1"]);
        assert_eq!((error.code, error.reason.as_str()), (code::FAILED_PRECONDITION, "LEASE_ENDED"));
        error.info.expect("an ErrorInfo").metadata.remove("end_reason").expect("a reason")
    }
}
