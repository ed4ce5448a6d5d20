//! How attempts and calls end, and what follows.

use std::pin::pin;
use std::time::Duration;

use super::{Again, Attempt, Way};
use crate::client::call_error::{delivery, Cause, Code, Delivery, Error, RpcError};
use crate::client::error::PoolError;
use crate::client::interceptor::{After, Finished};
use crate::client::reporter::CallEnded;
use crate::client::retry::{self, Failure};
use crate::client::wait::wait;
use crate::clock;
use crate::core::breaker::Verdict;

/// A server's word on when to come again is heeded up to here where a call has no deadline.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

impl Attempt {
    /// Whether its end is bad for its address; `None`: it says nothing about that.
    fn verdict(&self, error: Option<&Error>) -> Option<bool> {
        let error = match error {
            None => return Some(false),
            Some(Error::Pool(_)) => return None,
            Some(Error::Rpc(error)) => error,
        };
        match error.code {
            // Where it cannot be connected to, that is seen by connecting.
            Code::Unavailable if error.is_cut() || !self.link.is_ready() => None,
            Code::Unavailable => Some(true),
            // One by the call's deadline may have begun a moment before.
            Code::DeadlineExceeded => {
                (self.is_own && error.delivery != Delivery::NotSent).then_some(true)
            }
            Code::Cancelled => None,
            _ if error.delivery == Delivery::NotSent => None,
            // It has answered.
            _ => Some(false),
        }
    }
}

impl Way {
    /// Tells of the end of an attempt.
    pub(in crate::client) fn attempted(&mut self, attempt: &Attempt, error: Option<&Error>) {
        let finished = Finished {
            service: &self.shared.service,
            method: &self.method,
            attempt: attempt.number,
            elapsed: clock::now().saturating_duration_since(attempt.begun),
            error,
            headers: &attempt.headers,
        };
        self.meter.attempt(error.map_or(Code::Ok, Error::code));
        if let Some(bad) = attempt.verdict(error).filter(|_| !self.refused) {
            self.shared.attempted(&attempt.to, bad);
        }
        for one in self.config.interceptors.back(attempt.asked) {
            if one.after_attempt(&finished) == After::Again && self.again == Again::No {
                self.again = Again::Wanted;
            }
        }
    }

    /// The end of an attempt that gRPC could not begin.
    pub(in crate::client) fn unbegun(&mut self, attempt: &Attempt, error: grpcio::Error) -> Error {
        let error = self.error(Code::Internal, error.to_string(), Delivery::NotSent);
        let error = RpcError { address: Some(attempt.to.to_string()), ..error }.into();
        self.attempted(attempt, Some(&error));
        error
    }

    /// The pause before the next attempt, if there is one that fits the deadline and the budget.
    pub(in crate::client) fn pause(&mut self, error: &Error) -> Option<Duration> {
        let pause = match self.again {
            _ if self.refused => None,
            Again::Wanted => {
                self.again = Again::Had;
                self.rationed(Duration::ZERO)
            }
            Again::No | Again::Had => self.regular_pause(error),
        }?;
        self.meter.retry();
        Some(pause)
    }

    fn regular_pause(&self, error: &Error) -> Option<Duration> {
        let failure = match error {
            Error::Rpc(error) => Failure {
                attempt: self.attempts,
                code: error.code,
                delivery: error.delivery,
                asked: error.retry_after(),
            },
            Error::Pool(PoolError::NotConnected { .. }) => Failure {
                attempt: self.attempts,
                code: Code::Unavailable,
                delivery: Delivery::NotSent,
                // Nothing changes at once.
                asked: Some(Duration::ZERO),
            },
            Error::Pool(_) => return None,
        };
        let (config, meter) = (self.plan.retry.as_ref()?, self.shared.reporter.meter());
        let idempotent = self.plan.idempotent;
        let Some(pause) = retry::pause(config, idempotent, failure, self.shared.chance()) else {
            if !idempotent && retry::pause(config, true, failure, 0).is_some() {
                meter.retry_refused("not_idempotent");
            }
            return None;
        };
        self.rationed(pause)
    }

