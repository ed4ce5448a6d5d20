//! Prepared statements, whose answers are awaited on no thread of their own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

use crate::harness::fake::{message, setting, Asked, Fake};
use crate::harness::sql::{
    assert_error, assert_same_backend, atomic, on_lease, one_shot, tenant_of_one, work,
};
use crate::harness::{
    answer, code, eventually, execute_later, millis, refused, tenant, Held, Service, Tenant,
};

const LOCK: &str = "select pg_advisory_xact_lock(7)::text";

/// Threads that may block, of which an idle one ends after a while.
fn workers(service: &Service) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    // One may end while they are counted.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "worker").count()
}

#[test]
fn statements_that_wait_hold_no_worker() {
    let (service, tenant) = (Service::start(), tenant());
    let leases: Vec<Held> = (0..12).map(|_| service.lease(&tenant)).collect();
    for lease in &leases {
        lease.run(&[LOCK]);
    }
    let keeper = service.lease(&tenant);
    keeper.run(&["select pg_advisory_lock(7)"]);
    let waiting: Vec<_> = leases.iter().map(|lease| lease.run_later(LOCK)).collect();
    eventually("all stand", || tenant.running("pg_advisory_xact_lock") == 12);
    // With one for each there would be 12 for as long as they wait.
    eventually("the workers have ended", || workers(&service) < 6);
    assert_eq!(tenant.running("pg_advisory_xact_lock"), 12);
    keeper.run(&["select pg_advisory_unlock(7)"]);
    for call in waiting {
        assert_eq!(answer(call).expect("it had the lock").results.len(), 1);
    }
    for lease in leases {
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
}

/// Creates what [`TWO_LOCKS`] needs: its COMMIT waits for the lock 8.
fn thing(tenant: &Tenant) {
    tenant.sql(
        "create table thing (n int);
         create function late() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock_shared(8); return null; end $$;
         create constraint trigger late after insert on thing deferrable initially deferred
         for each row execute function late();
         grant all on thing to public",
    );
}

/// An atomic call that waits for one lock in a statement, and for another in its COMMIT, which is
/// held back for its rows.
const TWO_LOCKS: [&str; 3] = ["select 1", INSERT, "select n from thing"];
const INSERT: &str = "insert into thing select 1 from pg_advisory_xact_lock_shared(7)";

#[test]
fn atomic_calls_that_wait_hold_no_worker() {
    let (service, tenant) = (Service::start(), tenant());
    thing(&tenant);
    let leases: Vec<Held> = (0..12).map(|_| service.lease(&tenant)).collect();
    for lease in &leases {
        // Prepared, and known to be quick.
        atomic(lease, &TWO_LOCKS).unwrap();
    }
    let keeper = service.lease(&tenant);
    keeper.run(&["truncate thing", "select pg_advisory_lock(7), pg_advisory_lock(8)"]);
    let call = |lease: &Held| ExecuteRequest { atomic: true, ..on_lease(lease, &TWO_LOCKS) };
    let waiting: Vec<_> =
        leases.iter().map(|lease| execute_later(&lease.client, &call(lease))).collect();
    for lock in [7, 8] {
        let stand = format!(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = {lock}
             and not granted"
        );
        eventually("all stand", || tenant.sql(&stand) == "12");
        eventually("the workers have ended", || workers(&service) < 6);
        assert_eq!(tenant.sql(&stand), "12", "{lock}");
        keeper.run(&[&format!("select pg_advisory_unlock({lock})")]);
    }
    for call in waiting {
        assert_eq!(answer(call).expect("it had the locks").results.len(), 3);
    }
    assert_eq!(tenant.sql("select count(*) from thing"), "12");
    for lease in leases {
        assert_same_backend(&lease);
    }
}

/// What a call that waits for a lock, and the next one, return when that happens.
type Happens = fn(&Tenant, &Held);

/// A call, and the lock that it waits for.
struct Waiting {
    statements: &'static [&'static str],
    lock: u8,
}

