//! Leases that are held, and calls in the background.

use std::time::Duration;

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, ConnectionResponse, StatsResponse,
};
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use super::{eventually, Service, Tenant};

/// A GetConnection request.
pub fn request(tenant: &Tenant) -> ConnectionRequest {
    ConnectionRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        ..ConnectionRequest::default()
    }
}

/// A protobuf duration.
pub fn millis(ms: u64) -> protobuf::MessageField<protobuf::well_known_types::duration::Duration> {
    let duration = Duration::from_millis(ms);
    let mut wire = protobuf::well_known_types::duration::Duration::new();
    wire.seconds = duration.as_secs() as i64;
    wire.nanos = duration.subsec_nanos() as i32;
    Some(wire).into()
}

/// The error of a call that must fail.
#[track_caller]
pub fn refused<T>(answer: Result<T, CallError>) -> CallError {
    match answer {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error,
    }
}

/// gRPC codes by name.
pub mod code {
    pub const CANCELLED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const NOT_FOUND: i32 = 5;
    pub const ALREADY_EXISTS: i32 = 6;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const ABORTED: i32 = 10;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
    pub const DATA_LOSS: i32 = 15;
    pub const UNAUTHENTICATED: i32 = 16;
}

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

/// Asks for a lease and does not wait.
pub fn acquire_later(client: &Client, request: &ConnectionRequest) -> Later<ConnectionResponse> {
    client.pool_stub().get_connection_async(request, client.options()).expect("a call")
}

/// A request that waits as long as a request may.
pub fn parked(tenant: &Tenant) -> ConnectionRequest {
    ConnectionRequest { wait_timeout: millis(300_000), ..request(tenant) }
}

/// Asks for so many leases and does not wait.
pub fn park(client: &Client, tenant: &Tenant, count: usize) -> Vec<Later<ConnectionResponse>> {
    (0..count).map(|_| acquire_later(client, &parked(tenant))).collect()
}

/// Runs statements and does not wait.
pub fn execute_later(client: &Client, request: &ExecuteRequest) -> Later<ExecuteResponse> {
    client.sql_stub().execute_async(request, client.options()).expect("a call")
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
