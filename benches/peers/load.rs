//! The load generator. Each caller has a connection of its own, and is a future that runs
//! on gRPC's thread, so that no call costs a change of threads on this side.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::Client;
use crossbeam_channel::bounded;
use grpcio::{CallOption, ChannelBuilder, ChannelCredentialsBuilder, EnvBuilder, Environment};

use crate::figures::Round;
use crate::harness::{now, Service};
use crate::Answer;

/// A call that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client with a connection of its own.
pub struct Caller {
    pub client: Client,
    raw: grpcio::Client,
    /// Which of the callers it is, from 0.
    pub number: usize,
}

/// What makes callers.
#[derive(Clone)]
pub struct Callers {
    environment: Arc<Environment>,
    address: String,
    trust: Vec<u8>,
}

pub fn options() -> CallOption {
    CallOption::default().timeout(PATIENCE).wait_for_ready(true)
}

impl Callers {
    /// Callers of this service.
    pub fn of(service: &Service) -> Answer<Callers> {
        let trust = std::fs::read(service.certs.path().join("cert.pem"))?;
        Ok(Callers::new(service.port, trust))
    }

    fn new(port: u16, trust: Vec<u8>) -> Callers {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        Callers { environment, address: format!("localhost:{port}"), trust }
    }

    /// So many, each connected.
    pub fn connect(&self, count: usize) -> Answer<Vec<Caller>> {
        (0..count).map(|number| self.one(number)).collect()
    }

    fn one(&self, number: usize) -> Answer<Caller> {
        let credentials = ChannelCredentialsBuilder::new().root_cert(self.trust.clone()).build();
        let channel = ChannelBuilder::new(Arc::clone(&self.environment))
            .use_local_subchannel_pool(true)
            .max_receive_message_len(8 << 20)
            .set_credentials(credentials)
            .connect(&self.address);
        let client = Client::on(channel.clone()).with_timeout(PATIENCE);
        client.health_stub().check(&Default::default(), options())?;
        Ok(Caller { client, raw: grpcio::Client::new(channel), number })
    }
}

/// What one caller has done.
#[derive(Default)]
pub struct Tally {
    pub operations: u64,
    pub failed: u64,
    pub first_error: Option<String>,
    pub micros: Vec<f32>,
}

impl Tally {
    /// Counts a call that was begun then.
    pub fn count(&mut self, began: Instant, done: grpcio::Result<u64>) {
        match done {
            Ok(operations) => {
                self.operations += operations;
                self.micros.push(began.elapsed().as_secs_f32() * 1e6);
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// What a caller does until the time is over.
pub type Task = Box<dyn FnOnce(Instant) -> Later<Tally>>;

/// A task that calls again and again; each call says how many operations it was.
pub fn repeat<C>(mut call: C) -> Task
where
    C: FnMut() -> Later<grpcio::Result<u64>> + Send + 'static,
{
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            loop {
                let began = now();
                if began >= until {
                    return tally;
                }
                tally.count(began, call().await);
            }
        })
    })
}

/// Runs all at once for so long, and adds up what they have done.
pub fn run(callers: &[Caller], tasks: Vec<Task>, length: Duration) -> Round {
    let (said, done) = bounded(tasks.len());
    let began = now();
    let count = tasks.len();
    for (caller, task) in callers.iter().zip(tasks) {
        let (said, work) = (said.clone(), task(began + length));
        // Nobody may wait any more.
        caller.raw.spawn(async move { drop(said.send(work.await)) });
    }
    drop(said);
    let mut round = Round::default();
    for _ in 0..count {
        let Ok(tally) = done.recv_timeout(length + 3 * PATIENCE) else {
            round.failed += 1;
            round.first_error.get_or_insert("a caller did not end".to_owned());
            continue;
        };
        round.operations += tally.operations as f64;
        round.failed += tally.failed;
        round.first_error = round.first_error.or(tally.first_error);
        round.micros.extend(tally.micros);
    }
    round.seconds = began.elapsed().as_secs_f64();
    round.micros.sort_by(f32::total_cmp);
    round
}

/// Numbers that are random enough to spread reads over a table.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: usize) -> Dice {
        Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed as u64 + 1))
    }

    /// From 1 to `sides`.
    pub fn throw(&mut self, sides: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides + 1) as i64
    }
}
