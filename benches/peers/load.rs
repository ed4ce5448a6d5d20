//! The load generator: callers that work until the time is over, all on one thread, each
//! with a connection of its own or all on one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use connection_pool_manager::proto::connection_pool::ConnectionRelease;
pub use connection_pool_manager::proto::connection_pool_grpc::{
    CONNECTION_POOL_SERVICE_GET_CONNECTION as GET_CONNECTION,
    CONNECTION_POOL_SERVICE_RELEASE_CONNECTION as RELEASE_CONNECTION,
};
pub use connection_pool_manager::proto::health_grpc::HEALTH_CHECK;
pub use connection_pool_manager::proto::sql_grpc::{
    SQL_SERVICE_EXECUTE as EXECUTE, SQL_SERVICE_SESSION as SESSION,
};

use crate::figures::Round;
use crate::harness::{now, Service};
use crate::http2::{join, Caller, Connection, Done, Later, Target};
use crate::Answer;

/// What makes callers.
#[derive(Clone)]
pub struct Callers {
    target: Target,
}

impl Callers {
    /// Callers of this service.
    pub fn of(service: &Service) -> Answer<Callers> {
        let trust = service.certs.path().join("cert.pem");
        Ok(Callers { target: Target::new(service.port, &trust)? })
    }

    /// So many, each connected.
    pub fn connect(&self, count: usize) -> Answer<Vec<Caller>> {
        let one = || Ok(Rc::new(RefCell::new(Connection::open(&self.target)?)));
        self.try_out((0..count).map(|_| one()).collect::<Answer<_>>()?)
    }

    /// So many that use one connection together.
    pub fn share(&self, count: usize) -> Answer<Vec<Caller>> {
        let one = Rc::new(RefCell::new(Connection::open(&self.target)?));
        self.try_out(vec![one; count])
    }

    fn try_out(&self, connections: Vec<Rc<RefCell<Connection>>>) -> Answer<Vec<Caller>> {
        let callers = connections.into_iter().enumerate();
        let callers: Vec<Caller> =
            callers.map(|(number, connection)| Caller { connection, number }).collect();
        all(
            &callers,
            |caller| async move { caller.call(&HEALTH_CHECK, &Default::default()).await },
        )?;
        Ok(callers)
    }
}

/// Has each caller do something once, and fails if it fails for one of them.
pub fn all<T, F>(callers: &[Caller], work: impl Fn(Caller) -> F) -> Answer<Vec<T>>
where
    F: std::future::Future<Output = Done<T>> + 'static,
    T: 'static,
{
    let each = callers.iter().map(|caller| -> Later<Done<T>> { Box::pin(work(caller.clone())) });
    Ok(join(callers, each.collect())?.into_iter().collect::<Done<Vec<T>>>()?)
}

impl Caller {
    /// Ends a lease.
    pub async fn release(&self, connection_id: String) -> Done<()> {
        let release = ConnectionRelease { connection_id, ..ConnectionRelease::default() };
        self.call(&RELEASE_CONNECTION, &release).await
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
    pub fn count(&mut self, began: Instant, done: Done<u64>) {
        match done {
            Ok(operations) => {
                self.operations += operations;
                self.micros.push(began.elapsed().as_secs_f32() * 1e6);
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

/// What a caller does until the time is over.
pub type Task = Box<dyn FnOnce(Instant) -> Later<Tally>>;

/// A task that calls again and again; each call says how many operations it was.
pub fn repeat(caller: &Caller, mut call: impl AsyncFnMut(&Caller) -> Done<u64> + 'static) -> Task {
    let caller = caller.clone();
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            loop {
                let began = now();
                if began >= until {
                    return tally;
                }
                if let Err(why) = caller.ended() {
                    tally.count(began, Err(why));
                    return tally;
                }
                tally.count(began, call(&caller).await);
            }
        })
    })
}

/// Runs all at once for so long, and adds up what they have done.
pub fn run(callers: &[Caller], tasks: Vec<Task>, length: Duration) -> Round {
    let began = now();
    let work = tasks.into_iter().map(|task| task(began + length)).collect();
    sum(
        began,
        join(callers, work).unwrap_or_else(|error| {
            vec![Tally { failed: 1, first_error: Some(error.to_string()), ..Tally::default() }]
        }),
    )
}

/// All that was done since then.
pub fn sum(began: Instant, tallies: Vec<Tally>) -> Round {
    let mut round = Round { seconds: began.elapsed().as_secs_f64(), ..Round::default() };
    for tally in tallies {
        round.operations += tally.operations as f64;
        round.failed += tally.failed;
        round.first_error = round.first_error.or(tally.first_error);
        round.micros.extend(tally.micros);
    }
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
