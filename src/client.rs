//! Clients of gRPC services, for programs that use threads.
//!
//! [`ConnectionManager`] keeps a pool of HTTP/2 connections to each service, lends them to any
//! grpcio stub, sees at once when one is lost, and connects again. [`service`] speaks with this
//! project's own service.
//!
//! ```no_run
//! use connection_pool_manager::client::{ConnectionManager, PoolError, ServiceConfig};
//!
//! fn main() -> Result<(), PoolError> {
//!     let manager = ConnectionManager::new()?;
//!     let mut users = ServiceConfig::new("localhost", 50051);
//!     users.pool.size = 4;
//!     let users = manager.add("users", &users)?;
//!     let connection = users.get()?; // Connected, and nobody else's until it is dropped.
//!     let _channel = connection.channel().clone(); // For any grpcio stub.
//!     let _options = connection.options(); // With the time limit of a call.
//!     drop(connection);
//!     println!("{}", users.status());
//!     manager.close();
//!     Ok(())
//! }
//! ```
//!
//! # How a connection lives
//!
//! Each connection is a channel of its own with a TCP connection of its own, to one address: names
//! are looked up here, and followed when they stand for others. When it is lost,
//! gRPC tells at once, and it is connected again at once; when that fails, one connection for
//! each address, the scout, tries again after a pause that grows, and as soon as it stands the
//! others follow. A connection that is lent is never dropped under its user, because a call that
//! waits on a dropped channel hangs.
//!
//! # Threads and locks
//!
//! `grpc-client-N` (at most 2 for the process) are gRPC's own; `grpc-keeper`, one for each
//! manager, dials and sees what became of the channels; `resolver` looks a name up, and ends. The
//! lock of a pool is held for some arithmetic, never over gRPC, a log line or the drop of a
//! channel.

pub mod service;
#[cfg(feature = "client-testing")]
pub mod testing;

mod manager;
mod pool;

mod call;
mod hedge;
pub mod stream;
mod unary;
mod way;

mod connection;
mod context;
mod descriptors;
mod keeper;
mod shared;

mod channel;
mod core_log;
mod dialer;
mod runtime;
mod tls;
mod watch;

mod bell;
mod dice;
mod resolver;
mod seat;
mod wait;

mod balance;
mod borrower;
mod breakers;
mod budget;
mod call_error;
mod config;
pub mod deadline;
mod destination;
mod directory;
mod endpoint;
mod error;
mod headers;
pub mod interceptor;
mod lineup;
mod metrics;
mod observer;
mod options;
mod outlier;
mod pick;
mod plan;
mod probe;
mod raw;
mod reporter;
mod retry;
mod spread;
mod status;

pub use balance::Balance;
pub use borrower::ThreadName;
pub use call::Reply;
pub use call_error::{Cause, Code, Delivery, Error, RpcError};
pub use config::{
    BreakerConfig, BudgetConfig, CallConfig, Checked, Compression, Config, ConnectionConfig,
    Credentials, EventsConfig, HealthConfig, Hedge, MethodPolicy, Methods, PoolConfig, RetryConfig,
    ServiceConfig, SettingInfo, Tls, TlsMode,
};
pub use connection::Connection;
pub use core_log::redirect_log;
pub use endpoint::{Endpoint, Scheme};
pub use error::{ConfigError, Fault, Holder, PoolError};
pub use interceptor::{Interceptor, Interceptors};
pub use manager::{ConnectionManager, Reloaded};
pub use metrics::ClientMetrics;
pub use observer::{Event, Observer};
pub use options::{CallOptions, CheckoutOptions};
pub use outlier::OutlierConfig;
pub use pick::{Offer, Pick, Picker};
pub use pool::{Pool, Ready};
pub use raw::raw;
pub use resolver::{Resolve, Resolver};
pub use status::{ConnectionStatus, PoolMetrics, PoolStatus, ServiceHealth};
