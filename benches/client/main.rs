//! What the client connections cost and gain, on this machine. Prints; asserts nothing, and ends
//! by itself. `cargo bench --bench client`, with `-- memory`, `checkout`, `calls`, `pooling`,
//! `overheads`, `resize`, `outage` or `kills` that part alone; the server is a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A measurement stops at the first surprise.
#![allow(clippy::disallowed_methods)] // It measures time, with threads of its own.

mod memory;
mod server;

use std::ffi::CString;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::client::{
    CallOptions, Pool, Ready, RetryConfig, ServiceConfig, TlsMode,
};
use grpcio::{
    CallOption, Channel, ChannelBuilder, ChannelCredentialsBuilder, Client, Environment, Method,
};
use memory::memory;
use server::{certificate, method, serve, Server};

const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "serve") {
        return serve(&args[2], args.get(3).zip(args.get(4)));
    }
    let only = args.iter().skip(1).find(|arg| !arg.starts_with("--"));
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let dir = std::env::temp_dir().join(format!("client-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (cert, key) = certificate();
    std::fs::write(dir.join("cert.pem"), &cert).unwrap();
    std::fs::write(dir.join("key.pem"), &key).unwrap();
    let tls = Some(dir.to_str().unwrap());
    let (plain_server, tls_server) = (Server::start(0, None), Server::start(0, tls));
    let (plain, secure) =
        (settings(plain_server.port, None, 10), settings(tls_server.port, tls, 10));

    if wanted("memory") {
        memory(&plain, "plain", None);
        memory(&secure, "TLS", Some(&cert));
    }
    if wanted("checkout") {
        checkout(&plain);
    }
    if wanted("calls") {
        let bare = calls(&plain, "plain", None);
        against_channels(&plain, "plain", bare, 4.0, None);
        let bare = calls(&secure, "TLS", Some(&cert));
        against_channels(&secure, "TLS", bare, 10.0, Some(&cert));
    }
    if wanted("pooling") {
        pooling(&plain, "plain", None);
        pooling(&secure, "TLS", Some(&cert));
    }
    if wanted("overheads") {
        overheads(&plain);
    }
    if wanted("resize") {
        resize(&plain);
    }
    drop((plain_server, tls_server));
    if wanted("outage") {
        outage();
    }
    if wanted("kills") {
        kills();
    }
    let _ = std::fs::remove_dir_all(dir);
}

fn settings(port: u16, tls: Option<&str>, size: usize) -> ServiceConfig {
    let mut config = ServiceConfig::test("127.0.0.1", port);
    config.pool.size = size;
    if let Some(dir) = tls {
        config.tls.mode = TlsMode::On;
        config.tls.ca_file = Some(format!("{dir}/cert.pem"));
    }
    config
}

fn open(config: &ServiceConfig) -> Pool {
    let pool = Pool::open("bench", config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    pool
}

/// A figure, what it must reach, and whether it does.
fn row(what: &str, figure: String, wanted: &str, reached: bool) {
    let mark = if reached { "reached" } else { "MISSED" };
    println!("{what:<58} {figure:>14}   {wanted:<14} {mark}");
}

fn seen(what: &str, figure: String) {
    println!("{what:<58} {figure:>14}");
}

/// The time of one of `n`, the best of `rounds`.
fn best(rounds: usize, n: u32, mut run: impl FnMut()) -> Duration {
    let round = || {
        let begun = Instant::now();
        (0..n).for_each(|_| run());
        begun.elapsed() / n
    };
    std::iter::repeat_with(round).take(rounds).min().unwrap()
}

fn checkout(config: &ServiceConfig) {
    let pool = open(config);
    let alone = best(5, 200_000, || drop(black_box(pool.get().unwrap())));
    let wanted = Duration::from_nanos(200);
    row("get and drop, one thread", format!("{} ns", alone.as_nanos()), "< 200 ns", alone < wanted);
    let connection = pool.get().unwrap();
    let asked = best(5, 200_000, || {
        black_box(connection.channel().check_connectivity_state(false));
    });
    seen("of it gRPC's word on the state of a channel", format!("{} ns", asked.as_nanos()));
    let read = best(5, 200_000, || {
        black_box(Instant::now());
    });
    seen("of it one look at the clock, of two", format!("{} ns", read.as_nanos()));
    drop(connection);
    let mut config = config.clone();
    for size in [1, 200] {
        config.pool.size = size;
        let pool = open(&config);
        let each = best(5, 100_000, || drop(black_box(pool.get().unwrap())));
        let wanted = Duration::from_nanos(500);
        let what = format!("get and drop, one thread, a pool of {size}");
        row(&what, format!("{} ns", each.as_nanos()), "< 500 ns", each < wanted);
    }
    config.pool.size = 16;
    let pool = open(&config);
    const EACH: u32 = 50_000;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..EACH).for_each(|_| drop(black_box(pool.get().unwrap()))));
        }
    });
    let each = begun.elapsed() / (16 * EACH);
    let wanted = Duration::from_micros(2);
    row("get and drop, 16 threads", format!("{} ns", each.as_nanos()), "< 2000 ns", each < wanted);
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_nanos() as f64 / 1000.0)
}

