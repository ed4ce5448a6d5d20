//! The way of a call, which unary calls and streams share: interceptors, breaker, then attempts
//! on connections.

mod ends;

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grpcio::{CallOption, Client};

use super::breakers::Pass;
use super::call_error::{Code, Delivery, Error, RpcError};
use super::channel::Link;
use super::config::ServiceConfig;
use super::connection::Connection;
use super::destination::Destination;
use super::error::PoolError;
use super::headers::Headers;
use super::interceptor::Outgoing;
use super::metrics::MethodMeter;
use super::options::CallOptions;
use super::plan::Plan;
use super::shared::Shared;
use crate::clock;

/// A call that is under way. It has an end even if it is dropped.
pub(super) struct Way {
    pub(super) shared: Arc<Shared>,
    /// As they were when it began.
    config: Arc<ServiceConfig>,
    pub(super) plan: Plan,
    pub(super) attempts: u32,
    method: Arc<str>,
    headers: Headers,
    begun: Instant,
    at: &'static Location<'static>,
    checkout_timeout: Option<Duration>,
    pass: Option<Pass>,
    pub(super) meter: MethodMeter,
    /// So many interceptors let it pass.
    asked: usize,
    /// An interceptor has refused it.
    refused: bool,
    again: Again,
    /// The address of the last attempt.
    avoid: Option<usize>,
    ended: bool,
}

/// Whether an interceptor wants one more attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Wanted,
    Had,
}

/// One attempt.
pub(super) struct Attempt {
    number: u32,
    /// What it is made to.
    pub(super) to: Arc<Destination>,
    link: Arc<Link>,
    begun: Instant,
    /// Its own time limit or the call's.
    pub(super) until: Option<Instant>,
    /// That is its own.
    is_own: bool,
    asked: usize,
    /// What interceptors have made of the call's.
    headers: Headers,
}

impl Attempt {
    pub(super) fn is_first(&self) -> bool {
        self.number == 1
    }
}

