//! Several things in one write: how often PostgreSQL is waited for, and that nothing of
//! what is promised depends on it.

mod cancelled;
mod failed;
mod last;
mod sessions;
mod together;

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::sql::{
    assert_error, atomic, on_lease, one_shot, state_of, tenant_of_one, work, NONE,
};
use crate::harness::turns::Turns;
use crate::harness::{
    answer, code, eventually, execute_later, millis, postgres, refused, Held, Service, Tenant,
};
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

const INSERTS: [&str; 5] = ["insert into thing values (1)"; 5];

#[test]
fn each_kind_of_call_waits_for_postgresql_as_often_as_it_must() {
    let (service, turns) = (Service::start(), Turns::start());
    let tenant = tenant_of_one();
    tenant.sql("create table thing (n int); grant all on thing to public");
    let tenant = turns.tenant(tenant);
    let lease = service.lease(&tenant);
    let many = ["select 1", "select 2", "select 3", INSERTS[0]];
    assert_eq!(turns.of(|| drop(lease.run(&many))), 5, "prepared together, and run");
    assert_eq!(turns.of(|| drop(lease.run(&many))), 4);
    assert_eq!(turns.of(|| drop(atomic(&lease, &INSERTS).unwrap())), 1);
    let with_rows = [INSERTS[0], "select 1", INSERTS[0]];
    assert_eq!(turns.of(|| drop(atomic(&lease, &with_rows).unwrap())), 2, "and COMMIT");
    let limited = |max_rows, statements: &[&str]| {
        let call = ExecuteRequest { atomic: true, max_rows, ..on_lease(&lease, statements) };
        turns.of(|| drop(lease.client.execute(&call).unwrap()))
    };
    assert_eq!(limited(1, &with_rows), 1, "COMMIT too: no result is too large");
    for rows in [1000, 1 << 40] {
        assert_eq!(limited(rows, &with_rows), 2, "so many may be");
    }
    let of_any_size = [INSERTS[0], "select 'text'", "insert into thing values (1) returning n"];
    for n in [1, 2] {
        assert_eq!(limited(1, &[of_any_size[0]; 2]), 1);
        limited(1, &[of_any_size[n], INSERTS[0]]);
        assert_eq!(limited(1, &[of_any_size[n], INSERTS[0]]), 2, "{}", of_any_size[n]);
    }
    let news = ["insert into thing values (2)", "insert into thing values (3)"];
    assert_eq!(turns.of(|| drop(atomic(&lease, &news).unwrap())), 2, "prepared before");
    lease.release();
    service.wait_quiet(&tenant.name);
    let run = |request: &ExecuteRequest| {
        turns.of(|| {
            lease.client.execute(request).unwrap();
            service.wait_quiet(&tenant.name);
        })
    };
    let shot = one_shot(&tenant, &["select 1"]);
    // The first reset of this connection has prepared its steps.
    run(&shot);
    assert_eq!(run(&shot), 1, "a one-shot with its reset");
    assert_eq!(run(&ExecuteRequest { atomic: true, ..one_shot(&tenant, &INSERTS) }), 1);
    assert_eq!(run(&ExecuteRequest { atomic: true, ..one_shot(&tenant, &with_rows) }), 2);
    assert_eq!(run(&one_shot(&tenant, &many)), 4, "the reset goes with the last");
    let lease = service.lease(&tenant);
    let release = turns.of(|| {
        lease.release();
        service.wait_quiet(&tenant.name);
    });
    assert_eq!(release, 1);
}

#[test]
fn a_statement_has_its_time_also_while_postgresql_makes_sense_of_it() {
    let (service, tenant) = (Service::start(), harness::tenant());
    let (holder, lease) = (service.lease(&tenant), service.lease(&tenant));
    holder.run(&["create table thing (n int)"]);
    holder.run(&["begin", "lock table thing in access exclusive mode"]);
    for atomic in [true, false] {
        let mut request = on_lease(&lease, &[INSERTS[0], "insert into thing values (2)"]);
        (request.atomic, request.timeout) = (atomic, millis(200));
        let error = refused(lease.client.execute(&request));
        assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
        assert_eq!(work(&error).0, Outcome::NOT_STARTED, "{atomic}");
        assert_eq!(state_of(&lease), NONE);
    }
    holder.run(&["rollback"]);
    assert_eq!(lease.value("select count(*) from thing"), "0");
}

