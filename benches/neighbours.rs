//! How much ten tenants whose databases never answer, and whose callers keep waiting, slow
//! down another tenant. Prints; asserts nothing.
//!
//! `cargo bench --bench neighbours` runs it for a minute or two. The medians of one
//! machine say little; the ratios should stay below 1.2.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::{Client, Security};
use connection_pool_manager::config::{Config, Tls};
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use connection_pool_manager::server::Server;
use grpcio::{CallOption, ClientUnaryReceiver, EnvBuilder, Environment};
use socket2::{Domain, Socket, Type};

/// Samples of each figure, in so many rounds that take turns with their peer's.
const SAMPLES: usize = 10_000;
const ROUNDS: usize = 5;
/// Each comparison stops by then, whatever it has.
const LIMIT: Duration = Duration::from_secs(100);
const TENANTS: usize = 10;
/// Callers that wait for each of them.
const CALLERS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let bench = Bench::start()?;
    // It accepts connections into its backlog, and never answers.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    bench.compare("beside ten that take connections and stay mute", port(&mute)?)?;
    // Its backlog is full: no SYN is answered.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    full.listen(0)?;
    let full: TcpListener = full.into();
    let _fillers = fill(full.local_addr()?)?;
    bench.compare("beside ten whose packets are dropped", port(&full)?)?;
    bench.server.stop();
    Ok(())
}

fn port(listener: &TcpListener) -> io::Result<u16> {
    Ok(listener.local_addr()?.port())
}

fn fill(address: SocketAddr) -> io::Result<Vec<Socket>> {
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        filler.set_nonblocking(true)?;
        // In progress, for ever.
        let _ = filler.connect(&address.into());
        fillers.push(filler);
    }
    Ok(fillers)
}

struct Bench {
    server: Server,
    environment: Arc<Environment>,
    trust: Vec<u8>,
    dsn: String,
    _postgres: Embedded,
}

impl Bench {
    fn start() -> Result<Bench, Box<dyn Error>> {
        let postgres = Embedded::start(Options::default())?;
        postgres.create_tenant("healthy", "bench")?;
        let dsn = format!("{} sslmode=disable", postgres.tenant_dsn("healthy", "bench"));
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
        Ok(Bench { server, environment, trust, dsn, _postgres: postgres })
    }

    fn client(&self) -> Client {
        let address = format!("localhost:{}", self.server.grpc_port());
        Client::new(&self.environment, &address, &Security::Trust(&self.trust))
    }

    /// Rounds of one healthy tenant alone take turns with rounds beside the others.
    fn compare(&self, title: &str, port: u16) -> Result<(), Box<dyn Error>> {
        let until = now() + LIMIT;
        let client = self.client();
        // Warm.
        self.cycles(&client, SAMPLES / ROUNDS, until);
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            alone.extend(self.cycles(&client, SAMPLES / ROUNDS, until));
            // New names each time: those of the last round may be known to be unreachable,
            // and then no call would wait for them.
            let names: Vec<String> = (0..TENANTS).map(|n| format!("{port}-{round}-{n}")).collect();
            let strangers = self.client();
            let waiting = waiting(&strangers, &names, port)?;
            pause_until(until, || names.iter().all(|name| strangers.stats(name).is_ok()));
            beside.extend(self.cycles(&client, SAMPLES / ROUNDS, until));
            // Cancelled, so that they are gone when the next round begins.
            drop(waiting);
            pause_until(until, || names.iter().all(|name| strangers.stats(name).is_err()));
        }
        println!("acquire + release, {title}");
        let (a, b) = (median(&mut alone), median(&mut beside));
        println!("  alone     {:>8.1} us p50 of {}", a * 1e6, alone.len());
        println!("  beside    {:>8.1} us p50 of {}   ratio {:.2}", b * 1e6, beside.len(), b / a);
        Ok(())
    }

    /// Seconds of each cycle.
    #[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
    fn cycles(&self, client: &Client, count: usize, until: Instant) -> Vec<f64> {
        let mut seconds = Vec::with_capacity(count);
        while seconds.len() < count && now() < until {
            let began = Instant::now();
            let lease = client.acquire("healthy", &self.dsn);
            let done = lease.and_then(|lease| client.release(&lease.connection_id));
            if done.is_ok() {
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
        seconds
    }
}

/// Calls that wait for tenants of these names on a port that never answers.
fn waiting(
    client: &Client,
    names: &[String],
    port: u16,
) -> grpcio::Result<Vec<ClientUnaryReceiver<ConnectionResponse>>> {
    let callers = names.iter().flat_map(|name| std::iter::repeat_n(name, CALLERS));
    let calls = callers.map(|name| {
        let request = ConnectionRequest {
            tenant_id: name.clone(),
            dsn: format!("host=127.0.0.1 port={port} user=u password=p dbname=d connect_timeout=1"),
            ..ConnectionRequest::default()
        };
        client.pool_stub().get_connection_async(&request, CallOption::default())
    });
    calls.collect()
}

/// Polls until it holds.
fn pause_until(until: Instant, mut holds: impl FnMut() -> bool) {
    let never = crossbeam_channel::never::<()>();
    while !holds() && now() < until {
        let _ = never.recv_timeout(Duration::from_millis(10));
    }
}

#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
fn now() -> Instant {
    Instant::now()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
