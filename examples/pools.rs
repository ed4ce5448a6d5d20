//! Several services: from a file, from variables, and from the program; each with a pool of its
//! own.
//!
//! `cargo run --example pools -- clients.toml` opens the services of a file; without one it starts
//! two services of its own. `GRPC_ORDERS_HOST=… GRPC_ORDERS_PORT=…` adds one from variables.

use std::error::Error;

use connection_pool_manager::client::testing::FakeService;
use connection_pool_manager::client::{
    ClientMetrics, Config, ConnectionManager, Ready, ServiceConfig,
};

const GET: &str = "/shop.Users/Get";

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1);
    match file {
        Some(path) => open(Config::from_file(path)?),
        None => run(),
    }
}

/// What the program does; a test does it, too.
pub fn run() -> Result<(), Box<dyn Error>> {
    let (users, payments) = (FakeService::start(&[GET])?, FakeService::start(&[GET])?);
    let text = format!(
        r#"
[defaults]
profile = "test"

[services.users]
host = "127.0.0.1"
port = {}
pool = {{ size = 3 }}

[services.payments]
type = "payments"
host = "127.0.0.1"
port = {}
call = {{ timeout = "2s" }}
"#,
        users.port(),
        payments.port()
    );
    open(Config::parse("clients.toml", &text)?)
}

fn open(mut config: Config) -> Result<(), Box<dyn Error>> {
    // Any of them may be changed, or added.
    if let Ok(orders) = ServiceConfig::from_env_named("orders") {
        config.services.insert("orders".to_owned(), orders);
    }
    for line in config.effective().lines().filter(|line| !line.ends_with("(default)")) {
        println!("{line}");
    }
    // Waits until each has a connection, and names those that have none.
    let manager = ConnectionManager::open(&config, ClientMetrics::new())?;
    for service in manager.services() {
        let pool = manager.pool(&service)?;
        pool.scale_up(1)?;
        pool.await_ready(Ready::All, config.services[&service].pool.open_timeout)?;
        let address = manager.execute(&service, |connection| connection.address())?;
        println!("{service}: {} connections to {address}", pool.metrics().connected);
    }
    for (service, health) in manager.force_health_check() {
        println!("{service}: {} {} {:?}", health.state, health.healthy, health.error);
    }
    println!("{} services have a connection", manager.connections_count());
    manager.close();
    Ok(())
}
