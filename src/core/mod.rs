//! The pure core: what the pool decides, without what it does.
//!
//! Every type here is plain data with `&mut self` methods. The present comes in as `now`, and what
//! is to be done comes out as a value: an item that was granted a permit, a checkout to reset, an
//! operation to cancel. The shell around the core holds the locks, reads the clock and acts.
//!
//! Invariant: nothing in here does I/O, reads a clock, takes a lock, starts a thread, logs or draws
//! a random number, and nothing in here imports another module of this crate. All of it can
//! therefore be tested without waiting and without a server.
//!
//! `now` may be a little older than in the call before, because callers read the clock before they
//! take a lock. No method panics or loses an item over that.

pub mod access;
pub mod allowed_hosts;
pub mod ids;
pub mod transaction;

pub mod budget;

pub mod deadlines;
pub mod wait_queue;

pub mod callers;
pub mod channels;
pub mod connections;
pub mod gate;
pub mod lookup_slots;
pub mod servers;
pub mod shares;
pub mod token_bucket;
pub mod watchers;

pub mod lease_table;

pub mod backoff;
pub mod breaker;
pub mod health;
pub mod losses;

pub mod expiring_map;
pub mod logins;
pub mod warmth;

pub mod json;
pub mod log_line;
pub mod quoted;
pub mod repeats;
pub mod secs;
pub mod sql;
pub mod text;
pub mod value;

#[cfg(test)]
pub(crate) mod testing {
    //! Times, random numbers and names for the tests.

    use super::ids::{ConnectionId, TenantId};
    use super::lease_table::{LeaseFacts, Via};
    use std::time::{Duration, Instant};

    /// Some moment to count from. No test reads the clock a second time.
    #[allow(clippy::disallowed_methods)] // An `Instant` cannot be made out of nothing.
    pub fn start() -> Instant {
        Instant::now()
    }

    pub fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A seeded generator for the random runs, so that a failure can be repeated.
    pub struct Xorshift(u64);

    impl Xorshift {
        pub fn new(seed: u64) -> Self {
            // The state must not be zero, or every number would be.
            Xorshift(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
        }

        /// A number in `0..bound`.
        pub fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % bound
        }
    }

    /// The tenant of all leases below.
    pub fn tenant() -> TenantId {
        TenantId::parse("shop").unwrap()
    }

    /// The name of lease `n`.
    pub fn id(n: u32) -> ConnectionId {
        ConnectionId::new(&tenant(), u128::from(n).to_be_bytes())
    }

    /// What is public about lease `n`.
    pub fn facts(n: u32) -> LeaseFacts {
        LeaseFacts {
            lease_name: format!("lease-{n}"),
            tenant: tenant(),
            backend_pid: n as i32,
            fencing_token: u64::from(n),
            holder: "me".to_string(),
            peer: "ipv4:192.0.2.1:5000".to_string(),
            identity: None,
            via: Via::Call,
        }
    }
}

#[cfg(test)]
mod tests;
