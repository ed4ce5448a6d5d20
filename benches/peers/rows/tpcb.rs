//! A transaction like TPC-B's: five statements in one atomic call, beside the seven round
//! trips of pgbench through PgBouncer.

use std::time::Duration;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::sql::{ExecuteRequest, Statement, Value};

use super::calls::{accounts, int, one_shot};
use super::Group;
use crate::bench::{Bench, SCALE};
use crate::contest::{contest, Contender};
use crate::figures::{Line, Round, Unit};
use crate::http2::Caller;
use crate::load::{repeat, Dice, Task, EXECUTE};
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

pub const GROUP: Group = Group { name: "tpc-b", rows: &ROWS, measure };

const ROWS: [&str; 4] =
    ["TPC-B, 1 client", "TPC-B, 10 clients", "TPC-B, 50 clients", "TPC-B on leases, 10 clients"];

fn transaction(dice: &mut Dice) -> Vec<Statement> {
    let aid = int(dice.throw(accounts()));
    let teller = int(dice.throw(10 * SCALE as u64));
    let branch = int(dice.throw(SCALE as u64));
    let delta = int(dice.throw(10_001) - 5_001);
    let with = |sql, parameters: &[&Value]| Statement {
        parameters: parameters.iter().map(|&value| value.clone()).collect(),
        ..statement(sql)
    };
    vec![
        with(
            "update pgbench_accounts set abalance = abalance + $1 where aid = $2",
            &[&delta, &aid],
        ),
        with("select abalance from pgbench_accounts where aid = $1", &[&aid]),
        with(
            "update pgbench_tellers set tbalance = tbalance + $1 where tid = $2",
            &[&delta, &teller],
        ),
        with(
            "update pgbench_branches set bbalance = bbalance + $1 where bid = $2",
            &[&delta, &branch],
        ),
        with(
            "insert into pgbench_history (tid, bid, aid, delta, mtime) \
             values ($1, $2, $3, $4, current_timestamp)",
            &[&teller, &branch, &aid, &delta],
        ),
    ]
}

fn transactions(caller: &Caller, mut request: ExecuteRequest) -> Task {
    let mut dice = Dice::new(caller.number);
    // COMMIT goes out with the statements where no result can be too large.
    (request.atomic, request.max_rows) = (true, 1);
    repeat(caller, async move |caller| {
        request.statements = transaction(&mut dice);
        caller.call(&EXECUTE, &request).await.map(|()| 1)
    })
}

fn on_leases(bench: &Bench, callers: &[Caller], length: Duration) -> Answer<Round> {
    let leases = bench.lease(callers)?;
    let task = |(caller, lease): (&Caller, &String)| {
        let connection_id = lease.clone();
        transactions(caller, ExecuteRequest { connection_id, ..ExecuteRequest::default() })
    };
    let round = bench.run(callers, callers.iter().zip(&leases).map(task).collect(), length);
    bench.release(callers, &leases)?;
    Ok(round)
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let port = bench.peer()?;
    let all = bench.callers.connect(50)?;
    let mut lines = Vec::new();
    let all_sizes = [1, 10, 50].into_iter().zip(ROWS);
    for (clients, row) in all_sizes.filter(|(clients, _)| !options.short || *clients == 10) {
        let callers = &all[..clients];
        let peer = Contender::new("PgBouncer, TPC-B", |length| {
            bench.pgbench(port, &Work::TpcB, false, clients, length)
        });
        let mut ours = vec![Contender::new(row, |length| {
            let task = |caller| transactions(caller, one_shot(bench));
            Ok(bench.run(callers, callers.iter().map(task).collect(), length))
        })];
        if clients == 10 {
            ours.push(Contender::new(ROWS[3], |length| on_leases(bench, callers, length)));
        }
        ours.retain(|one| options.wants(GROUP.name, &one.name));
        if !ours.is_empty() {
            lines.extend(contest(options, Unit::PerSecond, peer, ours));
        }
    }
    Ok(lines)
}
