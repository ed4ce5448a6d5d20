//! Small calls of 16 clients, and sessions, beside a SELECT through PgBouncer.

use std::time::Duration;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, Statement, Value};

use super::{session, Group};
use crate::bench::{Bench, NAME, SCALE};
use crate::contest::{contest, Contender};
use crate::figures::{Line, Round, Unit};
use crate::load::{options as patient, repeat, Caller, Dice, Task};
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

const NAME_OF_GROUP: &str = "calls";
const CLIENTS: usize = 16;
/// Statements of a call that has many.
const MANY: usize = 16;
pub const SELECT: &str = "select abalance from pgbench_accounts where aid = $1";

const BARE: &str = "bare gRPC call";
const ONE_SHOT: &str = "one-shot";
const ON_LEASE: &str = "Execute on a lease";
const SIXTEEN: &str = "Execute of 16 (statements)";
const SIXTEEN_ATOMIC: &str = "Execute of 16, atomic (statements)";

pub const GROUP: Group = Group {
    name: NAME_OF_GROUP,
    rows: &[
        BARE,
        ONE_SHOT,
        ON_LEASE,
        SIXTEEN,
        SIXTEEN_ATOMIC,
        session::DEPTHS[0],
        session::DEPTHS[1],
        session::DEPTHS[2],
    ],
    measure,
};

pub fn int(value: i64) -> Value {
    Value { kind: Some(Kind::Int(value)), ..Value::default() }
}

/// A read of one account.
pub fn select(aid: i64) -> Statement {
    Statement { parameters: vec![int(aid)], ..statement(SELECT) }
}

pub fn accounts() -> u64 {
    SCALE as u64 * 100_000
}

/// Calls whose statements read other accounts each time.
pub fn executes(caller: &Caller, mut request: ExecuteRequest) -> Task {
    let stub = caller.client.sql_stub().clone();
    let mut dice = Dice::new(caller.number);
    repeat(move || {
        let count = request.statements.len() as u64;
        for statement in &mut request.statements {
            statement.parameters = vec![int(dice.throw(accounts()))];
        }
        let call = stub.execute_async(&request, patient());
        Box::pin(async move { call?.await.map(|_| count) })
    })
}

/// Calls that do nothing.
pub fn bare(caller: &Caller) -> Task {
    let stub = caller.client.health_stub().clone();
    repeat(move || {
        let call = stub.check_async(&Default::default(), patient());
        Box::pin(async move { call?.await.map(|_| 1) })
    })
}

pub fn one_shot(bench: &Bench) -> ExecuteRequest {
    ExecuteRequest {
        tenant_id: NAME.to_owned(),
        dsn: bench.dsn.clone(),
        statements: vec![select(1)],
        ..ExecuteRequest::default()
    }
}

/// A round of Executes on leases that are there before it begins.
pub fn on_leases(
    bench: &Bench,
    callers: &[Caller],
    request: &ExecuteRequest,
    length: Duration,
) -> Answer<Round> {
    let leases = bench.lease(callers)?;
    let task = |(caller, lease): (&Caller, &String)| {
        executes(caller, ExecuteRequest { connection_id: lease.clone(), ..request.clone() })
    };
    let tasks = callers.iter().zip(&leases).map(task).collect();
    let round = bench.run(callers, tasks, length);
    bench.release(callers, &leases)?;
    Ok(round)
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let peer = Contender::new("PgBouncer, SELECT", |length| {
        bench.pgbench(bench.peer()?, &Work::Select, false, CLIENTS, length)
    });
    let callers = &bench.callers.connect(CLIENTS)?;
    let on_leases = |statements: usize, atomic: bool| {
        let statements = vec![select(1); statements];
        let request = ExecuteRequest { statements, atomic, ..ExecuteRequest::default() };
        move |length| on_leases(bench, callers, &request, length)
    };
    let mut ours = vec![
        Contender::new(BARE, |length| {
            Ok(bench.run(callers, callers.iter().map(bare).collect(), length))
        }),
        Contender::new(ONE_SHOT, |length| {
            let task = |caller| executes(caller, one_shot(bench));
            Ok(bench.run(callers, callers.iter().map(task).collect(), length))
        }),
        Contender::new(ON_LEASE, on_leases(1, false)),
        Contender::new(SIXTEEN, on_leases(MANY, false)),
        Contender::new(SIXTEEN_ATOMIC, on_leases(MANY, true)),
    ];
    ours.extend(session::contenders(bench, callers));
    ours.retain(|one| options.wants(NAME_OF_GROUP, &one.name));
    Ok(contest(options, Unit::PerSecond, peer, ours))
}
