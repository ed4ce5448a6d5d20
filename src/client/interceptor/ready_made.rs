//! Interceptors that many need.

use super::{After, Finished, Interceptor, Outgoing};
use crate::client::call_error::{Code, RpcError};
use crate::lock::Leaf;

/// Sends a text with every call.
pub fn metadata(key: &str, value: &str) -> impl Interceptor {
    Fixed { key: key.to_owned(), value: value.to_owned() }
}

struct Fixed {
    key: String,
    value: String,
}

impl Interceptor for Fixed {
    fn before_call(&self, call: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        call.add(&self.key, &self.value)
    }
}

/// Sends `authorization: Bearer TOKEN` with every attempt. The token is asked for at the first
/// call; after UNAUTHENTICATED it is asked for anew, and the call gets one more attempt.
pub fn bearer(ask: impl Fn() -> String + Send + Sync + 'static) -> impl Interceptor {
    Bearer { ask, known: Leaf::new(None) }
}

struct Bearer<F> {
    ask: F,
    known: Leaf<Option<String>>,
}

impl<F: Fn() -> String + Send + Sync> Interceptor for Bearer<F> {
    fn before_attempt(&self, attempt: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        let known = self.known.lock().clone();
        let token = known.unwrap_or_else(|| {
            // Whoever gives tokens may be far away, and is not asked under the lock.
            let token = (self.ask)();
            *self.known.lock() = Some(token.clone());
            token
        });
        // The error of gRPC would show it.
        let added = attempt.headers.add("authorization", &format!("Bearer {token}"));
        added.map_err(|_| attempt.refusal(Code::Unauthenticated, "the token is no header's value"))
    }

    fn after_attempt(&self, attempt: &Finished<'_>) -> After {
        if attempt.code() != Code::Unauthenticated {
            return After::AsUsual;
        }
        *self.known.lock() = None;
        After::Again
    }
}

/// Sends `traceparent` with every attempt, if `ask` has one: the trace that this thread works
/// for, as W3C's Trace Context writes it.
pub fn traceparent(ask: impl Fn() -> Option<String> + Send + Sync + 'static) -> impl Interceptor {
    Traced(ask)
}

struct Traced<F>(F);

impl<F: Fn() -> Option<String> + Send + Sync> Interceptor for Traced<F> {
    fn before_attempt(&self, attempt: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        match (self.0)() {
            Some(trace) => attempt.add("traceparent", &trace),
            None => Ok(()),
        }
    }
}
