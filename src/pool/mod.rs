//! Tenants, their pools, and the leases: what a request passes through between
//! the network and PostgreSQL.

pub mod alarms;
mod backends;
pub mod caller;
pub mod context;
pub mod execute;
pub mod figures;
pub mod job;
pub mod leases;
pub mod operation;
mod progress;
pub mod registry;
pub mod service;
pub mod store;
pub mod tenant;
#[cfg(test)]
mod tests;
mod upkeep;
pub mod workers;