#[test]
fn a_commit_that_postgresql_already_has_may_take_effect_when_the_way_to_it_is_lost() {
    let (service, proxy) = (Service::start(), Proxy::to(postgres().port()));
    let tenant = tenant_of_one();
    tenant.sql("create table thing (n int); grant all on thing to public");
    let named = |name: &str, tenant: Tenant| Tenant { name: name.to_owned(), ..tenant };
    let holder = service.lease(&named("holder", tenant.clone()));
    let lease = service.lease(&named("lost", tenant.over(&proxy)));
    atomic(&lease, &[INSERTS[0]; 2]).unwrap();
    tenant.sql("truncate thing");
    holder.run(&["begin", "lock table thing in exclusive mode"]);
    let request =
        ExecuteRequest { atomic: true, timeout: millis(500), ..on_lease(&lease, &[INSERTS[0]; 2]) };
    let running = execute_later(&lease.client, &request);
    eventually("it waits", || tenant.running("insert into thing values (1)") == 1);
    proxy.lose();
    let error = refused(answer(running));
    assert_eq!((work(&error).0, &*error.reason), (Outcome::UNKNOWN, "STATEMENT_TIMEOUT"));
    // Now it commits, unless it has noticed that nobody is there to be told.
    holder.run(&["commit"]);
    eventually("it has ended", || tenant.running("insert into thing values (1)") == 0);
    let rows = tenant.sql("select count(*) from thing");
    assert!(matches!(&*rows, "0" | "2"), "{rows} rows");
}

#[test]
fn each_statement_of_an_atomic_call_has_its_own_time() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    // Together longer than each may take.
    let slow = "insert into thing select 1 from pg_sleep(0.7)";
    let call = |statements: &[&str]| ExecuteRequest {
        atomic: true,
        timeout: millis(1400),
        ..on_lease(&lease, statements)
    };
    for _ in 0..2 {
        lease.client.execute(&call(&[slow; 3])).unwrap();
    }
    let endless = "insert into thing select 1 from pg_sleep(3600)";
    let error = refused(lease.client.execute(&call(&[slow, INSERTS[0], endless, slow])));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 2, 2));
    assert_eq!(lease.value("select count(*) from thing"), "6");
}

#[test]
fn a_connection_cut_under_an_atomic_call_fails_as_lost() {
    let (service, proxy) = (Service::start(), Proxy::to(postgres().port()));
    let tenant = tenant_of_one();
    let lease = service.lease(&tenant.over(&proxy));
    lease.run(&["create table thing (n int)"]);
    let slow = "insert into thing select 1 from pg_sleep(3600)";
    let request = ExecuteRequest { atomic: true, ..on_lease(&lease, &[slow, INSERTS[0]]) };
    let running = execute_later(&lease.client, &request);
    eventually("it sleeps", || tenant.running("pg_sleep(3600)") == 1);
    proxy.cut();
    let error = refused(answer(running));
    assert_eq!((work(&error).0, &*error.reason), (Outcome::UNKNOWN, "BACKEND_LOST"), "{error}");
}

/// What one statement of a random call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Insert(u32),
    Count,
    Rows,
    Fails,
    FailsAtCommit,
    TooLarge,
    Garbage,
}

impl Does {
    fn sql(self) -> String {
        match self {
            Does::Insert(n) => format!("insert into thing values ({n})"),
            Does::Count => "select count(*)::int from thing".to_owned(),
            Does::Rows => "select g, repeat('x', 99) from generate_series(1, 500) g".to_owned(),
            Does::Fails => "select 1 / (n - n) from (values (7)) v (n)".to_owned(),
            Does::FailsAtCommit => "insert into child values (1)".to_owned(),
            Does::TooLarge => "select repeat('x', 1000000) from generate_series(1, 9)".to_owned(),
            Does::Garbage => "selec 1".to_owned(),
        }
    }
}

