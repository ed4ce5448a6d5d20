//! The way of a call: breaker, then attempts, each on a connection of its own.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe, Location};
use std::pin::pin;
use std::time::{Duration, Instant};

use grpcio::{CallOption, Channel, Client, ClientUnaryReceiver, Method};

use super::breakers::{self, Pass};
use super::call_error::{delivery, Code, Delivery, Error, RpcError};
use super::connection::Connection;
use super::error::PoolError;
use super::metrics::MethodMeter;
use super::options::CallOptions;
use super::pool::Pool;
use super::reporter::Ended;
use super::retry::{self, Failure};
use super::runtime;
use super::shared::Patience;
use super::wait::wait;
use crate::clock;
use crate::core::breaker::Verdict;

/// gRPC ends a call at its deadline itself, and is waited for a little longer.
const MARGIN: Duration = Duration::from_millis(100);

/// A call that is under way.
struct Call<'a> {
    pool: &'a Pool,
    method: &'a str,
    options: &'a CallOptions,
    begun: Instant,
    deadline: Option<Instant>,
    at: &'static Location<'static>,
    meter: MethodMeter,
    attempts: Cell<u32>,
}

impl Pool {
    /// Makes a unary call without a stub.
    ///
    /// # Errors
    /// [`Error::Pool`] if there was no connection, [`Error::Rpc`] with the last attempt's error.
    #[track_caller]
    pub fn call<Q, R>(
        &self,
        method: &Method<Q, R>,
        request: &Q,
        options: &CallOptions,
    ) -> Result<R, Error> {
        let at = Location::caller();
        Call::new(self, method.name, options, at)
            .run(|client, option| client.unary_call_async(method, request, option))
    }

    /// Makes a unary call with a stub: `start` calls its asynchronous form, which returns at
    /// once, for each attempt.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    #[track_caller]
    pub fn call_with<R>(
        &self,
        method: &str,
        options: &CallOptions,
        mut start: impl FnMut(&Channel, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let at = Location::caller();
        Call::new(self, method, options, at).run(|client, option| start(client.channel(), option))
    }
}

impl<'a> Call<'a> {
    fn new(
        pool: &'a Pool,
        method: &'a str,
        options: &'a CallOptions,
        at: &'static Location<'static>,
    ) -> Call<'a> {
        let begun = clock::now();
        let timeout = options.timeout.or(pool.shared().config.call.timeout);
        // What is too far away for the clock is no limit.
        let deadline = timeout.and_then(|timeout| begun.checked_add(timeout));
        let meter = pool.shared().reporter.meter().method(method);
        Call { pool, method, options, begun, deadline, at, meter, attempts: Cell::new(0) }
    }

