//! What becomes of connections: events, status and metrics of a service that stops and comes back.
//!
//! `cargo run --example watch` starts the service itself.

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

use connection_pool_manager::client::testing::FakeService;
use connection_pool_manager::client::{
    raw, CallOptions, ConnectionManager, Event, Ready, ServiceConfig,
};

const GET: &str = "/shop.Users/Get";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    run()
}

/// What the program does; a test does it, too.
pub fn run() -> Result<(), Box<dyn Error>> {
    let mut service = FakeService::start(&[GET])?;
    let manager = ConnectionManager::new()?;
    let (sender, events) = channel();
    manager.on_event(move |event: &Event| {
        // It must not block, and nobody may listen any more.
        let _ = sender.send(event.clone());
    });
    let mut config = ServiceConfig::test("127.0.0.1", service.port());
    config.pool.size = 2;
    config.connection.reconnect_backoff_min = Duration::from_millis(100);
    let users = manager.add("users", &config)?;
    users.await_ready(Ready::All, PATIENCE)?;
    println!("{}", users.status());

    service.stop();
    let mut lost = 0;
    while lost < 2 {
        let event = events.recv_timeout(PATIENCE)?;
        println!("{event:?}");
        lost += usize::from(matches!(event, Event::Disconnected { .. }));
    }
    // Nothing is connected: who asks is told so at once, and why.
    if let Err(error) = users.get() {
        println!("{error}");
    }

    service.start_again()?;
    users.await_ready(Ready::All, PATIENCE)?;
    users.call(&raw(GET), &b"7".to_vec(), &CallOptions::new())?;
    println!("{}", users.status());
    let text = manager.metrics().encode();
    for line in text.lines().filter(|line| line.contains("connects_total{")) {
        println!("{line}");
    }
    println!("{}", text.lines().filter(|line| line.starts_with("grpc_client_disc")).count());
    manager.close();
    Ok(())
}