impl Way {
    /// Asks the interceptors and the breaker.
    ///
    /// # Errors
    /// What they refuse it with, [`PoolError::OnGrpcThread`], or [`PoolError::Config`] if rules of
    /// its own break those of the settings.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        method: &str,
        options: &CallOptions,
        at: &'static Location<'static>,
    ) -> Result<Way, Error> {
        if shared.dialer.runtime().is_own_thread() {
            return Err(PoolError::OnGrpcThread.into());
        }
        let (begun, config) = (clock::now(), shared.config());
        let plan = Plan::of(&config, method, options, begun);
        options.check(plan.idempotent)?;
        let mut way = Way {
            plan,
            config,
            shared: Arc::clone(shared),
            method: Arc::from(method),
            headers: options.headers.clone(),
            begun,
            at,
            checkout_timeout: options.checkout_timeout,
            pass: None,
            meter: shared.reporter.meter().method(method),
            attempts: 0,
            asked: 0,
            refused: false,
            again: Again::No,
            avoid: None,
            ended: false,
        };
        way.admit().inspect_err(|error| way.end(Some(error)))?;
        way.shared.budget.lock().call();
        Ok(way)
    }

    fn admit(&mut self) -> Result<(), Error> {
        let mut outgoing = Outgoing {
            service: &self.shared.service,
            method: &self.method,
            attempt: 0,
            address: None,
            deadline: self.plan.deadline,
            headers: &mut self.headers,
        };
        let interceptors = &self.config.interceptors;
        let (asked, said) = interceptors.ask(|one| one.before_call(&mut outgoing));
        self.asked = asked;
        if let Err(error) = said {
            self.refused = true;
            return Err(self.timed(error));
        }
        let breakers = self.shared.breakers();
        let pass = breakers.enter(&self.method, self.plan.breaker.as_ref(), self.begun);
        self.pass = Some(pass.map_err(|next| {
            self.meter.rejected();
            let message = format!("circuit breaker is open; next probe in {} ms", next.as_millis());
            self.error(Code::Unavailable, message, Delivery::NotSent)
        })?);
        Ok(())
    }

    fn timed(&self, mut error: Box<RpcError>) -> Error {
        error.elapsed = clock::now().saturating_duration_since(self.begun);
        Error::Rpc(error)
    }

    /// A connection for the next attempt, elsewhere than the last one if possible.
    ///
    /// # Errors
    /// As for [`Pool::get`](super::pool::Pool::get).
    pub(super) fn connect(&mut self) -> Result<Connection, Error> {
        self.attempts += 1;
        let now = clock::now();
        let mut patience = self.shared.patience(self.at, now);
        if let Some(timeout) = self.checkout_timeout {
            patience = patience.within(timeout, now);
        }
        patience = patience.by(self.plan.deadline);
        patience.wants.avoid = self.avoid;
        patience.wants.wait_for_ready = self.plan.wait_for_ready;
        let connection = Connection::lend(&self.shared, patience)?;
        self.avoid = Some(connection.link().to().number);
        Ok(connection)
    }

    /// A free connection for one more attempt beside the others, if there is one and the budget
    /// allows it.
    pub(super) fn spare(&mut self) -> Option<Connection> {
        let now = clock::now();
        let mut patience = self.shared.patience(self.at, now);
        patience.wants.avoid = self.avoid;
        let connection = Connection::spare(&self.shared, patience)?;
        if !self.shared.budget.lock().repeat(now) {
            return None;
        }
        self.attempts += 1;
        Some(connection)
    }

    /// Begins an attempt on a connection.
    ///
    /// # Errors
    /// What an interceptor refuses it with, or that the deadline is over.
    pub(super) fn attempt(
        &mut self,
        connection: &Connection,
        limit: Option<Duration>,
    ) -> Result<(Attempt, CallOption), Error> {
        let begun = clock::now();
        let own = limit.and_then(|limit| begun.checked_add(limit));
        let until = match (own, self.plan.deadline) {
            (Some(own), Some(deadline)) => Some(own.min(deadline)),
            (own, deadline) => own.or(deadline),
        };
        let is_own = own.is_some() && until == own;
        let link = Arc::clone(connection.link());
        let (to, number, headers) = (Arc::clone(link.to()), self.attempts, Headers::default());
        let mut attempt = Attempt { number, to, link, begun, until, is_own, asked: 0, headers };
        let mut option = CallOption::default();
        let interceptors = &self.config.interceptors;
        if interceptors.is_empty() {
            if let Some(metadata) = self.headers.build() {
                option = option.headers(metadata);
            }
        } else {
            let mut headers = self.headers.clone();
            let mut outgoing = Outgoing {
                service: &self.shared.service,
                method: &self.method,
                attempt: attempt.number,
                address: Some(&connection.address()),
                deadline: until,
                headers: &mut headers,
            };
            let (asked, said) = interceptors.ask(|one| one.before_attempt(&mut outgoing));
            (attempt.asked, attempt.headers) = (asked, headers);
            if let Err(error) = said {
                self.refused = true;
                let error = self.timed(error);
                self.attempted(&attempt, Some(&error));
                return Err(error);
            }
            if let Some(metadata) = attempt.headers.build() {
                option = option.headers(metadata);
            }
        }
        if let Some(until) = until {
            let left = until.saturating_duration_since(clock::now());
            // gRPC does not keep limits under a millisecond.
            if left < Duration::from_millis(1) {
                let error = self.late(Delivery::NotSent).into();
                self.attempted(&attempt, Some(&error));
                return Err(error);
            }
            option = option.timeout(left);
        }
        Ok((attempt, option))
    }
}

impl Way {
    /// Begins what is made once, because what it sends is gone then: on a connection that
    /// somebody has, or on one that is lent for it.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect) and [`attempt`](Self::attempt).
    pub(super) fn open<E>(
        &mut self,
        on: Option<&Connection>,
        start: impl FnOnce(&Client, CallOption) -> grpcio::Result<E>,
    ) -> Result<(Attempt, E, Connection), Error> {
        let connection = loop {
            if let Some(connection) = on {
                self.attempts += 1;
                break connection.share();
            }
            match self.connect() {
                Ok(connection) => break connection,
                // Nothing of it was sent.
                Err(error) => match self.pause(&error) {
                    Some(pause) => self.rest(pause),
                    None => return Err(error),
                },
            }
        };
        self.open_on(connection, start)
    }

    /// Begins it on this connection.
    ///
    /// # Errors
    /// As for [`attempt`](Self::attempt).
    pub(super) fn open_on<E>(
        &mut self,
        connection: Connection,
        start: impl FnOnce(&Client, CallOption) -> grpcio::Result<E>,
    ) -> Result<(Attempt, E, Connection), Error> {
        let (attempt, option) = self.attempt(&connection, None)?;
        match start(connection.link().client(), option) {
            Ok(ends) => Ok((attempt, ends, connection)),
            Err(error) => Err(self.unbegun(&attempt, error)),
        }
    }
}

/// A stream that is left, or a panic of the caller's.
impl Drop for Way {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            let message = "left by the caller".to_owned();
            self.end(Some(&self.error(Code::Cancelled, message, Delivery::Unknown).into()));
        }
    }
}
