//! Leases real PostgreSQL connections to many tenants over gRPC.
//!
//! One process, synchronous threads. A client leases a connection, runs SQL over
//! the lease, renews and releases it. Four promises carry the design:
//!
//! 1. **A lease is real.** One lease is one backend of that tenant, used by no
//!    one else until it ends; afterwards the backend is clean, or closed.
//! 2. **One tenant never hurts another.** No step that can block (connect, SQL,
//!    close, cancel) runs on a thread, in a queue or under a lock that another
//!    tenant needs.
//! 3. **Every request is answered exactly once**, on success, error, panic,
//!    drop, expiry and drain.
//! 4. **Nothing of unknown state is reused.** A backend counts as dirty from the
//!    moment it is taken; only a checked reset makes it clean again.
//!
//! # Words
//!
//! *tenant*: a customer with one DSN and one pool · *backend*: one live PostgreSQL
//! connection · *permit*: one of the tenant's rights to have a backend in use ·
//! *waiter*: a request parked for a permit, never a thread · *lease*: the
//! time-limited right to one backend · *checkout*: a backend with its permit ·
//! *operation*: one request's work on a backend · *worker*: a thread that may
//! block on PostgreSQL · *server*: an address that backends are connected to,
//! perhaps of many tenants · *seat*: one backend's place at its server.
//!
//! # The path of a request
//!
//! Every call comes in by `rpc::calls::entry`: its request must arrive in time, is inspected
//! and decoded, a large one by a worker (`pool::conversions`). gRPC's thread then looks
//! the tenant up (`pool::registry`) and asks its gate: granted, queued or refused, in
//! one short lock. With a permit, one for a lease and a one-shot get an idle backend at once if
//! that needs no check; all others join the tenant's line, and a worker takes
//! an idle backend, or opens one itself and adds it to r2d2 (`pool::store` says why), for
//! the first request in line. If the server is full, the request waits in line there, and
//! an idle backend is closed for it (`pool::servers`). The backend becomes a lease in the
//! lease table, or runs a one-shot's SQL. An operation *moves* the checkout out of the lease
//! table and back, so two can never share it. A statement that is prepared and alone is sent at
//! once; one thread reads the short answers of all of these, and of resets
//! (`pool::work::awaited`, `threads::socket_waits`); that of the only call in the service is
//! first awaited for a moment by gRPC's thread. A worker runs everything else, and what
//! comes as a long answer or an error. At the end the backend is reset and is idle
//! again, and the permit passes straight to the oldest waiter.
//!
//! A `Session` stream is one future that owns its lease (`rpc::calls::session`,
//! `pool::stream`): however it ends, dropping it ends the lease. A `Query`
//! or `CopyOut` passes its data to a bounded pipe as it arrives (`rpc::streams`,
//! `pool::work::outlet`), so that a slow reader slows down PostgreSQL and nothing else; a
//! `CopyIn` has such a pipe in the other direction (`rpc::calls::copy_in`). All `Listen` calls of a
//! tenant share one backend, which one worker serves (`pool::listen`).
//!
//! `backend` speaks with PostgreSQL: the driver logs in over a borrowed stream
//! (`backend::lent`) and is dropped; after that `backend::conversation` writes, sends and
//! reads statements, with `pgwire` for the bytes. Several messages share one write where
//! no promise depends on the answer between them (`backend::pg::ahead`); so do requests of a
//! `Session` that wait (`backend::pg::pipeline`).
//!
//! A caller that disconnects is noticed (`rpc::calls::entry`): its waiter leaves the queue, its
//! statement is cancelled, a grant that cannot be delivered is taken back.
//!
//! # Invariants
//!
//! - Open backends of a tenant never exceed its permits, in all of its pools: one that is
//!   replaced behind its gate (`pool::backends`) drains while the next is in use.
//! - A permit is held from before the connect until the backend is at rest or
//!   closed; `Permit` gives itself back when dropped.
//! - Locks: the registry's map, a tenant's gate, the lease table: never two at
//!   once, never over I/O, logging or the drop of a checkout. All others are
//!   leaves (`lock::Leaf`), held for a few instructions; `pool::store`'s is held while r2d2
//!   moves a value that lies ready.
//! - Imports go down only: `cli → server → {rpc, http} → runtime → pool →
//!   backend → {pgwire, metrics, config, core}`; `core` and `pgwire` are pure. A test
//!   reads it from the source, and that files do not name each other in rings.

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;
#[cfg(all(feature = "server", feature = "client-testing"))]
pub mod testkit;

#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod rpc;

#[cfg(feature = "server")]
mod runtime;

#[cfg(feature = "server")]
mod pool;

#[cfg(feature = "server")]
mod backend;

#[cfg(feature = "server")]
mod pgwire;

#[cfg(feature = "server")]
pub mod config;
// A client alone uses a part of it.
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod core;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod metrics;
pub mod proto;

// A client alone uses a part of it.
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod clock;
#[cfg(feature = "server")]
pub mod dev_certs;
#[cfg(feature = "server")]
pub mod embedded;
#[cfg(feature = "server")]
mod listener;
mod lock;
#[cfg(feature = "server")]
mod logging;
#[cfg(feature = "server")]
mod random;
// A client alone uses a part of it.
#[allow(dead_code, unused_imports)]
mod settings;
// A client alone uses a part of it.
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod threads;

/// What benchmarks measure of the inside. Not for others: it changes without notice.
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod engine {
    pub use crate::backend::connect::{Connect, PgConnect};
    pub use crate::backend::door::Door;
    pub use crate::backend::dsn_reach::DsnReach;
    pub use crate::backend::logins::{Logins, Tries};
    pub use crate::backend::notice::Notices;
    pub use crate::backend::session::{Backend, Rows, RunError};
    pub use crate::backend::statement::{Coming, Follower, Statement};
    pub use crate::backend::stream::watch::Watch;
    pub use crate::backend::tls::BackendTls;
    pub use crate::core::callers::CallerId;
    pub use crate::core::ids::TenantId;
    pub use crate::core::lookup_slots::Asker;
    pub use crate::core::value::{Column, Value};
    pub use crate::error::ConnectError;
    pub use crate::pgwire::row::RawRow;
    pub use crate::pgwire::values::Shape;

    /// The table of all leases.
    pub mod lease_table {
        pub use crate::core::ids::ConnectionId;
        pub use crate::core::lease_table::{LeaseFacts, LeaseTable, Left, Terms, Via};
    }
}
