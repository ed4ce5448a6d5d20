//! What one call, or one checkout, may say of itself.

use std::time::{Duration, Instant};

use super::config::{check_call, Hedge, RetryConfig};
use super::error::PoolError;
use super::headers::Headers;

/// How one call is made. What it says wins over the rule of its method, and that over the
/// service's settings. Its rules are looked at as those of the settings are: a call with one that
/// is out of its range fails with [`PoolError::Config`](super::PoolError::Config), and nothing of
/// it is sent.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) checkout_timeout: Option<Duration>,
    pub(super) idempotent: bool,
    pub(super) wait_for_ready: bool,
    pub(super) retry: Option<RetryConfig>,
    pub(super) hedge: Option<Hedge>,
    pub(super) headers: Headers,
}

impl CallOptions {
    /// As the service's settings say; not idempotent.
    pub fn new() -> CallOptions {
        CallOptions::default()
    }

    /// The whole call, with all attempts and pauses, takes at most so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> CallOptions {
        self.timeout = Some(timeout);
        self
    }

    /// The whole call is over by then; this wins over any time limit.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> CallOptions {
        self.deadline = Some(deadline);
        self
    }

    /// One attempt takes at most so long; the next one may follow.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> CallOptions {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// It waits at most so long for a free connection.
    #[must_use]
    pub fn checkout_timeout(mut self, timeout: Duration) -> CallOptions {
        self.checkout_timeout = Some(timeout);
        self
    }

    /// Making the call twice does no harm, so that it may be repeated when nobody knows whether
    /// the server got it.
    #[must_use]
    pub fn idempotent(mut self) -> CallOptions {
        self.idempotent = true;
        self
    }

    /// Waits while nothing is connected, instead of failing at once.
    #[must_use]
    pub fn wait_for_ready(mut self) -> CallOptions {
        self.wait_for_ready = true;
        self
    }

    /// It is repeated so.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> CallOptions {
        self.retry = Some(retry);
        self
    }

    /// It has several attempts at the same time; it must be idempotent, or it fails.
    #[must_use]
    pub fn hedge(mut self, hedge: Hedge) -> CallOptions {
        self.hedge = Some(hedge);
        self
    }

    /// Sends these with the call.
    ///
    /// # Errors
    /// If gRPC does not take a key or a value; keys that begin with `grpc-` are gRPC's own.
    pub fn metadata(mut self, pairs: &[(&str, &str)]) -> Result<CallOptions, grpcio::Error> {
        for (key, value) in pairs {
            self.headers.add(key, value)?;
        }
        Ok(self)
    }

    /// Sends these bytes with the call; the key ends with `-bin`.
    ///
    /// # Errors
    /// As for [`metadata`](Self::metadata).
    pub fn metadata_bytes(mut self, key: &str, value: &[u8]) -> Result<CallOptions, grpcio::Error> {
        self.headers.add_bytes(key, value)?;
        Ok(self)
    }

    /// Looks at its own rules.
    ///
    /// # Errors
    /// [`PoolError::Config`] with all that is wrong.
    pub(super) fn check(&self, is_idempotent: bool) -> Result<(), PoolError> {
        Ok(check_call(self.retry.as_ref(), self.hedge.as_ref(), is_idempotent)?)
    }
}

/// How one connection is lent. What it does not say is as the service's settings say.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckoutOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
    pub(super) wait_for_ready: bool,
    pub(super) exclusive: bool,
}

impl CheckoutOptions {
    /// As the service's settings say.
    pub fn new() -> CheckoutOptions {
        CheckoutOptions::default()
    }

    /// Waits at most so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> CheckoutOptions {
        self.timeout = Some(timeout);
        self
    }

    /// Waits at most until then, and no longer than the time limit.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> CheckoutOptions {
        self.deadline = Some(deadline);
        self
    }

    /// Waits while nothing is connected, instead of failing at once.
    #[must_use]
    pub fn wait_for_ready(mut self) -> CheckoutOptions {
        self.wait_for_ready = true;
        self
    }

    /// Of a pool whose connections are shared (`calls_per_channel` above 1): one that nobody else
    /// has, nor gets until it comes back. Those who come later wait until it is found.
    #[must_use]
    pub fn exclusive(mut self) -> CheckoutOptions {
        self.exclusive = true;
        self
    }
}
