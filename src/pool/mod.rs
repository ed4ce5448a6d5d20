//! Tenants, their pools, and the leases: what a request passes through between
//! the network and PostgreSQL.

pub mod ask;
mod backends;
mod busy;
pub mod caller;
pub mod context;
pub mod conversions;
pub mod figures;
pub mod grant;
pub mod health;
pub mod identity;
mod idle;
pub mod job;
pub mod leases;
pub mod listen;
mod manager;
pub mod memory;
mod naps;
mod on_lease;
mod one_shot;
mod opener;
pub mod peers;
pub mod port;
mod probe;
mod provenance;
pub mod registry;
pub mod requests;
pub mod retries;
pub mod servers;
pub mod service;
pub mod serving;
pub mod store;
pub mod stream;
pub mod tenant;
#[cfg(test)]
mod tests;
pub mod tools;
mod turn;
mod upkeep;
pub mod waiting_room;
pub mod work;