    fn run<R>(
        &self,
        start: impl FnMut(&Client, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let result = self.repeat(start);
        self.pool.shared().reporter.call(
            &self.meter,
            &Ended {
                method: self.method,
                code: result.as_ref().err().map_or(Code::Ok, Error::code),
                attempts: self.attempts.get(),
                took: clock::now().saturating_duration_since(self.begun),
            },
        );
        result
    }

    fn repeat<R>(
        &self,
        mut start: impl FnMut(&Client, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let shared = self.pool.shared();
        if runtime::is_queue_thread(shared.dialer.environment()) {
            return Err(PoolError::OnGrpcThread.into());
        }
        let pass = shared.breakers.enter(self.method, self.begun).map_err(|next| {
            self.meter.rejected();
            let message = format!("circuit breaker is open; next probe in {} ms", next.as_millis());
            Error::from(self.error(Code::Unavailable, message, Delivery::NotSent, 0))
        })?;
        shared.budget.lock().call();
        let (mut attempt, mut avoid) = (0, None);
        loop {
            attempt += 1;
            self.attempts.set(attempt);
            let tried = match self.connect(avoid) {
                Ok(connection) => {
                    avoid = Some(connection.address_number());
                    let tried = self.attempt(&connection, attempt, &mut start);
                    self.meter.attempt(tried.as_ref().err().map_or(Code::Ok, Error::code));
                    tried
                }
                Err(error) => Err(Error::Pool(error)),
            };
            let error = match tried {
                Ok(answer) => {
                    self.settle(pass, Verdict::Good);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some(pause) = self.pause(&error, attempt) else {
                self.settle(pass, breakers::verdict(&error));
                return Err(error);
            };
            self.meter.retry();
            self.rest(pause);
        }
    }

    fn connect(&self, avoid: Option<usize>) -> Result<Connection, PoolError> {
        let now = clock::now();
        let mut patience = self.pool.shared().patience(self.at, now);
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline <= patience.until) {
            patience = Patience { until: deadline, is_deadline: true, ..patience };
        }
        patience.wants.avoid = avoid;
        patience.wants.wait_for_ready |= self.options.wait_for_ready;
        self.pool.lend(patience)
    }

    fn attempt<R>(
        &self,
        connection: &Connection,
        attempt: u32,
        start: &mut impl FnMut(&Client, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>,
    ) -> Result<R, Error> {
        let mut option = CallOption::default();
        if let Some(metadata) = &self.options.metadata {
            option = option.headers(metadata.clone());
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(clock::now());
            // gRPC does not keep limits under a millisecond.
            if left < Duration::from_millis(1) {
                return Err(self.late(attempt, Delivery::NotSent).into());
            }
            option = option.timeout(left);
        }
        let failed = |code, message: String, delivery| {
            let address = Some(connection.address());
            RpcError { address, ..self.error(code, message, delivery, attempt) }
        };
        let mut receiver = start(connection.link().client(), option)
            .map_err(|error| failed(Code::Internal, error.to_string(), Delivery::NotSent))?;
        let until = self.deadline.map(|deadline| deadline + MARGIN);
        // grpcio panics over an answer without a message.
        let waiting = AssertUnwindSafe(|| wait(pin!(receiver.message()), until));
        match catch_unwind(waiting) {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(grpcio::Error::RpcFailure(status)))) => {
                let code = Code::of(status.code().into());
                let error = failed(code, status.message().to_owned(), delivery(&status));
                Err(RpcError { details: status.details().to_vec(), ..error }.into())
            }
            Ok(Some(Err(error))) => {
                Err(failed(Code::Internal, error.to_string(), Delivery::Unknown).into())
            }
            Ok(None) => {
                receiver.cancel();
                Err(self.late(attempt, Delivery::Unknown).into())
            }
            Err(_) => {
                let message = "the server answered OK without a message".to_owned();
                Err(failed(Code::Internal, message, Delivery::Unknown).into())
            }
        }
    }

    /// The pause before the next attempt, if there is one that fits the deadline and the budget.
    fn pause(&self, error: &Error, attempt: u32) -> Option<Duration> {
        let shared = self.pool.shared();
        let config = shared.config.retry.as_ref()?;
        let failure = match error {
            Error::Rpc(error) => Failure {
                attempt,
                code: error.code,
                delivery: error.delivery,
                asked: error.retry_after(),
            },
            Error::Pool(PoolError::NotConnected { .. }) => Failure {
                attempt,
                code: Code::Unavailable,
                delivery: Delivery::NotSent,
                // Nothing changes at once.
                asked: Some(Duration::ZERO),
            },
            Error::Pool(_) => return None,
        };
        let meter = shared.reporter.meter();
        let idempotent = self.options.idempotent;
        let Some(pause) = retry::pause(config, idempotent, failure, shared.chance()) else {
            if !idempotent && retry::pause(config, true, failure, 0).is_some() {
                meter.retry_refused("not_idempotent");
            }
            return None;
        };
        let now = clock::now();
        if self.deadline.is_some_and(|deadline| now + pause >= deadline) {
            meter.retry_refused("deadline");
            return None;
        }
        let may = shared.budget.lock().repeat(now);
        if !may {
            meter.retry_refused("budget");
        }
        may.then_some(pause)
    }

    fn settle(&self, pass: Pass<'_>, verdict: Verdict) {
        if let Some(change) = pass.settle(verdict) {
            self.pool.shared().reporter.breaker(self.method, change);
        }
    }

    /// Waits for so long; nobody can ask a thread that waits for an answer to stop.
    fn rest(&self, pause: Duration) {
        if !pause.is_zero() {
            let until = clock::now() + pause;
            wait(pin!(std::future::pending::<()>()), Some(until));
        }
    }

    fn late(&self, attempts: u32, delivery: Delivery) -> RpcError {
        self.error(Code::DeadlineExceeded, "deadline exceeded".to_owned(), delivery, attempts)
    }

    fn error(&self, code: Code, message: String, delivery: Delivery, attempts: u32) -> RpcError {
        RpcError {
            code,
            message,
            delivery,
            service: self.pool.service().to_owned(),
            method: self.method.to_owned(),
            address: None,
            attempts,
            elapsed: clock::now().saturating_duration_since(self.begun),
            details: Vec::new(),
        }
    }
}
