//! One client: how long a call takes when nothing else is asked for.

use super::calls::{bare, executes, on_leases, one_shot, select};
use super::Group;
use crate::bench::Bench;
use crate::contest::{contest, Contender};
use crate::figures::{Line, Side, Unit};
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

use connection_pool_manager::proto::sql::ExecuteRequest;

pub const GROUP: Group = Group { name: "latency", rows: &[BARE, LEASE, ONE_SHOT, TRIPS], measure };

const BARE: &str = "latency, bare gRPC call";
const LEASE: &str = "latency, Execute on a lease";
const ONE_SHOT: &str = "latency, one-shot";
const BOUNCED: &str = "latency, SELECT by PgBouncer";
const TRIPS: &str = "latency of Execute over gRPC's";

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let port = bench.postgres.port();
    let peer = Contender::new("PostgreSQL, prepared", |length| {
        bench.pgbench(port, &Work::Select, true, 1, length)
    });
    let callers = &bench.callers.connect(1)?;
    let lease = ExecuteRequest { statements: vec![select(1)], ..ExecuteRequest::default() };
    let mut ours = vec![
        Contender::new(BARE, |length| {
            Ok(bench.run(callers, callers.iter().map(bare).collect(), length))
        }),
        Contender::new(LEASE, move |length| on_leases(bench, callers, &lease, length)),
        Contender::new(ONE_SHOT, |length| {
            let task = |caller| executes(caller, one_shot(bench));
            Ok(bench.run(callers, callers.iter().map(task).collect(), length))
        }),
    ];
    if let Ok(port) = bench.peer() {
        ours.push(Contender::new(BOUNCED, move |length| {
            bench.pgbench(port, &Work::Select, false, 1, length)
        }));
    }
    let mut lines = contest(options, Unit::Micros, peer, ours);
    lines.extend(trips(&lines));
    Ok(lines)
}

/// What an Execute takes longer than a bare call, in round trips to PostgreSQL.
fn trips(lines: &[Line]) -> Option<Line> {
    let of = |row: &str| lines.iter().find(|line| line.row == row);
    let (bare, lease) = (of(BARE)?, of(LEASE)?);
    let rounds = lease.ours.values.iter().zip(&bare.ours.values);
    let over: Vec<f64> = rounds.map(|(lease, bare)| lease - bare).collect();
    let peer = lease.peer.clone()?;
    let (ours, unit) = (Side::plain(TRIPS, over), Unit::Micros);
    Some(Line { row: TRIPS.to_owned(), unit, ours, peer: Some(peer) })
}
