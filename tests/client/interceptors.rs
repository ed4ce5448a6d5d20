//! What a program adds to every call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connection_pool_manager::client::interceptor::{
    bearer, metadata, traceparent, After, Finished, Outgoing,
};
use connection_pool_manager::client::{CallOptions, Code, Error, Interceptor, RpcError};
use grpcio::RpcStatusCode;

use crate::calls::{call, failed, quick};
use crate::echo::{Echo, Step, SAY};
use crate::{eventually, ready};

type Notes = Arc<Mutex<Vec<String>>>;

/// Writes down what it is told.
struct Scribe(&'static str, Notes);

impl Scribe {
    fn note(&self, what: &str) {
        self.1.lock().unwrap().push(format!("{} {what}", self.0));
    }
}

impl Interceptor for Scribe {
    fn before_call(&self, call: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        self.note(&format!("call {}", call.method()));
        call.add("x-scribe", self.0)
    }

    fn before_attempt(&self, attempt: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        assert!(attempt.address().is_some() && attempt.deadline().is_some());
        self.note(&format!("attempt {}", attempt.attempt()));
        Ok(())
    }

    fn after_attempt(&self, attempt: &Finished<'_>) -> After {
        self.note(&format!("attempted {} {}", attempt.attempt, attempt.code().as_str()));
        After::AsUsual
    }

    fn after_call(&self, call: &Finished<'_>) {
        self.note(&format!("called {} {}", call.attempt, call.code().as_str()));
    }
}

/// Refuses every second call.
#[derive(Default)]
struct Second(AtomicUsize);

impl Interceptor for Second {
    fn before_call(&self, call: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        match self.0.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Ok(()),
            _ => Err(call.refusal(Code::PermissionDenied, "every second one")),
        }
    }
}

#[test]
fn they_are_asked_in_order_and_told_of_the_end_backwards() {
    let echo = Echo::start();
    let notes = Notes::default();
    let mut config = quick(echo.port, 1);
    config.interceptors.push(Scribe("a", Arc::clone(&notes)));
    config.interceptors.push(Second::default());
    config.interceptors.push(Scribe("b", Arc::clone(&notes)));
    let pool = ready(&config);
    echo.script(&[Step::Fail(RpcStatusCode::UNAVAILABLE), Step::Metadata]);
    let said = call(&pool, &CallOptions::new().idempotent()).unwrap();
    assert_eq!(String::from_utf8(said).unwrap().matches("x-scribe=").count(), 2);
    let wanted = [
        "a call /test.Echo/Say",
        "b call /test.Echo/Say",
        "a attempt 1",
        "b attempt 1",
        "b attempted 1 UNAVAILABLE",
        "a attempted 1 UNAVAILABLE",
        "a attempt 2",
        "b attempt 2",
        "b attempted 2 OK",
        "a attempted 2 OK",
        "b called 2 OK",
        "a called 2 OK",
    ];
    assert_eq!(std::mem::take(&mut *notes.lock().unwrap()), wanted);
    let error = failed(call(&pool, &CallOptions::new().idempotent()));
    assert_eq!((error.code, error.attempts), (Code::PermissionDenied, 0));
    let wanted = ["a call /test.Echo/Say", "a called 0 PERMISSION_DENIED"];
    assert_eq!(*notes.lock().unwrap(), wanted, "who was not asked is not told");
    assert_eq!(echo.calls(), 2);
}

#[test]
fn a_refusal_says_nothing_of_the_service() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    config.interceptors.push(Second::default());
    config.breaker = Some(connection_pool_manager::client::BreakerConfig {
        failures: 1,
        codes: vec![Code::PermissionDenied],
        ..Default::default()
    });
    let pool = ready(&config);
    for _ in 0..3 {
        assert!(call(&pool, &CallOptions::new()).is_ok());
        assert_eq!(failed(call(&pool, &CallOptions::new())).code, Code::PermissionDenied);
    }
}

