//! Requests of a stream that reach PostgreSQL in one write with the one before them: their
//! statements are kept prepared.

mod scene;

use connection_pool_manager::client::service::text_at;
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::value::Kind;

use crate::harness::proxy::Proxy;
use crate::harness::sql::work;
use crate::harness::turns::Turns;
use crate::harness::{code, eventually, postgres, tenant};
use scene::{statement, Scene, FREE, WAITS};

/// Requests in one write.
const TOGETHER: i64 = 16;
fn numbers(wanted: impl Iterator<Item = i64>) -> String {
    wanted.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn requests_that_wait_reach_postgresql_in_one_write() {
    let turns = Turns::start();
    let mut scene = Scene::new(turns.tenant(tenant().pool_of(1)));
    scene.shut();
    for n in 0..2 * TOGETHER {
        scene.say(n, WAITS, &[n, FREE]);
    }
    let of = turns.of(|| {
        scene.open();
        (0..2 * TOGETHER).for_each(|n| drop(scene.answer(n).expect("it runs")));
    });
    assert_eq!(of, 2, "sixteen in a write");
    assert_eq!(scene.rows(), numbers(0..2 * TOGETHER));
}

#[test]
fn a_cancel_hits_its_request_at_each_place_of_those_sent_together_and_no_other() {
    let mut scene = Scene::new(tenant());
    for place in 0..TOGETHER {
        scene.shut();
        let number = 100 + place;
        for n in 0..TOGETHER {
            scene.say(n, WAITS, &[n, if n == place { number } else { FREE }]);
        }
        scene.open();
        scene.eventually_waits(number);
        // One that is over, and the one that runs.
        scene.session.cancel(place.saturating_sub(1) as u64).unwrap();
        scene.session.cancel(place as u64).unwrap();
        for n in 0..TOGETHER {
            match scene.answer(n) {
                Ok(_) => assert_ne!(n, place),
                Err(error) => {
                    assert_eq!((n, error.code), (place, code::CANCELLED), "{error}");
                    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{error}");
                }
            }
        }
        let there = numbers((0..TOGETHER).filter(|n| *n != place));
        assert_eq!(scene.rows(), there, "each once, in their order");
        scene.say(0, "delete from thing", &[]);
        scene.answer(0).unwrap();
    }
}

#[test]
fn a_cancel_that_comes_too_late_costs_the_next_requests_nothing() {
    let proxy = Proxy::to(postgres().port());
    let mut scene = Scene::new(tenant().over(&proxy));
    // Its first row is there before it waits.
    let select = "select g from generate_series(1, 2) g where g = 1 or passes($1::int) > 0";
    scene.prepare(select, &[Kind::Int(FREE)]);
    scene.shut();
    scene.say(1, WAITS, &[1, 11]);
    scene.say(2, select, &[12]);
    scene.say(3, WAITS, &[3, FREE]);
    scene.say(4, WAITS, &[4, FREE]);
    scene.open();
    scene.eventually_waits(11);
    // The service does not learn that the first is over, and that the second runs.
    let mute = proxy.mute();
    scene.pass(11);
    scene.eventually_waits(12);
    scene.session.cancel(1).unwrap();
    eventually("the cancel hits the second", || !scene.waits(12));
    drop(mute);
    scene.pass(12);
    for n in 1..=4 {
        let answered = scene.answer(n).expect("nobody cancelled it in time");
        assert_eq!(answered.results[0].rows.len(), if n == 2 { 2 } else { 0 });
        assert_eq!(answered.session.notices.len(), if n <= 2 { 1 } else { 0 }, "{n}");
    }
    assert_eq!(scene.rows(), "1 3 4", "each once, in their order");
}

#[test]
fn what_was_sent_is_cancelled_at_its_turn() {
    let mut scene = Scene::new(tenant());
    scene.shut();
    for (n, number) in [(1, 11), (2, 12), (3, FREE)] {
        scene.say(n, WAITS, &[n, number]);
    }
    scene.open();
    scene.eventually_waits(11);
    scene.session.cancel(2).unwrap();
    // Read behind the cancel.
    scene.say(4, "select 4", &[]);
    scene.session.cancel(5).unwrap();
    scene.pass(11);
    scene.answer(1).unwrap();
    let error = scene.answer(2).expect_err("it was cancelled");
    assert_eq!(error.code, code::CANCELLED, "{error}");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{error}");
    scene.answer(3).unwrap();
    scene.answer(4).unwrap();
    assert_eq!(scene.rows(), "1 3");
}

#[test]
fn each_has_its_own_time_limit_and_a_failed_one_stops_no_other() {
    let mut scene = Scene::new(tenant());
    scene.prepare("insert into thing select $1::int / $2::int", &[Kind::Int(1), Kind::Int(1)]);
    scene.prepare("insert into thing values ($1::int), ($2::int)", &[Kind::Int(1), Kind::Int(2)]);
    scene.shut();
    scene.say(1, WAITS, &[1, FREE]);
    let never = statement(WAITS, &[Kind::Int(2), Kind::Int(12)]);
    scene.send(2, never, 200);
    scene.say(3, "insert into thing select $1::int / $2::int", &[3, 0]);
    scene.say(4, WAITS, &[4, FREE]);
    // Fails where it commits.
    scene.say(5, "insert into thing values ($1::int), ($2::int)", &[5, 5]);
    scene.say(6, WAITS, &[6, FREE]);
    // The last of those that are sent together.
    scene.say(7, "insert into thing values ($1::int), ($2::int)", &[7, 7]);
    scene.open();
    for (n, reason, sqlstate) in [
        (1, "", ""),
        (2, "STATEMENT_TIMEOUT", ""),
        (3, "SQL_ERROR", "22012"),
        (4, "", ""),
        (5, "SQL_ERROR", "23505"),
        (6, "", ""),
        (7, "SQL_ERROR", "23505"),
    ] {
        match scene.answer(n) {
            Ok(response) => {
                assert_eq!(reason, "", "{n}");
                let state = response.session.transaction_state.unwrap();
                assert_eq!(state, TransactionState::TRANSACTION_STATE_NONE, "{n}");
            }
            Err(error) => {
                assert_eq!(error.reason, reason, "{n}: {error}");
                assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{n}: {error}");
                assert!(error.to_string().contains(sqlstate), "{n}: {error}");
            }
        }
    }
    assert_eq!(scene.rows(), "1 4 6");
}

#[test]
fn a_statement_whose_result_has_changed_is_prepared_again_in_its_place() {
    let mut scene = Scene::new(tenant());
    scene.tenant.sql("create table other (a int); grant all on other to public");
    scene.prepare("select * from other", &[]);
    scene.shut();
    scene.say(1, WAITS, &[1, 11]);
    scene.say(2, "select * from other", &[]);
    scene.say(3, WAITS, &[3, FREE]);
    scene.open();
    scene.eventually_waits(11);
    scene.tenant.sql("alter table other add b int; insert into other values (1, 2)");
    scene.pass(11);
    scene.answer(1).unwrap();
    assert_eq!(text_at(&scene.answer(2).unwrap(), 0, 0, 1), "2");
    scene.answer(3).unwrap();
    assert_eq!(scene.rows(), "1 3");
}

#[test]
fn what_was_sent_has_its_time_limit_also_while_nobody_reads_answers() {
    let mut scene = Scene::new(tenant());
    let long = "select repeat('x', $1::int)";
    scene.prepare(long, &[Kind::Int(1)]);
    scene.shut();
    scene.say(1, long, &[3_000_000]);
    scene.send(2, statement(WAITS, &[Kind::Int(2), Kind::Int(12)]), 500);
    scene.say(3, WAITS, &[3, FREE]);
    scene.open();
    scene.eventually_waits(12);
    eventually("its time is over", || !scene.waits(12));
    scene.answer(1).unwrap();
    assert_eq!(scene.answer(2).expect_err("it waits").reason, "STATEMENT_TIMEOUT");
    scene.answer(3).unwrap();
    assert_eq!(scene.rows(), "3");
}

#[test]
fn each_runs_as_it_would_alone() {
    let mut scene = Scene::new(tenant());
    scene.tenant.sql(
        "create sequence calls; grant all on sequence calls to public; \
         create function changes(n int) returns int language plpgsql as $$ begin \
             if n = 0 then \
                 perform set_config('transaction_read_only', 'on', true); \
                 perform set_config('default_transaction_isolation', 'serializable', false); \
             end if; \
             return n; end $$; \
         create function refuses(n int) returns int language plpgsql as $$ begin \
             if nextval('calls') = 2 then raise sqlstate '25001'; end if; \
             return n; end $$",
    );
    let (changes, refuses) =
        ("select changes($1::int)", "insert into thing select refuses($1::int)");
    let isolation = "select current_setting('transaction_isolation'), $1::int";
    scene.prepare(changes, &[Kind::Int(1)]);
    scene.prepare(refuses, &[Kind::Int(1)]);
    scene.prepare(isolation, &[Kind::Int(1)]);
    scene.shut();
    scene.say(1, changes, &[0]);
    scene.say(2, WAITS, &[2, FREE]);
    scene.say(3, isolation, &[0]);
    // As one does that only runs outside of transactions.
    scene.say(4, refuses, &[4]);
    scene.say(5, WAITS, &[5, FREE]);
    scene.open();
    for n in 1..=5 {
        let answered = scene.answer(n).expect("it runs");
        if n == 3 {
            assert_eq!(text_at(&answered, 0, 0, 0), "serializable");
        }
    }
    assert_eq!(scene.rows(), "2 4 5");
}

#[test]
fn no_text_is_misread_after_an_unseen_change_of_the_encoding() {
    let mut scene = Scene::new(tenant());
    scene.tenant.sql(
        "create table words (word text); grant all on words to public; \
         create function change(n int) returns int language plpgsql as $$ begin \
             if n = 0 then perform set_config('client_encoding', 'LATIN1', false); end if; \
             return n; end $$",
    );
    let (change, word) =
        ("insert into thing select change($1::int)", "insert into words values ($1)");
    let text = |text: &str| [Kind::Text(text.to_owned())];
    scene.prepare(change, &[Kind::Int(1)]);
    scene.prepare(word, &text("first"));
    scene.prepare("select word from words", &[]);
    scene.shut();
    scene.say(1, change, &[0]);
    scene.send(2, statement(word, &text("plain")), 60_000);
    scene.say(3, "select word from words", &[]);
    scene.send(4, statement(word, &text("übel")), 60_000);
    scene.open();
    scene.answer(1).unwrap();
    scene.answer(2).unwrap();
    for n in [3, 4] {
        let error = scene.answer(n).expect_err("its encoding is another");
        assert_eq!(error.reason, "UNSUPPORTED", "{n}: {error}");
    }
    let words = "select string_agg(word, ' ' order by word) from words";
    assert_eq!(scene.tenant.sql(words), "first plain");
}

#[test]
fn what_was_sent_with_a_request_whose_caller_leaves_ends_with_it() {
    let mut scene = Scene::new(tenant());
    scene.shut();
    for (n, number) in [(1, 11), (2, 12), (3, 13)] {
        scene.say(n, WAITS, &[n, number]);
    }
    scene.open();
    scene.eventually_waits(11);
    let Scene { tenant, session, service, .. } = scene;
    drop(session);
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.running("insert into thing"), 0);
    assert_eq!(tenant.sql("select count(*) from thing where n > 0"), "0");
}

