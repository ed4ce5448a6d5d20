//! What fails, panics or never arrives.

use std::sync::Arc;

use crossbeam_channel::unbounded;
use futures_executor::block_on;

use super::fakes::{good, only, Call, Fate};
use super::world::{ask, got, world, WAIT};
use crate::backend::statement::Statement;
use crate::core::gate::GateState;
use crate::core::lease_table::Via;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::pool::on_lease::OnLease;
use crate::pool::requests::responder::Responder;
use crate::pool::work::task::Request;

#[test]
fn a_first_connect_that_fails_answers_everybody_and_closes_the_gate() {
    let world = world(2, only(Call::Connect, Fate::Fails));
    let (to, from) = unbounded();
    for _ in 0..5 {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |checkout| {
            let _ = to.send(checkout);
        });
        // Late ones may find the gate closed already.
        if let Err(back) = world.tenant.admit(job, WAIT) {
            (back.deliver)(Err(RequestError::Draining));
        }
    }
    for _ in 0..5 {
        assert!(got(&from).is_err());
    }
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
}

#[test]
fn a_panic_in_connect_costs_no_permit_and_leaves_nobody_waiting() {
    let world = world(1, only(Call::Connect, Fate::Panics));
    let (responder, answer) = Responder::<()>::new();
    let job = Job::new(&Caller::nobody(), move |_| drop(responder.send(Ok(()))));
    assert!(world.tenant.admit(job, WAIT).is_ok());
    // The job was lost in the panic; its responder answered for itself.
    assert!(matches!(block_on(answer), Ok(Err(RequestError::Internal(_)))));
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
}

#[test]
fn a_panic_while_sql_runs_costs_one_backend_and_no_permit_and_ends_the_lease() {
    let world = world(1, only(Call::Run, Fate::Panics));
    let leases = world.leases();
    let grant = leases.grant(world.checkout(), ask()).expect("granted");
    grant.undelivered.delivered();
    let request = Request {
        statements: Arc::new([Statement::new("select 1", Vec::new())]),
        atomic: false,
        timeout: WAIT,
        max_rows: None,
        max_bytes: 1,
    };
    let (responder, answer) = Responder::new();
    let on_lease = OnLease {
        leases: Arc::clone(&leases),
        context: Arc::clone(&world.context),
        id: grant.id.clone(),
        via: Via::Call,
        work: request.into(),
        release_after: false,
        caller: Caller::nobody(),
        responder,
    };
    on_lease.begin();
    assert!(matches!(block_on(answer), Ok(Err(RequestError::Internal(_)))));
    world.settled();
    assert_eq!(world.census.alive(), 0);
    assert_eq!(leases.count(), 0);
    assert!(matches!(
        leases.renew(&grant.id, None),
        Err(RequestError::LeaseEnded(tombstone)) if tombstone.reason.as_str() == "backend_lost"
    ));
    // The permit serves the next.
    drop(world.checkout());
}

#[test]
fn a_grant_that_is_dropped_before_delivery_ends_its_lease() {
    let world = world(1, good());
    let leases = world.leases();
    drop(leases.grant(world.checkout(), ask()).expect("granted"));
    world.settled();
    assert_eq!(leases.count(), 0);
}