fn say(pool: &Pool, method: &Method<Vec<u8>, Vec<u8>>, options: &CallOptions) {
    pool.call(method, &b"hello".to_vec(), options).unwrap();
}

/// Pooled calls and bare ones in turns; the time of a pooled one.
fn calls(config: &ServiceConfig, kind: &str, ca: Option<&[u8]>) -> Duration {
    let pool = open(config);
    let (method, options) = (method(), CallOptions::new());
    let environment = Arc::new(Environment::new(2));
    let client = Client::new(channel(&environment, config, ca));
    let option = || CallOption::default().timeout(Duration::from_secs(30));
    let bare = || drop(client.unary_call(&method, &b"hello".to_vec(), option()).unwrap());
    (0..2000).for_each(|_| {
        bare();
        say(&pool, &method, &options);
    });
    let (mut pooled_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..31 {
        bare_times.push(best(1, 300, bare));
        pooled_times.push(best(1, 300, || say(&pool, &method, &options)));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (pooled, bare) = (median(&mut pooled_times), median(&mut bare_times));
    let ratio = pooled.as_secs_f64() / bare.as_secs_f64();
    seen(&format!("a bare call, {kind}"), micros(bare));
    seen(&format!("a pooled call, {kind}"), micros(pooled));
    row(&format!("pooled over bare, {kind}"), format!("{ratio:.3}"), "<= 1.03", ratio <= 1.03);
    pooled
}

fn channel(environment: &Arc<Environment>, config: &ServiceConfig, ca: Option<&[u8]>) -> Channel {
    // As the pool's are, but for keepalive, which the settings here have not.
    let mut builder = ChannelBuilder::new(Arc::clone(environment))
        .use_local_subchannel_pool(true)
        .raw_cfg_int(CString::from(c"grpc.enable_channelz"), 0);
    if let Some(ca) = ca {
        let credentials = ChannelCredentialsBuilder::new().root_cert(ca.to_vec()).build();
        builder = builder.set_credentials(credentials);
    }
    builder.connect(&config.addresses[0])
}

/// What a channel for each call costs.
fn against_channels(
    config: &ServiceConfig,
    kind: &str,
    pooled: Duration,
    least: f64,
    ca: Option<&[u8]>,
) {
    let environment = Arc::new(Environment::new(2));
    let method = method();
    let each = best(3, 100, || {
        let client = Client::new(channel(&environment, config, ca));
        client.unary_call(&method, &b"hello".to_vec(), CallOption::default()).unwrap();
    });
    seen(&format!("a channel for each call, {kind}"), micros(each));
    let ratio = each.as_secs_f64() / pooled.as_secs_f64();
    let wanted = format!(">= {least}");
    row(
        &format!("that over a pooled call, {kind}"),
        format!("{ratio:.1}"),
        &wanted,
        ratio >= least,
    );
}

/// So many requests of 10 threads, with a connection for each and with pools; the best of three.
///
/// Of a connection for each, one run in some takes a second more: when many threads make and drop
/// channels, the C core at times misses an event until its timer looks, which it does once a second.
fn pooling(config: &ServiceConfig, kind: &str, ca: Option<&[u8]>) {
    let (method, options) = (method(), CallOptions::new());
    let environment = Arc::new(Environment::new(2));
    let share = |requests: usize, run: &(dyn Fn() + Sync)| {
        best(3, 1, || {
            std::thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(move || (0..requests / 10).for_each(|_| run()));
                }
            });
        })
    };
    for requests in [10, 50, 100, 200] {
        let alone = share(requests, &|| {
            let client = Client::new(channel(&environment, config, ca));
            client.unary_call(&method, &b"hello".to_vec(), CallOption::default()).unwrap();
        });
        let shown = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        let name = |row: &str| format!("grpc_connection_pooling/{row}/{requests}, {kind}");
        seen(&name("without_pooling"), shown(alone));
        for size in [5, 10] {
            let mut config = config.clone();
            config.pool.size = size;
            let pool = open(&config);
            let pooled = share(requests, &|| say(&pool, &method, &options));
            let ratio = alone.as_secs_f64() / pooled.as_secs_f64();
            seen(&name(&format!("with_pooling_{size}")), format!("{} {ratio:.1}x", shown(pooled)));
        }
    }
}

