//! Rules for methods, deadlines, and what errors tell.

use std::time::{Duration, Instant};

use connection_pool_manager::client::{
    deadline, raw, BreakerConfig, BudgetConfig, CallOptions, Code, Error, Hedge, MethodPolicy,
    PoolError, RetryConfig,
};
use connection_pool_manager::proto::error_details::ErrorInfo;
use grpcio::RpcStatusCode;

use crate::calls::{call, failed, quick};
use crate::echo::{Echo, Step, LETTERS, SAY};
use crate::{ready, PATIENCE};

const DOWN: Step = Step::Fail(RpcStatusCode::UNAVAILABLE);

fn soon() -> Instant {
    #[allow(clippy::disallowed_methods)] // A test's own deadline.
    let now = Instant::now();
    now + Duration::from_millis(40)
}

#[test]
fn a_method_may_have_rules_of_its_own() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    config.methods.set("/test.Echo/S*", MethodPolicy::new().idempotent());
    let pool = ready(&config);
    echo.script(&[DOWN, DOWN]);
    assert!(call(&pool, &CallOptions::new()).is_ok());
    assert_eq!(echo.calls(), 3);
    let once = RetryConfig { max_attempts: 1, ..RetryConfig::default() };
    echo.script(&[DOWN]);
    assert!(call(&pool, &CallOptions::new().retry(once)).is_err(), "a call wins");

    let one = BreakerConfig { failures: 1, ..BreakerConfig::default() };
    config.methods.set("/test.Echo/Say", MethodPolicy::new().breaker(one));
    let pool = ready(&config);
    echo.script(&[DOWN]);
    for _ in 0..2 {
        assert_eq!(failed(call(&pool, &CallOptions::new())).code, Code::Unavailable);
    }
    let other = pool.call(&raw("/test.Echo/Other"), &Vec::new(), &CallOptions::new());
    assert_eq!(failed(other).code, Code::Unimplemented, "a breaker is a method's own");
    assert_eq!(echo.calls(), 5);
}

#[test]
fn an_attempt_may_have_a_time_limit_of_its_own() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Hang]);
    let options = CallOptions::new().timeout(PATIENCE).attempt_timeout(Duration::from_millis(30));
    assert_eq!(call(&pool, &options.clone().idempotent()).unwrap(), b"hello");
    echo.script(&[Step::Hang]);
    let error = failed(call(&pool, &options));
    assert_eq!((error.code, error.attempts), (Code::DeadlineExceeded, 1));
    assert_eq!(echo.calls(), 3);
}

#[test]
fn whatever_is_called_in_a_scope_ends_with_it() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Hang]);
    let options = CallOptions::new().idempotent().timeout(PATIENCE);
    let error = deadline::scope(soon(), || failed(call(&pool, &options)));
    assert_eq!(error.code, Code::DeadlineExceeded);
    let held = pool.get().unwrap();
    let late = deadline::scope(soon(), || pool.get().map(drop));
    assert!(matches!(late, Err(PoolError::DeadlineExceeded { .. })), "{late:?}");
    let left = deadline::scope(soon(), || held.options().get_timeout().unwrap());
    assert!(left <= Duration::from_millis(40) && held.options().get_timeout().unwrap() > left);
    echo.script(&[Step::Hang]);
    let own = CallOptions::new().timeout(PATIENCE).deadline(soon());
    assert_eq!(failed(held.call(&SAY, &Vec::new(), &own)).code, Code::DeadlineExceeded);
}

#[test]
fn details_of_an_error_are_decoded_and_the_server_says_when_to_come_again() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Details(20)]);
    let error = failed(call(&pool, &CallOptions::new()));
    assert_eq!((error.code, &*error.message), (Code::Aborted, "come again"));
    assert_eq!(error.detail::<ErrorInfo>().unwrap().reason, "TOO_BUSY");
    assert_eq!(error.retry_after(), Some(Duration::from_millis(20)));
    assert!(error.is_retryable() && std::error::Error::source(&error).is_some());
    // A pause that does not fit the deadline ends the call now.
    echo.script(&[Step::Details(900)]);
    let options = CallOptions::new().idempotent().timeout(Duration::from_millis(500));
    assert_eq!(failed(call(&pool, &options)).attempts, 1);
    echo.script(&[Step::Details(20)]);
    let reply = pool.exchange(&SAY, &b"again".to_vec(), &CallOptions::new().idempotent()).unwrap();
    assert_eq!((reply.message, reply.attempts), (b"again".to_vec(), 2));
    assert!(reply.elapsed >= Duration::from_millis(20) && reply.headers.len() < 9);
}

