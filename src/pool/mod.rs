//! Tenants, their pools, and the leases: what a request passes through between
//! the network and PostgreSQL.

pub mod alarms;
mod backends;
mod busy;
pub mod caller;
pub mod context;
pub mod conversions;
pub mod execute;
pub mod figures;
pub mod grant;
pub mod health;
pub mod identity;
mod idle;
pub mod job;
mod kept;
pub mod leases;
pub mod listen;
pub mod memory;
mod naps;
mod on_lease;
mod opener;
pub mod operation;
pub mod outlet;
pub mod peers;
pub mod port;
mod probe;
mod progress;
mod provenance;
pub mod registry;
pub mod retries;
pub mod servers;
pub mod service;
pub mod serving;
pub mod store;
pub mod stream;
pub mod tenant;
#[cfg(test)]
mod tests;
mod turn;
mod upkeep;
pub mod waiting_room;
pub mod workers;

/// A number from 0 to 1, drawn at random: for jitter.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random bytes there is no jitter, which is safe.
    let _ = openssl::rand::rand_bytes(&mut bytes);
    f64::from(u16::from_be_bytes(bytes)) / 65_536.0
}
