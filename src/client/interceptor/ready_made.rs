//! Interceptors that many need.

use std::sync::Condvar;
use std::time::{Duration, Instant};

use super::{After, Finished, Interceptor, Outgoing};
use crate::client::call_error::{Code, RpcError};
use crate::clock;
use crate::lock::Leaf;

const AUTHORIZATION: &str = "authorization";

/// A wait without an end looks up so often.
const LOOK: Duration = Duration::from_secs(60);

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
/// call, by one of those who need it, for whom the others wait; after UNAUTHENTICATED it is asked
/// for anew, unless that was done meanwhile, and the call gets one more attempt.
pub fn bearer(ask: impl Fn() -> String + Send + Sync + 'static) -> impl Interceptor {
    Bearer { ask, token: Leaf::default(), told: Condvar::new() }
}

struct Bearer<F> {
    ask: F,
    token: Leaf<BearerToken>,
    told: Condvar,
}

#[derive(Default)]
struct BearerToken {
    known: Option<String>,
    /// Somebody asks for it.
    is_asked: bool,
}

/// Ends the asking, also after a panic.
struct Asking<'a>(&'a Leaf<BearerToken>, &'a Condvar);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().is_asked = false;
        self.1.notify_all();
    }
}

impl<F: Fn() -> String> Bearer<F> {
    /// The token; `None` if somebody has asked for it until then without an answer.
    fn token(&self, until: Option<Instant>) -> Option<String> {
        let mut token = self.token.lock();
        while token.known.is_none() && token.is_asked {
            let left = until.map(|until| until.saturating_duration_since(clock::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            token = token.wait(&self.told, left.map_or(LOOK, |left| left.min(LOOK)));
        }
        if let Some(known) = &token.known {
            return Some(known.clone());
        }
        token.is_asked = true;
        drop(token);
        let asking = Asking(&self.token, &self.told);
        // Whoever gives tokens may be far away, and is not asked under the lock.
        let given = (self.ask)();
        self.token.lock().known = Some(given.clone());
        drop(asking);
        Some(given)
    }
}

impl<F: Fn() -> String + Send + Sync> Interceptor for Bearer<F> {
    fn before_attempt(&self, attempt: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        let Some(token) = self.token(attempt.deadline) else {
            return Err(attempt.refusal(Code::DeadlineExceeded, "the token did not come in time"));
        };
        // The error of gRPC would show it.
        let added = attempt.headers.add(AUTHORIZATION, &format!("Bearer {token}"));
        added.map_err(|_| attempt.refusal(Code::Unauthenticated, "the token is no header's value"))
    }

    fn after_attempt(&self, attempt: &Finished<'_>) -> After {
        if attempt.code() != Code::Unauthenticated {
            return After::AsUsual;
        }
        let mut token = self.token.lock();
        // Another call may have asked for a better one meanwhile.
        token.known.take_if(|known| attempt.headers.has(AUTHORIZATION, &format!("Bearer {known}")));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::client::call_error::Error;
    use crate::client::headers::Headers;

    /// What an attempt is sent with.
    fn sent(bearer: &impl Interceptor) -> Headers {
        let mut headers = Headers::default();
        let mut outgoing = Outgoing {
            service: "users",
            method: "/shop.Users/Get",
            attempt: 1,
            address: None,
            deadline: None,
            headers: &mut headers,
        };
        bearer.before_attempt(&mut outgoing).unwrap();
        headers
    }

    #[test]
    fn only_the_token_that_was_refused_is_asked_for_anew() {
        let count = AtomicUsize::new(0);
        let bearer = bearer(move || format!("t{}", count.fetch_add(1, Ordering::SeqCst)));
        let refused = |headers: &Headers| {
            let outgoing = Outgoing {
                service: "users",
                method: "/shop.Users/Get",
                attempt: 1,
                address: None,
                deadline: None,
                headers: &mut Headers::default(),
            };
            let error = Error::Rpc(outgoing.refusal(Code::Unauthenticated, "old"));
            let (service, method) = ("users", "/shop.Users/Get");
            let (elapsed, error) = (Duration::ZERO, Some(&error));
            let finished = Finished { service, method, attempt: 1, elapsed, error, headers };
            assert!(bearer.after_attempt(&finished) == After::Again);
        };
        let (one, two) = (sent(&bearer), sent(&bearer));
        assert!(one.has("authorization", "Bearer t0") && one == two);
        refused(&one);
        assert!(sent(&bearer).has("authorization", "Bearer t1"));
        refused(&two);
        assert!(sent(&bearer).has("authorization", "Bearer t1"), "it is another one by now");
    }
}
