//! Rules of calls: what may be repeated, how long it takes at most, two attempts at the same time,
//! metadata for all, and one deadline for whatever is called.
//!
//! `cargo run --example policies` starts a service of its own that fails, or never answers, as the
//! example needs it.
#![allow(clippy::disallowed_methods)] // A program reads the clock as it likes.

use std::error::Error;
use std::time::{Duration, Instant};

use connection_pool_manager::client::testing::{Answer, FakeService};
use connection_pool_manager::client::{
    deadline, interceptor, raw, CallOptions, Code, Hedge, MethodPolicy, Pool, Ready, ServiceConfig,
};

const GET: &str = "/shop.Users/Get";
const PUT: &str = "/shop.Users/Put";
const SEARCH: &str = "/shop.Users/Search";

fn main() -> Result<(), Box<dyn Error>> {
    run()
}

/// What the program does; a test does it, too.
pub fn run() -> Result<(), Box<dyn Error>> {
    let service = FakeService::start(&[GET, PUT, SEARCH])?;
    let down = || {
        let message = "down for a moment".to_owned();
        Answer::Fail { code: Code::Unavailable, message, details: Vec::new() }
    };

    let mut config = ServiceConfig::test("127.0.0.1", service.port());
    config.pool.size = 2;
    // What is read may be read twice, and takes at most 5 s with all attempts.
    let read = MethodPolicy::new().idempotent().timeout(Duration::from_secs(5));
    config.methods.set("/shop.Users/Get*", read.clone());
    // A search that is not answered within 20 ms is asked for on another connection, too.
    let hedge = Hedge { max_attempts: 2, delay: Duration::from_millis(20) };
    config.methods.set(SEARCH, read.hedge(hedge));
    config.interceptors.push(interceptor::metadata("shop", "north"));
    config.interceptors.push(interceptor::bearer(|| "a token, asked for when it is needed".into()));
    let users = Pool::open("users", &config)?;
    users.await_ready(Ready::All, Duration::from_secs(30))?;

    service.next(GET, down());
    let user = users.exchange(&raw(GET), &b"7".to_vec(), &CallOptions::new())?;
    println!("Get was answered by {} at attempt {}", user.address, user.attempts);

    // What is written may have been written: it is not repeated.
    service.next(PUT, down());
    match users.call(&raw(PUT), &b"8".to_vec(), &CallOptions::new()) {
        Err(error) => println!("Put: {error}"),
        Ok(_) => return Err("it was repeated".into()),
    }

    service.next(SEARCH, Answer::Hang);
    let found = users.exchange(&raw(SEARCH), &b"a*".to_vec(), &CallOptions::new())?;
    println!("Search was answered at attempt {} after {:?}", found.attempts, found.elapsed);

    // A server that has 50 ms left for its own caller: so have all whom it calls.
    service.next(PUT, Answer::Hang);
    let until = Instant::now() + Duration::from_millis(50);
    let late =
        deadline::scope(until, || users.call(&raw(PUT), &b"9".to_vec(), &CallOptions::new()));
    match late {
        Err(error) if error.code() == Code::DeadlineExceeded => println!("the scope: {error}"),
        other => return Err(format!("not in time, but {other:?}").into()),
    }
    Ok(())
}
