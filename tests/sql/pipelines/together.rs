//! Atomic calls of statements that are known to be quick: PostgreSQL answers all of them
//! together, and each has its own time all the same.

use std::time::Duration;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::engine::{Backend, Coming, Statement};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

use super::sessions::{backend, run};
use crate::harness::fake::{message, Asked, Fake};
use crate::harness::sql::{
    assert_error, assert_same_backend, atomic, on_lease, one_shot, state_of, tenant_of_one, work,
    NONE,
};
use crate::harness::{code, eventually, execute_later, millis, refused, Held, Service, Tenant};

const INSERT: &str = "insert into thing values (0)";

/// How often PostgreSQL is asked to answer at once, in a call of three statements.
fn flushes(fake: &Fake, backend: &mut dyn Backend, together: bool, timeout: Duration) -> usize {
    let before = fake.flushes();
    let statements = [(); 3].map(|()| Statement::new(INSERT, Vec::new()));
    let (statements, followers) = (&statements[..], &[]);
    let (atomic, ends, max_rows, max_bytes) = (true, false, None, 1 << 20);
    backend.expect(Coming {
        statements,
        atomic,
        max_rows,
        max_bytes,
        ends,
        timeout,
        together,
        followers,
    });
    run(backend, &Statement::new("BEGIN", Vec::new()));
    statements.iter().for_each(|statement| run(backend, statement));
    run(backend, &Statement::new("COMMIT", Vec::new()));
    fake.flushes() - before
}

#[test]
fn statements_are_answered_together_if_they_are_known_to_be_quick_and_it_is_wanted() {
    let fake = Fake::start(|talk, asked| match asked {
        Asked::Prepare(sql) if sql == INSERT => {
            talk.say(&message(b't', &[0, 0])) && talk.say(&message(b'n', b""))
        }
        Asked::Execute(sql) if sql == INSERT => talk.say(&message(b'C', b"INSERT 0 1\0")),
        Asked::Execute(sql) if ["BEGIN", "COMMIT"].contains(&&**sql) => {
            talk.say(&message(b'C', format!("{sql}\0").as_bytes()))
        }
        _ => false,
    });
    let mut backend = backend(&fake.tenant("acme", 1));
    let (long, short) = (Duration::from_secs(3600), Duration::from_nanos(1));
    let mut of = |together, timeout| flushes(&fake, &mut *backend, together, timeout);
    assert_eq!(of(true, long), 3, "nothing is known of them");
    assert_eq!(of(true, long), 0);
    assert_eq!(of(true, short), 3, "they take a large part of their time");
    assert_eq!(of(false, long), 3, "it is not wanted");
    assert_eq!(of(true, long), 0);
}

/// The limit of each statement, and how long one sleeps: two of them longer than that.
const LIMIT: u64 = 2000;
const NAP: &str = "1.2";
const NIGHT: &str = "3600";

/// A lease on which a call takes next to nothing.
struct Scene {
    service: Service,
    tenant: Tenant,
    lease: Held,
}

impl Scene {
    fn new() -> Scene {
        let (service, tenant) = (Service::start(), tenant_of_one());
        tenant.sql(
            "create table thing (n int); create sequence runs;
             create function slow(seconds float8) returns int language plpgsql as $$
             begin perform pg_sleep(seconds); return 1; end $$;
             create function counts(seconds float8) returns int language plpgsql as $$
             begin perform nextval('runs'); raise notice 'once'; return slow(seconds); end $$;
             create function deaf() returns int language plpgsql as $$
             begin loop begin perform pg_sleep(3600); exception when query_canceled then end;
             end loop; end $$;
             create function slow_commit() returns trigger language plpgsql as $$
             begin perform slow(new.seconds); return null; end $$;
             create table late (seconds float8);
             create constraint trigger late after insert on late deferrable initially deferred
             for each row execute function slow_commit();
             grant all on thing, late, runs to public",
        );
        let lease = service.lease(&tenant);
        Scene { service, tenant, lease }
    }

    /// Makes it known how long a statement takes, by so many that one which a busy machine holds
    /// up does not show.
    fn learn(&self) {
        atomic(&self.lease, &[INSERT; 100]).unwrap();
        self.lease.run(&["truncate thing", "select setval('runs', 1, false)"]);
    }

    fn call(&self, statements: &[String]) -> ExecuteRequest {
        let statements = statements.iter().map(|sql| statement(sql)).collect();
        let timeout = millis(LIMIT);
        ExecuteRequest { atomic: true, statements, timeout, ..on_lease(&self.lease, &[]) }
    }

    /// How often it was run, and the rows that are there.
    fn runs(&self) -> (String, String) {
        let runs = "select case when is_called then last_value else 0 end from runs";
        assert_eq!(state_of(&self.lease), NONE);
        assert_same_backend(&self.lease);
        (self.lease.value(runs), self.lease.value("select count(*) from thing"))
    }
}

/// One that counts runs and takes so long. With `returning` the COMMIT is held back.
fn counts(seconds: &str, returning: &str) -> String {
    format!("insert into thing select counts({seconds}) {returning}")
}

