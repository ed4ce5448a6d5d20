//! Several attempts of a call at the same time.

use std::time::Duration;

use connection_pool_manager::client::{CallOptions, Code, ConnectionManager, Error, Hedge, Ready};
use grpcio::RpcStatusCode;

use crate::calls::{call, failed, quick};
use crate::echo::{Echo, Step};
use crate::{ready, PATIENCE};

fn hedged(max_attempts: u32, delay: Duration) -> CallOptions {
    CallOptions::new().idempotent().timeout(PATIENCE).hedge(Hedge { max_attempts, delay })
}

const SOON: Duration = Duration::from_millis(10);

#[test]
fn the_second_attempt_answers_and_the_first_is_cancelled_at_the_server() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &quick(echo.port, 2)).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    echo.script(&[Step::Hang]);
    assert_eq!(call(&pool, &hedged(2, SOON)).unwrap(), b"hello");
    let counted = manager.metrics().encode();
    for family in ["hedges_total", "hedges_won_total"] {
        let of = "{method=\"/test.Echo/Say\",service=\"echo\"}";
        assert!(counted.contains(&format!("grpc_client_{family}{of} 1\n")), "{counted}");
    }
    assert_eq!((echo.calls(), pool.metrics().lent), (2, 0));
    // What is sent on the same connection after the cancel comes after it.
    for _ in 0..2 {
        assert!(call(&pool, &CallOptions::new()).is_ok());
    }
    assert_eq!(echo.cancelled(), 1);
}

#[test]
fn one_that_has_failed_is_followed_at_once_and_one_that_cannot_be_better_by_none() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 3));
    let down = Step::Fail(RpcStatusCode::UNAVAILABLE);
    echo.script(&[down, down]);
    assert_eq!(call(&pool, &hedged(3, PATIENCE)).unwrap(), b"hello");
    assert_eq!(echo.calls(), 3);
    echo.script(&[down, down]);
    let error = failed(call(&pool, &hedged(2, PATIENCE)));
    assert_eq!((error.code, error.attempts, echo.calls()), (Code::Unavailable, 2, 5));
    echo.script(&[Step::Fail(RpcStatusCode::INVALID_ARGUMENT)]);
    let error = failed(call(&pool, &hedged(3, PATIENCE)));
    assert_eq!((error.code, echo.calls()), (Code::InvalidArgument, 6));
}

#[test]
fn no_attempt_waits_for_a_connection_and_what_is_not_idempotent_is_refused() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Hang]);
    let short = hedged(5, Duration::from_millis(1)).timeout(Duration::from_millis(50));
    assert_eq!(failed(call(&pool, &short)).code, Code::DeadlineExceeded);
    assert_eq!((echo.calls(), pool.metrics().waiting), (1, 0), "none was free");
    let pool = ready(&quick(echo.port, 3));
    let hedge = Hedge { max_attempts: 3, delay: Duration::from_millis(1) };
    let once = CallOptions::new().hedge(hedge).timeout(PATIENCE);
    let Err(Error::Pool(error)) = call(&pool, &once) else { panic!("it is taken") };
    assert_eq!(error.to_string(), "invalid config: options.hedge must come with idempotent");
    assert_eq!(echo.calls(), 1);
}
