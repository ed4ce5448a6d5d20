//! Small calls of 16 clients, and sessions, beside a SELECT through PgBouncer.

use std::time::Duration;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::health::HealthCheckRequest;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, Statement, Value};

use super::{session, Group};
use crate::bench::{Bench, NAME, SCALE};
use crate::contest::{contest, Contender};
use crate::figures::{Line, Round, Unit};
use crate::http2::Caller;
use crate::load::{repeat, Dice, Task, EXECUTE, HEALTH_CHECK};
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
const ONE_SHOT_SHARED: &str = "one-shot, one connection";
const ON_LEASE_SHARED: &str = "Execute on a lease, one connection";
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
        ONE_SHOT_SHARED,
        ON_LEASE_SHARED,
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
    let mut dice = Dice::new(caller.number);
    repeat(caller, async move |caller| {
        for statement in &mut request.statements {
            statement.parameters = vec![int(dice.throw(accounts()))];
        }
        caller.call(&EXECUTE, &request).await?;
        Ok(request.statements.len() as u64)
    })
}

/// Calls that do nothing.
pub fn bare(caller: &Caller) -> Task {
    let request = HealthCheckRequest::default();
    repeat(caller, async move |caller| caller.call(&HEALTH_CHECK, &request).await.map(|()| 1))
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
    let together = &bench.callers.share(CLIENTS)?;
    let one_shots = |callers: &[Caller], length| {
        let task = |caller| executes(caller, one_shot(bench));
        Ok(bench.run(callers, callers.iter().map(task).collect(), length))
    };
    let on_leases = |callers, statements: usize, atomic: bool| {
        let statements = vec![select(1); statements];
        let request = ExecuteRequest { statements, atomic, ..ExecuteRequest::default() };
        move |length| on_leases(bench, callers, &request, length)
    };
    let mut ours = vec![
        Contender::new(BARE, |length| {
            Ok(bench.run(callers, callers.iter().map(bare).collect(), length))
        }),
        Contender::new(ONE_SHOT, |length| one_shots(callers, length)),
        Contender::new(ON_LEASE, on_leases(callers, 1, false)),
        Contender::new(SIXTEEN, on_leases(callers, MANY, false)),
        Contender::new(SIXTEEN_ATOMIC, on_leases(callers, MANY, true)),
    ];
    ours.extend(session::contenders(bench, callers));
    ours.push(Contender::new(ONE_SHOT_SHARED, |length| one_shots(together, length)));
    ours.push(Contender::new(ON_LEASE_SHARED, on_leases(together, 1, false)));
    ours.retain(|one| options.wants(NAME_OF_GROUP, &one.name));
    Ok(contest(options, Unit::PerSecond, peer, ours))
}