#[test]
fn metadata_a_trace_and_a_token_go_with_every_call() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&asked);
    config.interceptors.push(metadata("tenant", "shop"));
    config.interceptors.push(traceparent(|| Some("00-1-2-01".to_owned())));
    config.interceptors.push(bearer(move || format!("t{}", own.fetch_add(1, Ordering::SeqCst))));
    let pool = ready(&config);
    let said = |pool| {
        echo.script(&[Step::Metadata]);
        String::from_utf8(call(pool, &CallOptions::new()).unwrap()).unwrap()
    };
    for _ in 0..2 {
        let all = said(&pool);
        for line in ["tenant=shop\n", "traceparent=00-1-2-01\n", "authorization=Bearer t0\n"] {
            assert!(all.contains(line), "{all}");
        }
    }
    // A token that is no longer good is asked for anew, once for a call, idempotent or not.
    let denied = Step::Fail(RpcStatusCode::UNAUTHENTICATED);
    echo.script(&[denied]);
    assert!(said(&pool).contains("authorization=Bearer t1\n"));
    echo.script(&[denied, denied]);
    let error = failed(call(&pool, &CallOptions::new()));
    assert_eq!((error.code, error.attempts), (Code::Unauthenticated, 2));
    assert_eq!(echo.calls(), 6);
}

#[test]
fn a_token_that_is_no_header_is_not_shown() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    config.interceptors.push(bearer(|| "secret\n".to_owned()));
    let error = failed(call(&ready(&config), &CallOptions::new()));
    assert!(!format!("{error:?}").contains("secret") && error.code == Code::Unauthenticated);
    assert_eq!(echo.calls(), 0);
}

#[test]
fn a_connection_that_is_lent_makes_one_attempt_with_all_of_it() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    config.interceptors.push(metadata("tenant", "shop"));
    let pool = ready(&config);
    let connection = pool.get().unwrap();
    echo.script(&[Step::Metadata, Step::Fail(RpcStatusCode::UNAVAILABLE)]);
    let options = CallOptions::new().idempotent();
    let reply = connection.exchange(&SAY, &b"one".to_vec(), &options).unwrap();
    assert!(String::from_utf8(reply.message).unwrap().contains("tenant=shop"));
    assert_eq!((reply.attempts, reply.address), (1, format!("127.0.0.1:{}", echo.port)));
    let error = failed(connection.call(&SAY, &b"two".to_vec(), &options));
    assert_eq!((error.attempts, echo.calls()), (1, 2));
    let said = connection.call_with("/test.Echo/Say", &options, |channel, option| {
        grpcio::Client::new(channel.clone()).unary_call_async(&SAY, &b"stub".to_vec(), option)
    });
    assert_eq!(said.unwrap(), b"stub");
    assert!(connection.age() < Duration::from_secs(3600));
    let without: Result<Vec<u8>, Error> = pool.call(
        &SAY,
        &Vec::new(),
        &CallOptions::new().checkout_timeout(Duration::from_millis(5)),
    );
    assert!(matches!(without, Err(Error::Pool(_))), "it is lent");
}

#[test]
fn a_token_is_asked_for_once_by_all_who_need_it() {
    const CALLERS: usize = 8;
    let echo = Echo::start();
    let mut config = quick(echo.port, CALLERS);
    let (asked, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, callers) = (Arc::clone(&asked), Arc::clone(&begun));
    config.interceptors.push(bearer(move || {
        eventually("all have begun", || callers.load(Ordering::SeqCst) == CALLERS);
        format!("t{}", count.fetch_add(1, Ordering::SeqCst))
    }));
    let pool = ready(&config);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            #[allow(clippy::disallowed_methods)] // Threads of a test, joined by the scope.
            scope.spawn(|| {
                begun.fetch_add(1, Ordering::SeqCst);
                assert!(call(&pool, &CallOptions::new()).is_ok());
            });
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