    /// The pause, if it fits the deadline and the budget.
    fn rationed(&self, pause: Duration) -> Option<Duration> {
        let (now, meter) = (clock::now(), self.shared.reporter.meter());
        let deadline = self.plan.deadline.unwrap_or(now + PAUSE_MAX);
        if clock::after(now, pause) >= deadline {
            meter.retry_refused("deadline");
            return None;
        }
        let may = self.shared.budget.lock().repeat(now);
        if !may {
            meter.retry_refused("budget");
        }
        may.then_some(pause)
    }

    /// Waits for so long; nobody can ask a thread that waits for an answer to stop.
    pub(in crate::client) fn rest(&self, pause: Duration) {
        if !pause.is_zero() {
            let until = clock::after(clock::now(), pause);
            wait(pin!(std::future::pending::<()>()), Some(until));
        }
    }

    /// Tells of the end of the call. Once is as good as twice.
    pub(in crate::client) fn end(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let verdict = error.map_or(Verdict::Good, |error| self.verdict(error));
        if let Some(change) = self.pass.take().and_then(|pass| pass.settle(verdict)) {
            self.shared.reporter.breaker(&self.method, change);
        }
        let ended = CallEnded {
            method: &self.method,
            code: error.map_or(Code::Ok, Error::code),
            attempts: self.attempts,
            took: self.elapsed(),
        };
        self.shared.reporter.call(&self.meter, &ended);
        let finished = Finished {
            service: &self.shared.service,
            method: &self.method,
            attempt: self.attempts,
            elapsed: self.elapsed(),
            error,
            headers: &self.headers,
        };
        for one in self.config.interceptors.back(self.asked) {
            one.after_call(&finished);
        }
    }

    /// What the call says of the service.
    fn verdict(&self, error: &Error) -> Verdict {
        let counts = |code| {
            let breaker = self.plan.breaker.as_ref();
            breaker.is_some_and(|breaker| breaker.codes.contains(&code))
        };
        match error {
            _ if self.refused => Verdict::Neither,
            // Nobody but the caller does that.
            Error::Rpc(error) if error.code == Code::Cancelled => Verdict::Neither,
            Error::Rpc(error) if counts(error.code) => Verdict::Bad,
            // It has answered.
            Error::Rpc(_) => Verdict::Good,
            Error::Pool(PoolError::NotConnected { .. }) if counts(Code::Unavailable) => {
                Verdict::Bad
            }
            Error::Pool(_) => Verdict::Neither,
        }
    }

    pub(in crate::client) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.begun)
    }

    pub(in crate::client) fn late(&self, delivery: Delivery) -> RpcError {
        self.error(Code::DeadlineExceeded, "deadline exceeded".to_owned(), delivery)
    }

    /// The error of an attempt that gRPC could not begin, or that has failed.
    pub(in crate::client) fn failed(&self, attempt: &Attempt, error: grpcio::Error) -> Error {
        let error = match error {
            grpcio::Error::RpcFailure(status) => {
                let code = Code::of(status.code().into());
                let error = self.error(code, status.message().to_owned(), delivery(&status));
                let cause = Some(Cause(status.debug_error_string().to_owned()));
                RpcError { details: status.details().to_vec(), cause, ..error }
            }
            error => self.error(Code::Internal, error.to_string(), Delivery::Unknown),
        };
        RpcError { address: Some(attempt.to.to_string()), ..error }.into()
    }

    pub(in crate::client) fn error(
        &self,
        code: Code,
        message: String,
        delivery: Delivery,
    ) -> RpcError {
        RpcError {
            code,
            message,
            delivery,
            service: self.shared.service.clone(),
            method: self.method.to_string(),
            address: None,
            attempts: self.attempts,
            elapsed: self.elapsed(),
            details: Vec::new(),
            cause: None,
        }
    }
}
