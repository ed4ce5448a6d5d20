//! The client of any gRPC service, against services that know nothing of it. Needs no
//! PostgreSQL, and no feature but `client`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod addresses;
mod balance;
mod calls;
mod checkout;
mod config;
mod echo;
#[cfg(feature = "client-testing")]
mod examples;
#[path = "../harness/frames.rs"]
#[allow(dead_code)] // Other tests begin calls by hand.
mod frames;
#[path = "../harness/header_blocks.rs"]
#[allow(dead_code)] // As above.
mod header_blocks;
#[cfg(feature = "client-testing")]
mod health;
mod hedge;
mod hostile;
mod interceptors;
mod log;
mod manager;
mod metrics;
mod outliers;
mod page;
#[cfg(feature = "client-testing")]
#[path = "../harness/pki.rs"]
#[allow(dead_code)] // Other tests have clients with names.
mod pki;
mod policies;
#[path = "../harness/proxy.rs"]
#[allow(dead_code)] // Other tests hold and drip.
mod proxy;
mod recovery;
mod resize;
mod rogue;
mod streams;
#[cfg(feature = "client-testing")]
mod tls;
mod traps;
mod watch;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use connection_pool_manager::client::{Pool, Ready, ServiceConfig};

/// A test that has waited for so long has failed. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    #[allow(clippy::disallowed_methods)] // A test's own limit.
    let until = Instant::now() + PATIENCE;
    // Nobody sends on it: a pause that says only how often to look.
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    while !holds() {
        #[allow(clippy::disallowed_methods)] // As above.
        let now = Instant::now();
        assert!(now < until, "waited in vain: {what}");
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}

/// Runs a test once more in a process of its own, for what concerns the whole of one: there it
/// does `f`, and here it returns what became of it.
pub fn alone(test: &str, variables: &[(&str, &str)], f: impl FnOnce()) -> Option<Output> {
    const MARK: &str = "CLIENT_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        f();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(MARK, "1");
    Some(command.envs(variables.iter().copied()).output().unwrap())
}

/// Settings of a test: plaintext to this port of this machine, so many connections.
pub fn settings(port: u16, size: usize) -> ServiceConfig {
    let mut config = ServiceConfig::test("127.0.0.1", port);
    config.pool.size = size;
    config.connection.reconnect_backoff_min = Duration::from_millis(20);
    config.connection.max_reconnect_delay = Duration::from_millis(200);
    config
}

/// A pool that is connected with all it has.
pub fn ready(config: &ServiceConfig) -> Pool {
    let pool = Pool::open("echo", config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    pool
}
