//! Connections with TLS: an authority of one's own, the name that a certificate must have, and a
//! certificate of the client.
//!
//! `cargo run --example tls -- HOST:PORT /package.Service/Method CA [SERVER_NAME [CERT KEY]]`
//! calls a method of a service with an empty message. The files are PEM.

use std::error::Error;

use connection_pool_manager::client::{raw, CallOptions, ConnectionManager, ServiceConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run(&args)
}

/// What the program does; a test does it, too.
pub fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [address, name, ca, more @ ..] = args else {
        return Err(
            "usage: tls HOST:PORT /package.Service/Method CA [SERVER_NAME [CERT KEY]]".into()
        );
    };
    // A production service: TLS, or an error. All that is wrong is told before anything is sent.
    let mut config = ServiceConfig::production("localhost");
    config.addresses = vec![address.clone()];
    config.tls.ca_file = Some(ca.clone());
    config.tls.server_name = more.first().cloned();
    config.tls.cert_file = more.get(1).cloned();
    config.tls.key_file = more.get(2).cloned();

    let manager = ConnectionManager::new()?;
    let pool = manager.add("secure", &config)?;
    manager.await_ready(config.pool.open_timeout)?;
    // gRPC keeps names of methods for ever.
    let method = raw(Box::leak(name.clone().into_boxed_str()));
    let answer = pool.call(&method, &Vec::new(), &CallOptions::new())?;
    println!("{} bytes over TLS", answer.len());
    println!("{}", pool.status());
    manager.close();
    Ok(())
}
