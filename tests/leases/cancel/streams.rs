//! A Session stream that breaks off, before and after what else can end the
//! statement that runs on it.

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_request::Kind as Ask;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{ExecuteResponse, SessionExecute};

use super::scene::{pass, Scene, AFTER_LIFE, FIRST, LIFE, SECOND};
use super::End::{self, Caller, Lifetime, Natural, Timeout};
use crate::harness::sql::assert_error;
use crate::harness::{code, eventually, millis, now};

fn heard(session: &mut Session) -> Result<ExecuteResponse, CallError> {
    match session.next().expect("an answer").and_then(|response| response.kind) {
        Some(Said::Executed(executed)) => match executed.outcome.expect("an outcome") {
            Outcome::Response(response) => Ok(response),
            Outcome::Error(status) => Err(status.into()),
            other => panic!("{other:?}"),
        },
        other => panic!("not an answer: {other:?}"),
    }
}

/// The stream breaks off before the other end comes, or after it. False: a busy
/// machine has let something come too late.
fn round(scene: &Scene, other: End, stream_first: bool) -> bool {
    let (sooner, later) = if other == Lifetime { (LIFE, AFTER_LIFE) } else { (FIRST, SECOND) };
    let at = if stream_first { later } else { sooner };
    let number = scene.keep();
    let before = scene.cancels();
    let time = millis(at.as_millis() as u64);
    let max_lifetime = if other == Lifetime { time.clone() } else { millis(3_600_000) };
    let terms = ConnectionRequest { max_lifetime, ..ConnectionRequest::default() };
    let (session, opened) =
        scene.service.client().open_session(scene.asks(terms)).expect("a session");
    let mut session = Some(session);
    let statements = vec![statement(&Scene::waiting(number))];
    let timeout = if other == Timeout { time } else { millis(3_600_000) };
    let execute = SessionExecute { id: 1, statements, timeout, ..SessionExecute::default() };
    let started = now();
    let hold = scene.way.hold_next();
    let stream = session.as_mut().expect("it is there");
    stream.send(Ask::Execute(execute)).expect("sent");
    if !scene.is_blocked_before(started + sooner) {
        scene.open();
        return false;
    }
    if stream_first {
        drop(session.take());
        // The cancel is on its way, and gets no further for the moment.
        hold.wait();
    }
    match (other, session.as_mut()) {
        (Natural, _) => {
            scene.open();
            eventually("the row is there", || scene.rows(number) == 1);
        }
        (Caller, Some(stream)) => stream.cancel(1).expect("sent"),
        (Caller, None) => panic!("nobody is left to cancel"),
        _ => pass(started + at),
    }
    if !stream_first {
        match other {
            Natural => assert!(heard(session.as_mut().expect("it is there")).is_ok()),
            _ => hold.wait(),
        }
        drop(session.take());
    }
    drop(hold);
    let left = scene.settle();
    scene.open();
    if left != 1 {
        // The cancel was held up for too long.
        return false;
    }
    let cancels = scene.cancels().since(&before);
    let (first, second) = match stream_first {
        true => (Some("stream_lost"), other.cause()),
        false => (other.cause(), Some("stream_lost")),
    };
    if cancels.failed > 0 || cancels.of(first) != u64::from(first.is_some()) {
        return false;
    }
    assert_eq!(cancels.of(second), 0, "{other:?}, the stream first: {stream_first}");
    assert_eq!(scene.rows(number), usize::from(other == Natural), "{other:?}");
    // Nothing of it hits whoever is next on that backend.
    let next = scene.lease();
    next.run(&["select pg_sleep(0.05)"]);
    next.release();
    let (pid, same) = (opened.lease.backend_pid, next.pid == opened.lease.backend_pid);
    assert!(same || scene.service.gave_way(pid), "{other:?}: the backend was closed");
    same
}

#[test]
fn a_stream_that_breaks_off_first_is_the_cause() {
    let scene = Scene::new();
    for other in [Timeout, Lifetime, Natural] {
        super::in_time((Caller, other), || round(&scene, other, true));
    }
}

#[test]
fn a_stream_that_breaks_off_later_comes_too_late() {
    let scene = Scene::new();
    for other in [Caller, Timeout, Lifetime, Natural] {
        super::in_time((other, Caller), || round(&scene, other, false));
    }
}

#[test]
fn the_end_of_a_lifetime_is_returned_on_the_stream() {
    let scene = Scene::new();
    let number = scene.keep();
    let terms = ConnectionRequest { max_lifetime: millis(1000), ..ConnectionRequest::default() };
    let (mut session, _) =
        scene.service.client().open_session(scene.asks(terms)).expect("a session");
    session.execute(1, &[&Scene::waiting(number)]).expect("sent");
    assert_error(&super::refused(heard(&mut session)), code::ABORTED, "CANCELLED");
    scene.open();
    scene.is_quiet();
    assert_eq!(scene.rows(number), 0);
}
