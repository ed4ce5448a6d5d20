//! Tenants, their pools, and the leases: what a request passes through between
//! the network and PostgreSQL.

pub mod access;
pub mod account;
mod acquainted;
pub mod admin;
pub mod ask;
pub mod backends;
mod busy;
pub mod caller;
pub mod context;
pub mod conversions;
pub mod grant;
pub mod identity;
pub mod job;
pub mod keeping;
mod lease_log_line;
pub mod leases;
mod line;
pub mod listen;
mod manager;
pub mod memory;
pub mod numbers;
mod on_lease;
mod one_shot;
mod open_backends;
mod opener;
pub mod peers;
pub mod port;

pub mod rates;
pub mod registry;
pub mod reloading;
pub mod report;
pub mod requests;
pub mod retries;
pub mod servers;
pub mod service;
pub mod serving;
pub mod session;
pub mod snapshot;
mod state_writer;
pub mod store;
pub mod stream;
pub mod tenant;
#[cfg(test)]
mod tests;
pub mod tools;
pub mod waiting_room;
pub mod work;