impl Waiting {
    fn call(&self, lease: &Held, limit: u64) -> ExecuteRequest {
        let (atomic, timeout) = (self.statements.len() > 1, millis(limit));
        ExecuteRequest { atomic, timeout, ..on_lease(lease, self.statements) }
    }

    fn outcome(
        &self,
        service: &Service,
        tenant: &Tenant,
        limit: u64,
        happens: Happens,
    ) -> [String; 3] {
        let lease = service.lease(tenant);
        lease.client.execute(&self.call(&lease, 3_600_000)).unwrap();
        let (keeper, lock) = (service.lease(tenant), self.lock);
        keeper.run(&["truncate thing", &format!("select pg_advisory_lock({lock})")]);
        let call = execute_later(&lease.client, &self.call(&lease, limit));
        let stands = format!(
            "select count(*) from pg_locks where pid = {} and not granted and objid = {lock}",
            lease.pid
        );
        eventually("it stands", || tenant.sql(&stands) == "1");
        happens(tenant, &lease);
        let first = match answer(call) {
            Ok(_) => "OK".to_owned(),
            Err(error) => format!("{} {:?}", error.reason, work(&error).0),
        };
        let next = lease.client.run(&lease.id, &["select 1"]);
        let next = next.map_or_else(|error| error.reason, |_| "OK".to_owned());
        keeper.run(&[&format!("select pg_advisory_unlock({lock})")]);
        [first, next, keeper.value("select count(*) from thing")]
    }
}

#[test]
fn whatever_ends_the_wait_of_one_is_told_as_of_a_statement_with_a_worker() {
    let cases: [(&str, u64, Happens); 4] = [
        ("terminated", 3_600_000, |tenant, lease| {
            tenant.sql(&format!("select pg_terminate_backend({})", lease.pid));
        }),
        ("cancelled by another", 3_600_000, |tenant, lease| {
            tenant.sql(&format!("select pg_cancel_backend({})", lease.pid));
        }),
        ("at its time limit", 300, |_, _| {}),
        ("revoked", 3_600_000, |_, lease| {
            let released = lease.client.release_with(&lease.id, true);
            assert!(released.is_ok());
        }),
    ];
    let with = Service::start();
    // Without prepared statements each has a worker.
    let without = Service::with(&["--statement-cache", "0"]);
    let calls = [
        Waiting { statements: &[LOCK], lock: 7 },
        Waiting { statements: &TWO_LOCKS, lock: 7 },
        Waiting { statements: &TWO_LOCKS, lock: 8 },
        // Its COMMIT is sent with it.
        Waiting { statements: &[INSERT, INSERT], lock: 8 },
    ];
    for call in calls {
        for (what, limit, happens) in cases {
            let [awaited, usual] = [&with, &without].map(|service| {
                let tenant = tenant();
                thing(&tenant);
                call.outcome(service, &tenant, limit, happens)
            });
            assert_eq!(awaited, usual, "{what} at {} of {}", call.lock, call.statements.len());
            assert_eq!(awaited[2], "0", "{what}");
        }
    }
}

#[test]
fn an_answer_that_is_long_or_an_error_is_read_by_a_worker() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql(&format!(
        "create table t (n int); insert into t values (1); grant select on t to {}",
        tenant.name
    ));
    let long = "select repeat('x', n), 1 / (n - 2) from t";
    for alone in [false, true] {
        tenant.sql("update t set n = 1");
        let run = || match alone {
            true => service.client().execute(&one_shot(&tenant, &[long])),
            false => {
                let lease = service.lease(&tenant);
                let answer = lease.client.run(&lease.id, &[long]);
                lease.release();
                answer
            }
        };
        for n in [1, 1, 3_000_000, 1, 20_000, 16_384, 4_096] {
            tenant.sql(&format!("update t set n = {n}"));
            let answer = run().unwrap();
            assert_eq!(text_at(&answer, 0, 0, 0).len(), n);
        }
        tenant.sql("update t set n = 2");
        assert_eq!(run().unwrap_err().postgres.map(|fault| fault.sqlstate), Some("22012".into()));
        tenant.sql("update t set n = 1");
        assert_eq!(text_at(&run().unwrap(), 0, 0, 0), "x");
    }
}