#[test]
fn a_lost_backend_is_told_of_what_ran_and_nothing_is_said_of_what_was_sent_with_it() {
    for cut in [false, true] {
        let proxy = Proxy::to(postgres().port());
        let mut scene = Scene::new(tenant().over(&proxy));
        scene.shut();
        for (n, number) in [(1, 11), (2, 12), (3, FREE)] {
            scene.say(n, WAITS, &[n, number]);
        }
        scene.open();
        scene.eventually_waits(11);
        scene.pass(11);
        scene.answer(1).unwrap();
        scene.eventually_waits(12);
        if cut {
            proxy.cut();
        } else {
            scene.tenant.sql(&format!("select pg_terminate_backend({})", scene.pid));
        }
        let error = scene.answer(2).expect_err("its backend is lost");
        assert_eq!((error.code, &*error.reason), (code::UNKNOWN, "BACKEND_LOST"), "{error}");
        assert_eq!(work(&error), (Outcome::UNKNOWN, 0, 0), "{error}");
        let ended = super::end(&mut scene.session).expect("an error");
        assert_eq!(ended.reason, "LEASE_ENDED", "{ended}");
        scene.pass(12);
        eventually("the backend has ended", || {
            let sql = format!("select count(*) from pg_stat_activity where pid = {}", scene.pid);
            scene.tenant.sql(&sql) == "0"
        });
        // PostgreSQL had all of it, and goes on until it notices that its client is gone.
        let rows = scene.rows();
        assert!(if cut { "1 2 3".starts_with(&rows) } else { rows == "1" }, "{rows}");
    }
}