/// A small generator of its own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn does(&mut self) -> Does {
        match self.below(24) {
            0..10 => Does::Insert(self.below(5) as u32),
            10..15 => Does::Count,
            15..19 => Does::Rows,
            19 => Does::Fails,
            20 => Does::FailsAtCommit,
            21 => Does::TooLarge,
            22 => Does::Garbage,
            _ => Does::Insert(9),
        }
    }
}

/// What has to become of a call: how many rows are in the table afterwards, and what the
/// error tells: how many statements were completed, and which has failed.
fn model(rows: usize, call: &[Does], atomic: bool) -> (usize, Option<(usize, Option<usize>)>) {
    let mut inside = rows;
    for (at, does) in call.iter().enumerate() {
        let failed = match does {
            Does::Insert(_) => {
                inside += 1;
                false
            }
            Does::Count | Does::Rows => false,
            // Alone it fails at once, with its own transaction.
            Does::FailsAtCommit => !atomic,
            Does::Fails | Does::TooLarge | Does::Garbage => true,
        };
        if failed {
            // What ran and cannot be given has run.
            let completed = at + usize::from(*does == Does::TooLarge);
            return (if atomic { rows } else { inside }, Some((completed, Some(at))));
        }
    }
    match atomic && call.contains(&Does::FailsAtCommit) {
        true => (rows, Some((call.len(), None))),
        false => (inside, None),
    }
}

#[test]
fn random_calls_end_as_a_model_says() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql(
        "create table thing (n int); create table parent (n int primary key);
         create table child (n int references parent deferrable initially deferred);
         grant all on thing, parent, child to public",
    );
    let client = service.client();
    let mut rows = 0;
    for seed in 1..=150u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let call: Vec<Does> = (0..=random.below(7)).map(|_| random.does()).collect();
        let (atomic, shot) = (random.below(3) > 0, random.below(2) == 0);
        let statements = call.iter().map(|does| statement(&does.sql())).collect();
        let lease: Option<Held> = (!shot).then(|| service.lease(&tenant));
        let mut request = one_shot(&tenant, &[]);
        if let Some(lease) = &lease {
            request = on_lease(lease, &[]);
        }
        (request.statements, request.atomic) = (statements, atomic);
        let (expected, error) = model(rows, &call, atomic);
        check(&client.execute(&request), error, call.len(), &format!("{seed}: {call:?} {atomic}"));
        if let Some(lease) = &lease {
            assert_eq!(state_of(lease), NONE, "{seed}");
            assert_eq!(lease.value("select count(*) from thing"), expected.to_string());
            lease.release();
        }
        assert_eq!(tenant.sql("select count(*) from thing"), expected.to_string(), "{seed}");
        rows = expected;
    }
}

type Ended = Result<ExecuteResponse, CallError>;

#[track_caller]
fn check(ended: &Ended, error: Option<(usize, Option<usize>)>, count: usize, what: &str) {
    match (ended, error) {
        (Ok(response), None) => assert_eq!(response.results.len(), count, "{what}"),
        (Err(error), Some((completed, failed))) => {
            let (_, done, at) = work(error);
            assert_eq!(done, completed as i32, "{what}: {error}");
            if let Some(failed) = failed {
                assert_eq!(at, failed as i32, "{what}: {error}");
            }
        }
        (ended, error) => panic!("{what}: {ended:?}, not {error:?}"),
    }
}

#[test]
fn a_call_that_is_left_between_its_statements_is_followed_by_its_own_answers_only() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    let large = "select repeat('x', 1000000) from generate_series(1, 9)";
    for _ in 0..5 {
        let call = [INSERTS[0], large, "select 41", "select 42", INSERTS[0]];
        let error = refused(atomic(&lease, &call));
        assert_eq!((&*error.reason, work(&error).0), ("RESULT_TOO_LARGE", Outcome::NOT_APPLIED));
        assert_eq!(lease.value("select 43"), "43");
        assert_eq!(lease.value("select count(*) from thing"), "0");
    }
    let later = execute_later(&lease.client, &on_lease(&lease, &["select 44"]));
    assert_eq!(answer(later).unwrap().results.len(), 1);
}