#[test]
fn an_atomic_call_of_which_a_part_is_long_or_fails_is_ended_by_a_worker_and_applied_or_not() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql(
        "create table t (n int); insert into t values (1); create table thing (n int);
         create table parent (n int primary key); insert into parent values (1);
         create table child (n int references parent deferrable initially deferred);
         grant all on t, thing, parent, child to public",
    );
    let statements = [
        "insert into thing values (1)",
        "select repeat('x', n), 1 / (n - 2) from t",
        "insert into child select (n <> 3)::int from t",
    ];
    let lease = service.lease(&tenant);
    let plain = ExecuteRequest { atomic: true, ..on_lease(&lease, &statements) };
    let shot = ExecuteRequest { atomic: true, ..one_shot(&tenant, &statements) };
    let run = |call: &ExecuteRequest, n: u32| {
        tenant.sql(&format!("update t set n = {n}"));
        lease.client.execute(call)
    };
    let mut things = 0;
    for call in [plain, shot] {
        if !call.connection_id.is_empty() {
            assert_same_backend(&lease);
        } else {
            lease.release();
        }
        // Long, and short again.
        for n in [1, 1, 1, 3_000_000, 1, 20_000, 16_384, 4_096] {
            let answer = run(&call, n).unwrap();
            assert_eq!(text_at(&answer, 1, 0, 0).len(), n as usize);
            things += 1;
        }
        let count = || tenant.sql("select count(*) from thing");
        assert_eq!(count(), things.to_string());
        // A statement fails, and the COMMIT.
        let error = refused(run(&call, 2));
        assert_eq!(error.postgres.as_ref().map(|fault| &*fault.sqlstate), Some("22012"));
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 1, 1), "{error}");
        let error = refused(run(&call, 3));
        assert_eq!(error.postgres.as_ref().map(|fault| &*fault.sqlstate), Some("23503"));
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 3, -1), "{error}");
        run(&call, 1).unwrap();
        things += 1;
        assert_eq!(count(), things.to_string());
    }
}

#[test]
fn of_an_atomic_call_whose_result_is_too_large_nothing_is_applied() {
    let (service, tenant) = (Service::with(&["--max-result", "1KiB"]), tenant_of_one());
    tenant
        .sql("create table t (n int); create table thing (n int); grant all on t, thing to public");
    tenant.sql("insert into t values (1)");
    let statements = ["insert into thing values (1)", "select repeat('x', n) from t"];
    let lease = service.lease(&tenant);
    // It is read whole, as it is short for a worker.
    for (n, things) in [(1, 1), (1, 2), (2000, 2), (1, 3), (1, 4), (2000, 4)] {
        tenant.sql(&format!("update t set n = {n}"));
        match atomic(&lease, &statements) {
            Ok(answer) => assert_eq!(text_at(&answer, 1, 0, 0).len(), n),
            Err(error) => {
                assert_error(&error, code::FAILED_PRECONDITION, "RESULT_TOO_LARGE");
                assert_eq!(work(&error).0, Outcome::NOT_APPLIED, "{error}");
                assert_eq!(n, 2000);
            }
        }
        assert_eq!(tenant.sql("select count(*) from thing"), things.to_string());
        assert_same_backend(&lease);
    }
}

#[test]
fn what_max_rows_cuts_of_an_atomic_call_is_committed_in_each_way_that_it_is_sent() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql("create table thing (n int); grant all on thing to public");
    let lease = service.lease(&tenant);
    let statements =
        ["insert into thing values (1)", "select n, n > 0 from thing, generate_series(1, 3)"];
    // The first is sent by a worker.
    for things in 1..4 {
        let call = ExecuteRequest { atomic: true, max_rows: 2, ..on_lease(&lease, &statements) };
        let answer = lease.client.execute(&call).unwrap();
        let [insert, select] = &answer.results[..] else { panic!("{answer:?}") };
        assert_eq!((insert.rows_affected, insert.truncated), (1, false));
        assert_eq!((select.rows.len(), select.truncated), (2, true));
        assert_eq!(tenant.sql("select count(*) from thing"), things.to_string());
    }
    assert_same_backend(&lease);
}