fn overheads(config: &ServiceConfig) {
    let pool = open(config);
    let took = best(5, 10_000, || {
        black_box(pool.metrics());
    });
    seen("metrics_collection", micros(took));
    let took = best(5, 10_000, || drop(black_box(pool.health())));
    seen("health_check_overhead, from what is known", micros(took));
    let took = best(3, 20, || drop(black_box(pool.force_health_check().unwrap())));
    seen("health_check_overhead, ten probes", micros(took));
}

fn resize(config: &ServiceConfig) {
    let pool = open(config);
    let (stop, good, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let method = method();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let said = pool.call(&method, &b"hello".to_vec(), &CallOptions::new());
                    let count = if said.is_ok() { &good } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for size in [2, 20, 5, 1, 10, 3, 10] {
            pool.resize(size).unwrap();
            let before = good.load(Ordering::Relaxed);
            until(|| good.load(Ordering::Relaxed) > before + 500);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (good, failed) = (good.into_inner(), failed.into_inner());
    row(&format!("resize under load: failed of {good}"), failed.to_string(), "0", failed == 0);
}

/// Looks until it holds; the time it took.
fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_micros(200));
    }
    begun.elapsed()
}

/// A server that is killed and comes back.
fn outage() {
    let server = Server::start(0, None);
    let port = server.port;
    let mut config = settings(port, None, 10);
    config.connection.reconnect_backoff_min = Duration::from_millis(10);
    config.connection.max_reconnect_delay = Duration::from_millis(10);
    let pool = open(&config);
    std::thread::sleep(Duration::from_millis(300));
    drop(server);
    let known = until(|| pool.metrics().connected == 0);
    let shown = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let what = "a killed server is known on all of 10 channels after";
    row(what, shown(known), "< 10 ms", known < Duration::from_millis(10));
    std::thread::sleep(Duration::from_millis(300));
    let server = Server::start(port, None);
    let back = until(|| pool.metrics().connected == 10);
    let what = "all 10 are back after its return, the pause of 10 ms included";
    row(what, shown(back), "< 50 ms", back < Duration::from_millis(50));
    drop(server);
}

/// 8 kills while 16 threads make idempotent calls.
fn kills() {
    let first = Server::start(0, None);
    let port = first.port;
    // Not the scope's own: it has to outlive the calls.
    let mut server = Some(first);
    let mut config = settings(port, None, 10);
    config.breaker = None;
    config.connection.reconnect_backoff_min = Duration::from_millis(50);
    config.connection.max_reconnect_delay = Duration::from_millis(200);
    let pool = open(&config);
    let (stop, good, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let method = method();
    let retry = RetryConfig { max_attempts: 5, ..RetryConfig::default() };
    let options = CallOptions::new().idempotent().wait_for_ready().retry(retry);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let said = pool.call(&method, &b"hello".to_vec(), &options);
                    if let Err(error) = &said {
                        println!("  {error}");
                    }
                    let count = if said.is_ok() { &good } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..8 {
            let before = good.load(Ordering::Relaxed);
            until(|| good.load(Ordering::Relaxed) > before + 2000);
            drop(server.take());
            std::thread::sleep(Duration::from_millis(100));
            server = Some(Server::start(port, None));
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(server);
    let (good, failed) = (good.into_inner(), failed.into_inner());
    let what = format!("8 kills under 16 threads: failed of {good} idempotent calls");
    row(&what, failed.to_string(), "0", failed == 0);
}
