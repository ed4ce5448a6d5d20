//! Calls of a client that connects for each of them, and of one that pools connections.

use std::time::Duration;

use connection_pool_manager::client::{Pool, ServiceConfig, TlsMode};
use connection_pool_manager::proto::health::HealthCheckRequest;
use connection_pool_manager::proto::health_grpc::HEALTH_CHECK;

use super::Group;
use crate::bench::Bench;
use crate::contest::{contest, Contender};
use crate::figures::{Line, Unit};
use crate::options::Options;
use crate::Answer;

pub const GROUP: Group = Group {
    name: "grpc_connection_pooling",
    rows: &["with_pooling_5", "with_pooling_10", "10", "50", "100", "200"],
    measure,
};

const REQUESTS: [usize; 4] = [10, 50, 100, 200];
const POOLS: [usize; 2] = [5, 10];
const THREADS: usize = 10;

/// Makes so many calls from some threads.
fn batch(requests: usize, call: &(impl Fn() -> Answer<()> + Sync)) -> Answer<f64> {
    let done: Vec<Answer<()>> = std::thread::scope(|scope| {
        let work = || (0..requests / THREADS).try_for_each(|_| call());
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let panicked = |_| Err("a thread has panicked".into());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    done.into_iter().collect::<Answer<Vec<()>>>()?;
    Ok(requests as f64)
}

fn pool(bench: &Bench, size: usize) -> Answer<Pool> {
    let mut config = ServiceConfig::new("localhost", bench.service.port);
    config.tls.mode = TlsMode::On;
    config.tls.ca_file = Some(bench.service.certs.path().join("cert.pem").display().to_string());
    config.pool.size = size;
    let pool = Pool::open("bench", &config)?;
    Ok(pool)
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let own = std::process::id();
    // Each figure is of many batches; a second has hundreds of them.
    let length = options.length.min(Duration::from_secs(1));
    let pools = POOLS.map(|size| (size, pool(bench, size)));
    let mut lines = Vec::new();
    for requests in REQUESTS.into_iter().filter(|requests| !options.short || *requests == 50) {
        let alone = || bench.clients.one().map(drop);
        let peer = Contender::new(&format!("without_pooling/{requests}"), move |_| {
            bench.watch(own, length, || batch(requests, &alone))
        });
        let mut ours = Vec::new();
        for (size, pool) in &pools {
            let pool = pool.as_ref().map_err(|error| error.to_string())?;
            let call = move || -> Answer<()> {
                let request = HealthCheckRequest::default();
                let stub = pool.execute(|connection| {
                    let client = grpcio::Client::new(connection.channel().clone());
                    client.unary_call(&HEALTH_CHECK, &request, connection.options())
                })?;
                Ok(stub.map(drop)?)
            };
            ours.push(Contender::new(&format!("with_pooling_{size}/{requests}"), move |_| {
                bench.watch(own, length, || batch(requests, &call))
            }));
        }
        ours.retain(|one| options.wants(GROUP.name, &one.name));
        if !ours.is_empty() {
            lines.extend(contest(options, Unit::PerSecond, peer, ours));
        }
    }
    for (_, pool) in pools {
        pool?.shutdown(Duration::from_secs(5));
    }
    Ok(lines)
}
