//! What a tenant's ordinary role may cost with SQL alone: its own statement, and never
//! the process, another tenant's service, or memory beyond measure.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod harness;

use harness::code::FAILED_PRECONDITION;
use harness::siege::Siege;
use harness::sql::{assert_error, state_of, tenant_of_one, NONE};
use harness::{Held, Service};

/// A statement that is refused for its types, on a lease that goes on.
#[track_caller]
fn assert_too_complex(lease: &Held, sql: &str, part: &str) {
    let error = lease.fails(&[sql]);
    assert_error(&error, FAILED_PRECONDITION, "LOOKUP_FAILED");
    assert!(error.message.contains(part), "{error}");
    assert!(error.message.contains("54001"), "{error}");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    assert_eq!(state_of(lease), NONE);
}

/// Types that nest this deeply, each made of the one before.
fn nest(lease: &Held, levels: usize, first: &str, next: &str) {
    let block = format!(
        "do $$ begin {first}; for i in 1..{levels} loop \
         execute format('{next}', i, i - 1); end loop; end $$"
    );
    lease.run(&[&block]);
}

#[test]
fn types_inside_types_cost_their_own_statement_only() {
    let service = Service::start();
    let tenant = tenant_of_one();
    // Its one backend stays open.
    service.lease(&tenant).release();
    let siege = Siege::start(&service, harness::tenant());
    let lease = service.lease(&tenant);
    nest(&lease, 1700, "create domain d0 as int", "create domain d%s as d%s");
    nest(&lease, 1700, "create type c0 as (a int)", "create type c%s as (a c%s)");
    nest(&lease, 200, "create domain a0 as int", "create domain a%s as a%s[]");
    let too_many = "more than 500 look-ups of types";
    for sql in [
        "select null::c1700",
        "select array[null::d1700]",
        "select null::c600 where $1::d1700 is null",
    ] {
        assert_too_complex(&lease, sql, too_many);
    }
    // What was found on the way does not help to get deeper in several steps.
    for level in (400..=1700).step_by(400) {
        let _ = lease.client.run(&lease.id, &[&format!("select array[null::d{level}]")]);
        let _ = lease.client.run(&lease.id, &[&format!("select null::c{level}")]);
    }
    let levels = "more than 64 levels of types";
    assert_too_complex(&lease, "select null::a150", levels);
    assert_too_complex(&lease, "select array[null::d100]", levels);
    // What anybody needs is found.
    lease.run(&["select null::a20", "select array[null::d50]", "select null::c200"]);
    assert_eq!(lease.value("select 7::d20"), "7");
    lease.run(&["select array[null::d60]"]);
    siege.bystander_goes_on(20);
    lease.release();
    drop(lease);
    service.wait_quiet(&tenant.name);
    siege.end();
}
