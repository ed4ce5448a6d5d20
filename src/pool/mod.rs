//! Tenants, their pools, and the leases: what a request passes through between
//! the network and PostgreSQL.

pub mod alarms;
mod backends;
pub mod caller;
pub mod context;
pub mod execute;
pub mod figures;
pub mod grant;
pub mod job;
mod kept;
pub mod leases;
pub mod operation;
pub mod outlet;
pub mod peers;
mod progress;
mod provenance;
pub mod registry;
pub mod retries;
pub mod service;
pub mod store;
pub mod stream;
pub mod tenant;
#[cfg(test)]
mod tests;
mod upkeep;
pub mod waiting_room;
pub mod workers;
