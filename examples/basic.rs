//! A pool of connections to any gRPC service, and calls on it.
//!
//! `cargo run --example basic -- HOST:PORT /package.Service/Method` calls a method of a service
//! with an empty message; without arguments it starts an echo service of its own.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use connection_pool_manager::client::{raw, CallOptions, ConnectionManager};
use grpcio::{
    ChannelBuilder, Client, Environment, Server, ServerBuilder, ServerCredentials, ServiceBuilder,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run(&args)
}

/// What the program does; a test does it, too.
pub fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let own = if args.is_empty() { Some(echo()?) } else { None };
    let (address, name) = match (&own, args) {
        (Some((_, port)), _) => (format!("127.0.0.1:{port}"), "/example.Echo/Say".to_owned()),
        (None, [address, method]) => (address.clone(), method.clone()),
        _ => return Err("usage: basic [HOST:PORT /package.Service/Method]".into()),
    };
    // gRPC keeps names of methods for ever.
    let method = raw(Box::leak(name.into_boxed_str()));

    let manager = ConnectionManager::new()?;
    // Connected, and lent to us alone until it is dropped. Any stub is made of its channel.
    let connection = manager.get_connection("echo", &address)?;
    let client = Client::new(connection.channel().clone());
    let answer = client.unary_call(&method, &Vec::new(), connection.options())?;
    println!("a stub's call on one connection: {} bytes", answer.len());
    drop(connection);

    // A call that may be repeated, and may take half a second in all.
    let pool = manager.pool("echo")?;
    let options = CallOptions::new().idempotent().timeout(Duration::from_millis(500));
    let reply = pool.exchange(&method, &Vec::new(), &options)?;
    println!("a pooled call: {} bytes, attempts: {}", reply.message.len(), reply.attempts);

    println!("{}", pool.status());
    manager.close();
    Ok(())
}

/// A service that answers with what it is sent, and its port.
fn echo() -> grpcio::Result<(Server, u16)> {
    let environment = Arc::new(Environment::new(1));
    let service = ServiceBuilder::new()
        .add_unary_handler(&raw("/example.Echo/Say"), |ctx, request: Vec<u8>, sink| {
            ctx.spawn(async move { drop(sink.success(request).await) });
        })
        .build();
    let arguments = ChannelBuilder::new(Arc::clone(&environment)).reuse_port(false);
    let mut server = ServerBuilder::new(environment)
        .register_service(service)
        .channel_args(arguments.build_args())
        .build()?;
    let port = server.add_listening_port("127.0.0.1:0", ServerCredentials::insecure())?;
    server.start();
    Ok((server, port))
}
