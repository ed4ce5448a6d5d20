//! The ways in which an operation can end, each before and after each other: one
//! of them wins, the answer says which, and nothing else is hit.

mod chance;
mod clocks;
mod scene;
mod streams;

use std::time::Duration;

use crate::harness;
use crate::harness::sql::{assert_error, on_lease, work};
use crate::harness::{code, eventually, millis, now, refused, tenant, Service};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteResponse;
use scene::{pass, Round, Scene, AFTER_LIFE, FIRST, LIFE, SECOND};

/// What can end an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The caller cancels its call.
    Caller,
    /// The caller's deadline passes.
    Deadline,
    /// The statement's timeout passes.
    Timeout,
    /// The lease is released by force.
    Revoke,
    /// The lease's lifetime is over.
    Lifetime,
    /// The statement comes to its end.
    Natural,
}

use End::{Caller, Deadline, Lifetime, Natural, Revoke, Timeout};

impl End {
    /// Its name on a cancel.
    fn cause(self) -> Option<&'static str> {
        match self {
            Caller | Deadline => Some("caller"),
            Timeout => Some("timeout"),
            Revoke => Some("release"),
            Lifetime => Some("max_lifetime"),
            Natural => None,
        }
    }

    /// How the lease ends with it, if it does.
    fn ends_lease(self) -> Option<&'static str> {
        match self {
            Revoke => Some("released"),
            Lifetime => Some("max_lifetime"),
            Caller | Deadline | Timeout | Natural => None,
        }
    }
}

/// The moments of two ends.
fn moments(first: End) -> (Duration, Duration) {
    match first {
        Lifetime => (LIFE, AFTER_LIFE),
        _ => (FIRST, SECOND),
    }
}

/// A round whose times are these.
fn timed<'a>(scene: &'a Scene, ends: [(End, Duration); 2]) -> Round<'a> {
    let at = |end| ends.into_iter().find_map(|(this, after)| (this == end).then_some(after));
    let max_lifetime = at(Lifetime).map(|life| millis(life.as_millis() as u64)).unwrap_or_default();
    let lease = scene.lease_of(ConnectionRequest { max_lifetime, ..ConnectionRequest::default() });
    let mut round = scene.round(lease);
    round.timed = at(Timeout);
    round.deadline = at(Deadline);
    round
}

impl Round<'_> {
    /// Makes it happen, and returns when it has.
    fn happens(&mut self, end: End) {
        match end {
            Caller => drop(self.call.take()),
            Deadline | Timeout | Lifetime => pass(self.due.expect("a time was set")),
            Revoke => {
                self.lease.client.release_with(&self.lease.id, true).expect("the release");
            }
            Natural => {
                self.scene.open();
                eventually("the row is there", || self.scene.rows(self.number) == 1);
            }
        }
    }
}