fn slow(seconds: &str) -> String {
    format!("insert into thing select slow({seconds})")
}

#[test]
fn statements_that_each_stay_in_their_time_succeed_though_all_together_do_not() {
    let scene = Scene::new();
    for returning in ["", "returning n"] {
        scene.learn();
        let call = scene.call(&[counts(NAP, returning), slow(NAP), INSERT.to_owned()]);
        let answer = scene.lease.client.execute(&call).unwrap();
        assert_eq!(answer.results.len(), 3);
        assert!(answer.results.iter().all(|result| result.rows_affected == 1), "{answer:?}");
        assert_eq!(answer.session.notices.len(), 1, "those of the second run only");
        assert_eq!(scene.runs(), ("2".to_owned(), "3".to_owned()));
        // Now it is known that they are slow.
        scene.lease.client.execute(&call).unwrap();
        assert_eq!(scene.runs(), ("3".to_owned(), "6".to_owned()));
    }
}

#[test]
fn a_one_shot_is_run_again_too() {
    let scene = Scene::new();
    scene.learn();
    scene.lease.release();
    let (client, tenant) = (scene.service.client(), &scene.tenant);
    let call = scene.call(&[counts(NAP, ""), slow(NAP)]);
    let shot = ExecuteRequest { statements: call.statements.clone(), ..one_shot(tenant, &[]) };
    let shot = ExecuteRequest { atomic: true, timeout: call.timeout, ..shot };
    assert_eq!(client.execute(&shot).unwrap().results.len(), 2);
    assert_eq!(tenant.sql("select last_value from runs"), "2");
    assert_eq!(tenant.sql("select count(*) from thing"), "2");
    let next = client.execute(&one_shot(tenant, &["select count(*) from thing"])).unwrap();
    assert_eq!(next.results.len(), 1);
}

#[test]
fn a_statement_that_takes_too_long_is_named_and_only_the_first_is_not_tried_again() {
    let scene = Scene::new();
    for returning in ["", "returning n"] {
        let (quick, long) = (counts("0", returning), counts(NIGHT, returning));
        for (at, runs) in [(0, "1"), (1, "2"), (2, "2")] {
            scene.learn();
            let mut statements = vec![quick.clone(), INSERT.to_owned(), slow("0")];
            statements[at] = if at == 0 { long.clone() } else { slow(NIGHT) };
            let error = refused(scene.lease.client.execute(&scene.call(&statements)));
            assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
            assert_eq!(work(&error), (Outcome::NOT_APPLIED, at as i32, at as i32), "{error}");
            assert_eq!(scene.runs(), (runs.to_owned(), "0".to_owned()), "{at}");
        }
    }
}

#[test]
fn a_commit_has_its_own_time_too() {
    let scene = Scene::new();
    let late = |seconds| format!("insert into late values ({seconds})");
    for returning in ["", "returning n"] {
        // Held back, it begins when the statements have ended.
        let runs = if returning.is_empty() { "2" } else { "1" };
        scene.learn();
        let call = scene.call(&[counts(NAP, returning), late(NAP)]);
        scene.lease.client.execute(&call).unwrap();
        assert_eq!(scene.runs(), (runs.to_owned(), "1".to_owned()));
        scene.learn();
        let call = scene.call(&[counts("0", returning), late(NIGHT)]);
        let error = refused(scene.lease.client.execute(&call));
        assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 2, -1), "{error}");
        assert_eq!(scene.runs(), (runs.to_owned(), "0".to_owned()));
    }
}

#[test]
fn of_a_backend_that_obeys_no_cancel_it_is_not_told_which_statement_ran() {
    let scene = Scene::new();
    scene.learn();
    let deaf = "insert into thing select deaf()".to_owned();
    let call = scene.call(&[counts("0", ""), deaf]);
    let error = refused(scene.lease.client.execute(&call));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(work(&error), (Outcome::UNKNOWN, 0, -1), "{error}");
    assert_eq!(scene.lease.end_reason(), "backend_lost");
    assert_eq!(scene.tenant.sql("select last_value from runs"), "1");
    assert_eq!(scene.tenant.sql("select count(*) from thing"), "0");
}

#[test]
fn a_caller_who_leaves_ends_it_in_either_run() {
    let scene = Scene::new();
    let (client, tenant) = (&scene.lease.client, &scene.tenant);
    let is_free = || client.run(&scene.lease.id, &["select 1"]).is_ok();
    let statements = [counts("0", ""), slow(NAP), slow(NIGHT)];
    scene.learn();
    let first = ExecuteRequest { timeout: millis(3_600_000), ..scene.call(&statements) };
    let running = execute_later(client, &first);
    eventually("it sleeps", || tenant.running(&slow(NIGHT)) == 1);
    drop(running);
    eventually("the lease is free", is_free);
    assert_eq!(scene.runs(), ("1".to_owned(), "0".to_owned()));
    scene.learn();
    let running = execute_later(client, &scene.call(&statements));
    eventually("it runs again", || tenant.sql("select last_value from runs") == "2");
    drop(running);
    eventually("the lease is free", is_free);
    assert_eq!(scene.runs(), ("2".to_owned(), "0".to_owned()));
}
