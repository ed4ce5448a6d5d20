//! The clocks of an idle lease, which never end one that is busy.

use std::time::Duration;

use connection_pool_manager::proto::connection_pool::ConnectionRequest;

use super::scene::{pass, Round, Scene};
use super::End::{self, Caller, Natural, Revoke, Timeout};
use crate::harness;
use crate::harness::sql::{assert_error, state, OPEN};
use crate::harness::{code, millis, now};

/// Both clocks; the statement takes longer than that.
const CLOCK: u64 = 3000;
const LONGER: Duration = Duration::from_millis(3800);
const END: Duration = Duration::from_millis(5500);

fn terms() -> ConnectionRequest {
    ConnectionRequest {
        ttl: millis(CLOCK),
        idle_in_transaction: millis(CLOCK),
        ..ConnectionRequest::default()
    }
}

/// A statement that outlasts the clocks, and is seen to wait still.
fn outlasting(scene: &Scene, timed: Option<Duration>) -> Round<'_> {
    let mut round = scene.round(scene.lease_of(terms()));
    round.timed = timed;
    let started = now();
    round.start();
    pass(started + LONGER);
    round.due = Some(started + END);
    round
}

#[test]
fn a_busy_lease_outlasts_its_ttl_and_ends_as_any_other() {
    let scene = Scene::new();
    for end in [Natural, Caller, Timeout, Revoke] {
        super::in_time((end, end), || one(&scene, end));
    }
    scene.is_quiet();
}

fn one(scene: &Scene, end: End) -> bool {
    let before = scene.cancels();
    let mut round = outlasting(scene, (end == Timeout).then_some(END));
    let blocked = scene.is_blocked();
    if end == Timeout && (!blocked || now() >= round.due.expect("a time was set")) {
        return false;
    }
    assert!(blocked, "{end:?}: a clock has ended it");
    assert_eq!(scene.cancels().since(&before).total(), 0, "{end:?}");
    round.happens(end);
    let answer = round.answer();
    round.is_over();
    let cancels = scene.cancels().since(&before);
    assert_eq!(cancels.total(), u64::from(end != Natural), "{end:?}");
    assert_eq!(cancels.of(end.cause()), cancels.total(), "{end:?}");
    match (end, answer) {
        (Caller, None) => {}
        (Natural, Some(answer)) => assert!(!answer.expect("it ends well").session.lease_ended),
        (Timeout, Some(Err(error))) => {
            assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
        }
        (_, Some(Err(error))) => assert_error(&error, code::ABORTED, "CANCELLED"),
        (_, other) => panic!("{end:?}: {other:?}"),
    }
    match end {
        Revoke => assert_eq!(round.lease.end_reason(), "released"),
        _ if !round.lease_is_usable() => return false,
        _ => {}
    }
    assert_eq!(scene.rows(round.number), usize::from(end == Natural));
    true
}

#[test]
fn a_busy_transaction_outlasts_its_clock_which_starts_again_behind_it() {
    let scene = Scene::new();
    let lease = scene.lease_of(terms());
    lease.run(&["begin"]);
    let mut round = scene.round(lease);
    let started = now();
    round.start();
    pass(started + LONGER);
    assert!(scene.is_blocked(), "a clock has ended it");
    scene.open();
    let answer = round.answer().expect("it was heard").expect("it ends well");
    assert_eq!((state(&answer), answer.session.lease_ended), (OPEN, false));
    let direct = scene.direct(&round.lease);
    harness::eventually("the lease has ended", || {
        // A look at it would start the clock again.
        scene.service.client().stats(scene.tenant_name()).expect("stats").leases == 0
    });
    assert_eq!(direct.end_reason(), "idle_in_transaction");
    assert_eq!(scene.rows(round.number), 0);
}