#[test]
fn an_empty_budget_ends_a_call_with_its_last_error() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    let budget = BudgetConfig { per_call: 0.0, per_second: 0.0, most: 1.0 };
    config.retry.as_mut().unwrap().budget = budget;
    let pool = ready(&config);
    echo.script(&[DOWN; 4]);
    let error = failed(call(&pool, &CallOptions::new().idempotent()));
    assert_eq!((error.code, error.attempts, echo.calls()), (Code::Unavailable, 2, 2));
    assert_eq!(failed(call(&pool, &CallOptions::new().idempotent())).attempts, 1);
}

#[test]
fn rules_are_looked_at_before_they_are_used() {
    let mut config = quick(1, 1);
    config.methods.set("shop.Users/Get", MethodPolicy::new().hedge(Default::default()));
    config.methods.set("/a*b", MethodPolicy::new().timeout(Duration::ZERO));
    config.retry.as_mut().unwrap().jitter = 2.0;
    config.retry.as_mut().unwrap().budget.most = f64::NAN;
    config.hedge = Some(Hedge { max_attempts: 1, delay: Duration::ZERO });
    config.call.attempt_timeout = Some(Duration::ZERO);
    let said = config.check().unwrap_err().to_string();
    for rule in [
        "methods.\"shop.Users/Get\" must be /package.Service/Method",
        "methods.\"shop.Users/Get\".hedge must come with idempotent",
        "methods.\"/a*b\" must be",
        "methods.\"/a*b\".timeout must be greater than 0",
        "retry.jitter must be from 0 to 1, and is 2",
        "retry.budget.most must be from 1 to 10000, and is NaN",
        "hedge.max_attempts must be from 2 to 5, and is 1",
        "hedge.delay must be greater than 0",
        "call.attempt_timeout must be greater than 0",
    ] {
        assert!(said.contains(rule), "{rule}: {said}");
    }
    let no_pool = Error::Pool(PoolError::OnGrpcThread);
    assert_eq!(no_pool.code(), Code::FailedPrecondition);
}

#[test]
fn rules_of_one_call_are_looked_at_like_those_of_the_settings() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    let retry = RetryConfig { max_attempts: 0, jitter: f64::NAN, ..RetryConfig::default() };
    let hedge = Hedge { max_attempts: 9, delay: Duration::ZERO };
    let options = CallOptions::new().retry(retry).hedge(hedge);
    let idempotent = options.clone().idempotent();
    let held = pool.get().unwrap();
    let said = [
        call(&pool, &options).map(drop),
        pool.stream(&LETTERS, &b"7".to_vec(), &options).map(drop),
        held.call(&SAY, &b"7".to_vec(), &options).map(drop),
        call(&pool, &idempotent).map(drop),
    ];
    for (number, said) in said.into_iter().enumerate() {
        let Err(Error::Pool(PoolError::Config(wrong))) = said else { panic!("{said:?}") };
        let said = wrong.to_string();
        for rule in [
            "options.retry.max_attempts must be from 1 to 10, and is 0",
            "options.retry.jitter must be from 0 to 1, and is NaN",
            "options.hedge.max_attempts must be from 2 to 5, and is 9",
            "options.hedge.delay must be greater than 0",
        ] {
            assert!(said.contains(rule), "{rule}: {said}");
        }
        assert_eq!(said.contains("options.hedge must come with idempotent"), number < 3, "{said}");
    }
    assert_eq!((echo.calls(), pool.metrics().waiting), (0, 0), "nothing was sent");
}