/// False: a busy machine has let something come too late, and nothing is shown.
fn cancelled_first(scene: &Scene, first: End, second: End) -> bool {
    let before = scene.cancels();
    let (sooner, later) = moments(first);
    let mut round = timed(scene, [(first, sooner), (second, later)]);
    let started = now();
    let hold = scene.way.hold_next();
    round.start();
    if !round.is_blocked_before(started + sooner) {
        return false;
    }
    round.due = Some(started + sooner);
    if first == Caller || first == Revoke {
        round.happens(first);
    }
    // The cancel is on its way, and gets no further for the moment.
    hold.wait();
    round.due = Some(started + later);
    round.happens(second);
    // Whoever comes now must not be hit by the cancel: after a caller who has left it
    // waits for the end of that, otherwise it fails.
    let next = (second == Natural && matches!(first, Caller | Deadline))
        .then(|| round.lease.run_later("select 1"));
    if second == Natural && first == Timeout {
        let busy = round.lease.client.run(&round.lease.id, &["select 1"]);
        match busy {
            Err(error) if error.reason == "LEASE_BUSY" => {}
            // Too late: the cancel has given up, and the socket was closed.
            Err(error) if error.reason == "LEASE_ENDED" => return false,
            other => panic!("{first:?}, then {second:?}: {other:?}"),
        }
    }
    drop(hold);
    if let Some(Err(error)) = next.map(harness::answer) {
        // Too late: as above.
        assert!(matches!(&*error.reason, "LEASE_BUSY" | "LEASE_ENDED"), "{first:?}: {error}");
        return false;
    }
    let answer = round.answer();
    round.is_over();
    let cancels = scene.cancels().since(&before);
    if cancels.failed > 0 || cancels.of(first.cause()) != 1 {
        return false;
    }
    if second.cause() != first.cause() {
        assert_eq!(cancels.of(second.cause()), 0, "{first:?}, then {second:?}");
    }
    check_answer(first, second, answer);
    match first.ends_lease().or(second.ends_lease()) {
        Some(reason) => {
            assert_eq!(round.lease.end_reason(), reason, "{first:?}, then {second:?}");
        }
        None if !round.lease_is_usable() => return false,
        None => {}
    }
    assert_eq!(scene.rows(round.number), usize::from(second == Natural));
    let pid = round.lease.pid;
    drop(round);
    let next = scene.lease();
    next.release();
    let same = next.pid == pid;
    assert!(
        same || scene.service.gave_way(pid),
        "{first:?}, then {second:?}: the backend was closed"
    );
    same
}

#[track_caller]
fn check_answer(first: End, second: End, answer: Option<Result<ExecuteResponse, CallError>>) {
    let pair = (first, second);
    match answer {
        None => assert!(first == Caller || second == Caller, "{pair:?}"),
        // gRPC itself tells a caller that its time is over.
        Some(Err(error)) if first == Deadline || second == Deadline => {
            assert_eq!((error.code, &*error.reason), (code::DEADLINE_EXCEEDED, ""), "{pair:?}");
        }
        Some(Err(error)) => {
            assert_ne!(second, Natural, "{error}");
            match first {
                Timeout => assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT"),
                _ => assert_error(&error, code::ABORTED, "CANCELLED"),
            }
            assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{pair:?}");
        }
        Some(Ok(answer)) => {
            assert_eq!(second, Natural, "{pair:?}");
            assert_eq!(answer.session.lease_ended, first.ends_lease().is_some(), "{pair:?}");
        }
    }
}

/// The operation is over when the other comes.
fn natural_first(scene: &Scene, second: End) -> bool {
    let before = scene.cancels();
    let mut round = timed(scene, [(Natural, FIRST), (second, SECOND)]);
    let started = now();
    round.start();
    if !round.is_blocked_before(started + FIRST) {
        return false;
    }
    round.due = Some(started + SECOND);
    // From now on the caller hears nothing, and is not heard.
    if second == Caller || second == Deadline {
        scene.clients.hold();
    }
    round.happens(Natural);
    round.is_over();
    if scene.cancels().since(&before).total() > 0 {
        return false;
    }
    if second == Lifetime {
        assert!(round.answer().expect("it was heard").is_ok());
        round.happens(Lifetime);
        let lease = &round.lease;
        eventually("the lease has ended", || {
            lease.client.run(&lease.id, &["select 1"]).is_err_and(|e| e.reason == "LEASE_ENDED")
        });
        assert_eq!(lease.end_reason(), "max_lifetime");
        // The last to ask may have been busy when it came.
        return scene.cancels().since(&before).of(Lifetime.cause()) == 0;
    }
    // What runs when the other comes is not what it was meant for.
    let direct = scene.direct(&round.lease);
    let sleep = direct.run_later("select pg_sleep(1.5)");
    match second {
        Revoke => {
            drop(sleep);
            if !round.lease_is_usable() {
                return false;
            }
            assert!(round.answer().expect("it was heard").is_ok());
            round.happens(Revoke);
            assert_eq!(round.lease.end_reason(), "released");
            return true;
        }
        _ => round.happens(second),
    }
    scene.clients.forward();
    harness::answer(sleep).expect("nobody cancelled it");
    assert_eq!(scene.cancels().since(&before).total(), 0, "{second:?}");
    if second == Timeout {
        assert!(round.answer().expect("it was heard").is_ok());
    }
    round.lease_is_usable()
}

