//! An error at any statement of a call names that statement, and what became of the
//! others is as it is told.

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

use crate::harness::sql::{assert_error, on_lease, one_shot, state_of, tenant_of_one, work, NONE};
use crate::harness::{code, refused, Service};

/// Statements of a call.
const CALL: usize = 16;

/// What fails: while it is understood, while it runs, by a rule of its table.
const FAILING: [&str; 3] = [
    "insert into thing valuse (0)",
    "insert into thing select 1 / (n - n) from (values (7)) v (n)",
    "insert into thing values (-1)",
];

#[test]
fn an_error_names_its_statement_and_what_became_of_the_others_at_each_place() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql("create table thing (n int check (n >= 0)); grant all on thing to public");
    let lease = service.lease(&tenant);
    let client = &lease.client;
    // Those that return rows have the COMMIT held back.
    for (atomic, returning) in [(true, ""), (true, " returning n"), (false, "")] {
        for (failing, at) in FAILING.iter().flat_map(|sql| (0..CALL).map(move |at| (sql, at))) {
            let one = |n| match n == at {
                true => (*failing).to_owned(),
                false => format!("insert into thing values ({n}){returning}"),
            };
            let statements = (0..CALL).map(|n| statement(&one(n))).collect();
            let request = ExecuteRequest { atomic, statements, ..on_lease(&lease, &[]) };
            let error = refused(client.execute(&request));
            let what = format!("{failing}, statement {at}, {atomic}{returning}: {error}");
            assert_error(&error, code::INVALID_ARGUMENT, "SQL_ERROR");
            let outcome = match !atomic && at > 0 {
                true => Outcome::APPLIED,
                false => Outcome::NOT_APPLIED,
            };
            assert_eq!(work(&error), (outcome, at as i32, at as i32), "{what}");
            assert_eq!(state_of(&lease), NONE, "{what}");
            let rows = if atomic { 0 } else { at };
            assert_eq!(lease.value("select count(*) from thing"), rows.to_string(), "{what}");
            lease.run(&["delete from thing"]);
        }
    }
    lease.release();
    // The same in one write with the reset.
    for (failing, at) in FAILING.iter().flat_map(|sql| (0..CALL).map(move |at| (sql, at))) {
        let one = |n| if n == at { failing } else { "insert into thing values (3)" };
        let statements = (0..CALL).map(|n| statement(one(n))).collect();
        let request = ExecuteRequest { atomic: true, statements, ..one_shot(&tenant, &[]) };
        let error = refused(client.execute(&request));
        assert_eq!(
            work(&error),
            (Outcome::NOT_APPLIED, at as i32, at as i32),
            "{failing}: {error}"
        );
        assert_eq!(tenant.sql("select count(*) from thing"), "0");
    }
    service.wait_quiet(&tenant.name);
}
