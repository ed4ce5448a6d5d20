//! What belongs to somebody else.

use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, RenewRequest};
use connection_pool_manager::proto::sql::{CopyOutRequest, QueryRequest, Statement};

use super::{service, OPS};
use crate::harness::{code, refused, request, tenant};

#[test]
fn another_ones_connection_id_is_as_good_as_an_unknown_one() {
    let (service, tenant) = (service(&[]), tenant());
    let lease = service.lease(&tenant);
    let thief = service.nameless().with_token(OPS).unwrap();
    let unknown = format!("conn-{}-{}", tenant.name, "0".repeat(32));
    let renew = |id: &str| RenewRequest { connection_id: id.to_owned(), ..RenewRequest::default() };
    let copy = |id: &str| CopyOutRequest {
        connection_id: id.to_owned(),
        sql: "copy (select 1) to stdout".to_owned(),
        ..CopyOutRequest::default()
    };
    let query = |id: &str| QueryRequest {
        connection_id: id.to_owned(),
        statement: Some(Statement { sql: "select 1".to_owned(), ..Statement::default() }).into(),
        ..QueryRequest::default()
    };
    let tries = |id: &str| {
        [
            refused(thief.run(id, &["select 1"])),
            refused(thief.release(id)),
            refused(thief.release_with(id, true)),
            refused(thief.renew(&renew(id))),
            refused(thief.query(&query(id)).and_then(|mut rows| rows.next())),
            refused(thief.copy_out(&copy(id)).and_then(|mut rows| rows.next())),
        ]
        .map(|error| (error.code, error.reason, error.message))
    };
    let seen = tries(&lease.id);
    assert_eq!(seen, tries(&unknown));
    assert!(seen
        .iter()
        .all(|(code, reason, _)| { (*code, &**reason) == (code::NOT_FOUND, "LEASE_NOT_FOUND") }));
    assert_eq!(lease.value("select 7"), "7", "its owner has it still");
    // Nor does anybody but its owner hear how it ended.
    lease.release();
    assert_eq!(tries(&lease.id), tries(&unknown));
    lease.client.release(&lease.id).expect("its owner is told that it has ended");
}

#[test]
fn the_lease_of_anothers_session_is_as_good_as_an_unknown_one() {
    let (service, tenant) = (service(&[]), tenant());
    let owner = service.client();
    let (mut session, opened) = owner.open_session(request(&tenant)).unwrap();
    let thief = service.nameless().with_token(OPS).unwrap();
    let unknown = format!("conn-{}-{}", tenant.name, "0".repeat(32));
    let tries = |client: &Client, id: &str| {
        [
            refused(client.run(id, &["select 1"])),
            refused(client.release(id)),
            refused(client.release_with(id, true)),
        ]
        .map(|error| (error.code, error.reason, error.message))
    };
    assert_eq!(tries(&thief, &opened.connection_id), tries(&thief, &unknown));
    // Its owner is told that it belongs to a stream.
    let owns = tries(&owner, &opened.connection_id);
    assert!(owns.iter().all(|(_, reason, _)| reason == "LEASE_ON_STREAM"), "{owns:?}");
    session.execute(1, &["select 1"]).unwrap();
    session.next().unwrap().expect("it goes on");
}

#[test]
fn a_lease_name_is_no_connection_id() {
    let (service, tenant) = (service(&[]), tenant());
    let client = service.client();
    let granted = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let name = granted.lease.lease_name.clone();
    for client in [&client, &service.nameless().with_token(OPS).unwrap()] {
        assert_eq!(refused(client.release(&name)).code, code::INVALID_ARGUMENT);
        assert_eq!(refused(client.run(&name, &["select 1"])).code, code::INVALID_ARGUMENT);
    }
    client.run(&granted.connection_id, &["select 1"]).expect("the lease is there");
}

#[test]
fn a_request_id_of_another_identity_is_another_request() {
    let (service, tenant) = (service(&[]), tenant());
    let asked = ConnectionRequest { request_id: vec![7; 16], ..request(&tenant) };
    let (shop, ops) = (service.client(), service.nameless().with_token(OPS).unwrap());
    let first = shop.acquire_with(&asked).unwrap();
    let other = ops.acquire_with(&asked).unwrap();
    assert_ne!(first.lease.lease_name, other.lease.lease_name);
    let again = service.client().acquire_with(&asked).unwrap();
    assert_eq!(again.connection_id, first.connection_id, "one identity, two connections");
    assert_eq!(refused(shop.run(&other.connection_id, &["select 1"])).code, code::NOT_FOUND);
}

#[test]
fn the_leases_of_one_identity_are_counted_over_all_its_connections() {
    let (service, tenant) = (service(&["--leases-per-caller", "2"]), tenant());
    let [_one, _two] = [service.lease(&tenant), service.lease(&tenant)];
    let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
    assert_eq!((error.code, &*error.reason), (code::RESOURCE_EXHAUSTED, "CALLER_LIMIT"));
    let other = service.nameless().with_token(OPS).unwrap();
    other.acquire(&tenant.name, &tenant.dsn).expect("another identity has its own share");
}