/// Tells of another encoding in the first statement of a call, as PostgreSQL does before
/// version 14, and takes it back with COMMIT. The seventh COMMIT fails.
fn reports_at_once(commits: &Arc<AtomicUsize>) -> Fake {
    let commits = Arc::clone(commits);
    let tag = |tag: &str| message(b'C', format!("{tag}\0").as_bytes());
    Fake::start(move |talk, asked| match asked {
        Asked::Prepare(sql) if sql.ends_with("t") => {
            talk.say(&message(b't', &[0, 0])) && talk.say(&message(b'n', b""))
        }
        Asked::Execute(sql) if sql == "BEGIN" => talk.say(&tag("BEGIN")),
        Asked::Execute(sql) if sql == "insert into t" => {
            talk.say(&setting("client_encoding", "LATIN1")) && talk.say(&tag("INSERT 0 1"))
        }
        Asked::Execute(sql) if sql == "COMMIT" => {
            let before = commits.fetch_add(1, Ordering::SeqCst);
            talk.say(&setting("client_encoding", "UTF8"));
            if before < 6 {
                return talk.say(&tag("COMMIT"));
            }
            talk.fail("23505", "a deferred violation")
        }
        _ => false,
    })
}

#[test]
fn the_answer_to_a_commit_that_went_out_with_its_statements_is_read_whatever_is_told_before() {
    let commits = Arc::<AtomicUsize>::default();
    let fake = reports_at_once(&commits);
    let (service, tenant) = (Service::start(), fake.tenant("early", 1));
    let (client, call) = (service.client(), one_shot(&tenant, &["insert into t", "delete from t"]));
    let call = ExecuteRequest { atomic: true, ..call };
    for sent in 1..=6 {
        assert_eq!(client.execute(&call).unwrap().results.len(), 2);
        assert_eq!(commits.load(Ordering::SeqCst), sent);
    }
    let error = refused(client.execute(&call));
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 2, -1), "{error}");
    assert_eq!(commits.load(Ordering::SeqCst), 7);
}

#[test]
fn results_without_columns_or_rows_count_where_commit_might_go_out_with_the_statements() {
    let (service, tenant) = (Service::with(&["--max-result", "16KiB"]), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let insert = "insert into t values (1)";
    let many: Vec<&str> = [insert; 300].into_iter().chain(["select 1"]).collect();
    for statements in [&many[..], &[insert, "select from generate_series(1, 100000)"]] {
        let call = ExecuteRequest { atomic: true, max_rows: 1, ..one_shot(&tenant, statements) };
        let wide = ExecuteRequest { max_rows: 0, ..call.clone() };
        for call in [call, wide] {
            // It may succeed, or be too large; what is too large was not applied.
            let before = tenant.sql("select count(*) from t");
            if let Err(error) = service.client().execute(&call) {
                assert_eq!(work(&error).0, Outcome::NOT_APPLIED, "{error}");
                assert_eq!(tenant.sql("select count(*) from t"), before);
            }
        }
    }
}

#[test]
fn a_function_of_an_atomic_call_that_changes_the_encoding_garbles_nothing() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create function changes() returns int language plpgsql as $$ begin \
         perform set_config('client_encoding', 'LATIN1', false); return 1; end $$"]);
    // In LATIN1 its bytes are é in UTF-8.
    let two = "select chr(195) || chr(169)";
    for _ in 0..6 {
        let error = refused(atomic(&lease, &["select changes()", two]));
        assert_eq!((error.reason.as_str(), work(&error).0), ("UNSUPPORTED", Outcome::NOT_APPLIED));
        assert_eq!(lease.value(two), "Ã©");
    }
}
