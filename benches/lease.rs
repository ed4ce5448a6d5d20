//! What a lease and a statement over it cost, beside the same work without the
//! service on the same PostgreSQL in the same run. Prints; asserts nothing.
//!
//! `cargo bench` runs it for about half a minute. The figures of one machine say
//! little; the ratios say something.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::{statement, Client, Security};
use connection_pool_manager::config::{Config, Tls};
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::sql::ExecuteRequest;
use connection_pool_manager::server::Server;
use grpcio::EnvBuilder;
use postgres::NoTls;

/// Each figure is the median of so many rounds, taken in turns with its peer.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(500);
/// Clients at once in the second part.
const CLIENTS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let postgres = Embedded::start(Options::default())?;
    postgres.create_tenant("bench", "bench")?;
    let dsn = format!("{} sslmode=disable", postgres.tenant_dsn("bench", "bench"));
    let certs = tempfile::tempdir()?;
    let made = connection_pool_manager::dev_certs::write(certs.path(), &["localhost"])?;
    let trust = std::fs::read(&made.cert)?;
    let server = Server::start(Config {
        listen: "127.0.0.1".to_owned(),
        port: 0,
        http: ([127, 0, 0, 1], 0).into(),
        tls: Tls::Files { cert: made.cert, key: made.key },
        ..Config::default()
    })?;
    let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
    let address = format!("localhost:{}", server.grpc_port());
    let client = || Client::new(&environment, &address, &Security::Trust(&trust));

    let ours = client();
    let lease = ours.acquire("bench", &dsn)?;
    let mut direct = postgres::Client::connect(&dsn, NoTls)?;
    let prepared = direct.prepare("select 1")?;
    compare(
        "one statement (select 1)",
        ("Execute on a lease", &mut || ours.run(&lease.connection_id, &["select 1"]).is_ok()),
        ("driver, prepared, no TLS", &mut || direct.query_one(&prepared, &[]).is_ok()),
    );
    ours.release(&lease.connection_id)?;
    compare(
        "a connection to work with",
        ("acquire + release", &mut || cycle(&ours, &dsn)),
        ("driver: connect + close", &mut || postgres::Client::connect(&dsn, NoTls).is_ok()),
    );
    let one_shot = ExecuteRequest {
        tenant_id: "bench".to_owned(),
        dsn: dsn.clone(),
        statements: vec![statement("select 1")],
        ..ExecuteRequest::default()
    };
    compare(
        "one statement without holding anything",
        ("one-shot Execute", &mut || ours.execute(&one_shot).is_ok()),
        ("driver: connect, query, close", &mut || {
            postgres::Client::connect(&dsn, NoTls)
                .and_then(|mut fresh| fresh.query_one("select 1", &[]))
                .is_ok()
        }),
    );
    together(&(0..CLIENTS).map(|_| client()).collect::<Vec<_>>(), &one_shot);
    drop(ours);
    server.stop();
    Ok(())
}

fn cycle(client: &Client, dsn: &str) -> bool {
    let lease = client.acquire("bench", dsn);
    lease.and_then(|lease| client.release(&lease.connection_id)).is_ok()
}

type Work<'a> = (&'a str, &'a mut dyn FnMut() -> bool);

/// Alternates the two and prints medians and their ratio.
fn compare(title: &str, ours: Work<'_>, peer: Work<'_>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(round(ours.1));
        b.push(round(peer.1));
    }
    let (a, b) = (median(a), median(b));
    println!("{title}");
    println!("  {:<32} {:>10.1} us", ours.0, a * 1e6);
    println!("  {:<32} {:>10.1} us   ratio {:.2}", peer.0, b * 1e6, a / b);
}

/// Mean seconds of one call over a round.
#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
fn round(work: &mut dyn FnMut() -> bool) -> f64 {
    let start = Instant::now();
    let (mut done, mut failed) = (0u32, 0u32);
    while start.elapsed() < ROUND {
        if work() {
            done += 1;
        } else {
            failed += 1;
        }
    }
    if failed > 0 {
        println!("  ({failed} calls failed)");
    }
    start.elapsed().as_secs_f64() / f64::from(done.max(1))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Many clients, each with a connection of its own.
#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
fn together(clients: &[Client], request: &ExecuteRequest) {
    let start = Instant::now();
    let counts = std::thread::scope(|scope| {
        let running = clients.iter().map(|client| {
            scope.spawn(move || {
                let mut count = 0u64;
                while start.elapsed() < ROUND * 4 {
                    count += u64::from(client.execute(request).is_ok());
                }
                count
            })
        });
        let running: Vec<_> = running.collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum::<u64>()
    });
    println!("{} clients, one-shot Execute over TLS", clients.len());
    println!("  {:.0} calls a second", counts as f64 / start.elapsed().as_secs_f64());
}
