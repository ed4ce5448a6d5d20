//! The examples of the page of clients, as they stand there.

use std::error::Error;
use std::time::Duration;

use connection_pool_manager::client::{
    CallOptions, ConnectionManager, Hedge, MethodPolicy, Pool, ServiceConfig,
};
use grpcio::{CallOption, Channel, Client};

use crate::echo::{Echo, JOIN as USERS_IMPORT, LETTERS as USERS_LIST, SAY, TALK as CHAT};
use crate::{ready, settings};

/// A stub, as gRPC's compiler makes it.
struct UsersClient(Client);

impl UsersClient {
    fn new(channel: Channel) -> UsersClient {
        UsersClient(Client::new(channel))
    }

    fn get_opt(&self, request: &Vec<u8>, option: CallOption) -> grpcio::Result<Vec<u8>> {
        self.0.unary_call(&SAY, request, option)
    }

    fn get_async_opt(
        &self,
        request: &Vec<u8>,
        option: CallOption,
    ) -> grpcio::Result<grpcio::ClientUnaryReceiver<Vec<u8>>> {
        self.0.unary_call_async(&SAY, request, option)
    }
}

/// The first lines of the quick start, which name a service that is not there.
fn production() -> Result<Pool, Box<dyn Error>> {
    let manager = ConnectionManager::new()?;
    let users = manager.add("users", &ServiceConfig::production("users.example.com"))?;
    Ok(users)
}

fn quick_start(users: &Pool, manager: &ConnectionManager) -> Result<(), Box<dyn Error>> {
    let request = b"7".to_vec();
    let connection = users.get()?;
    let stub = UsersClient::new(connection.channel().clone());
    let one = stub.get_opt(&request, connection.options())?;
    drop(connection);

    #[rustfmt::skip] // A line of the page is longer.
    let two = users.execute(|lent| UsersClient::new(lent.channel().clone()).get_opt(&request, lent.options()))??;
    println!("{}", users.status());
    assert_eq!((one, two), (b"7".to_vec(), b"7".to_vec()));
    let options = CallOptions::new();
    #[rustfmt::skip] // It stands in a sentence of the page.
    let three = users.call_with("/test.Echo/Say", &options, |channel, option| UsersClient::new(channel.clone()).get_async_opt(&request, option))?;
    assert_eq!(three, b"7");
    manager.close();
    Ok(())
}

fn streams(users: &Pool) -> Result<(), Box<dyn Error>> {
    let (request, options) = (b"abc".to_vec(), CallOptions::new());
    let new_users = [b"a".to_vec(), b"b".to_vec()];
    for user in users.stream(&USERS_LIST, &request, &options)? {
        println!("{:?}", user?);
    }
    let mut upload = users.upload(&USERS_IMPORT, &options)?;
    for user in new_users {
        if !upload.send(user) {
            break;
        }
    }
    let summary = upload.finish()?;
    let mut chat = users.duplex(&CHAT, &options)?;
    chat.send(request.clone());
    let said = chat.next();
    assert_eq!((summary, said.unwrap()?), (b"ab".to_vec(), b"abc".to_vec()));
    Ok(())
}

fn rules() -> ServiceConfig {
    let mut config = ServiceConfig::production("users.example.com");
    let read = MethodPolicy::new().idempotent().timeout(Duration::from_millis(500));
    config.methods.set("/shop.Users/Get*", read);
    let search = MethodPolicy::new().idempotent().hedge(Hedge::default());
    config.methods.set("/shop.Users/Search", search);
    config
}

#[test]
fn the_examples_of_the_page_run() {
    assert_eq!(production().unwrap().service(), "users");
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    quick_start(&manager.add("users", &settings(echo.port, 2)).unwrap(), &manager).unwrap();
    streams(&ready(&settings(echo.port, 2))).unwrap();
    assert!(rules().check().is_ok());
}

#[test]
fn every_line_of_the_examples_stands_in_this_file() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/client.md");
    let page = std::fs::read_to_string(page).unwrap();
    let here: Vec<&str> = include_str!("page.rs").lines().map(str::trim).collect();
    let mut lines = Vec::new();
    for block in page.split("```rust\n").skip(1) {
        lines.extend(block.split("```").next().unwrap().lines());
    }
    let code = |line: &&str| line.split("// ").next().unwrap().trim().to_owned();
    let missing: Vec<String> = lines
        .iter()
        .map(code)
        .filter(|line| !line.is_empty() && !line.starts_with("use "))
        .filter(|line| !here.contains(&line.as_str()))
        .collect();
    assert!(lines.len() > 25 && missing.is_empty(), "{missing:#?}");
}