/// Repeats a round that a busy machine has spoilt.
fn in_time(pair: (End, End), round: impl Fn() -> bool) {
    assert!((0..20).any(|_| round()), "{pair:?}: never in time");
}

fn every_end_after(first: End) {
    let scene = Scene::new();
    for second in [Caller, Deadline, Timeout, Revoke, Lifetime, Natural] {
        if second == first {
            continue;
        }
        match first {
            Natural => in_time((first, second), || natural_first(&scene, second)),
            _ => in_time((first, second), || cancelled_first(&scene, first, second)),
        }
    }
    scene.is_quiet();
}

#[test]
fn a_caller_who_cancels_first_is_the_cause() {
    every_end_after(Caller);
}

#[test]
fn a_deadline_that_passes_first_is_the_cause() {
    every_end_after(Deadline);
}

#[test]
fn a_timeout_that_passes_first_is_the_cause() {
    every_end_after(Timeout);
}

#[test]
fn a_forced_release_that_comes_first_is_the_cause() {
    every_end_after(Revoke);
}

#[test]
fn a_lifetime_that_is_over_first_is_the_cause() {
    every_end_after(Lifetime);
}

#[test]
fn whatever_comes_after_the_natural_end_comes_too_late() {
    every_end_after(Natural);
}

/// Takes no notice of cancels until one comes so long after the first. PostgreSQL
/// signals one cancel twice, and on a busy machine not at once, so that their number
/// says little.
fn deaf_for(time: &str) -> String {
    format!(
        "do $$ declare first timestamptz; begin loop \
         begin perform pg_sleep(600); exception when query_canceled then \
         first := coalesce(first, clock_timestamp()); \
         if clock_timestamp() > first + interval '{time}' then raise; end if; end; \
         end loop; end $$"
    )
}

#[test]
fn a_statement_that_swallowed_its_cancel_is_done_and_the_next_one_failed() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    // PostgreSQL may signal one cancel twice.
    let swallows = "do $$ begin begin perform pg_sleep(600); \
        exception when query_canceled then end; \
        loop begin perform pg_sleep(0.05); exit; exception when query_canceled then end; \
        end loop; end $$";
    // What the first block of a session takes longer for.
    lease.run(&["do $$ begin perform 1; end $$"]);
    let mut request = on_lease(&lease, &[swallows, "select 1"]);
    request.timeout = millis(500);
    let error = refused(lease.client.execute(&request));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(work(&error), (Outcome::APPLIED, 1, 1));
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_cancel_that_had_no_effect_is_sent_again_and_the_lease_lives_on() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    // What the first block of a session takes longer for.
    lease.run(&["do $$ begin perform 1; end $$"]);
    let again = "connpool_cancel_requests_total{cause=\"timeout\",result=\"sent_again\"}";
    let mut request = on_lease(&lease, &[&deaf_for("90 ms")]);
    request.timeout = millis(500);
    let error = refused(lease.client.execute(&request));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    let sent = service.metric(again).expect("it was sent again");
    assert!((1.0..=4.0).contains(&sent), "{sent}");
    // Who does not obey at all is asked a few times, and no more.
    let mut request = on_lease(&lease, &[&deaf_for("1 hour")]);
    request.timeout = millis(500);
    let error = refused(lease.client.execute(&request));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(lease.end_reason(), "backend_lost");
    let sent = service.metric(again).unwrap() - sent;
    assert!((1.0..=4.0).contains(&sent), "{sent}");
}
