//! One client: how long a call takes when nothing else is asked for.

use std::time::Duration;

use super::calls::{accounts, bare, executes, on_leases, one_shot, select};
use super::Group;
use crate::bench::{Bench, NAME};
use crate::clients::{options as patient, Connected, Later};
use crate::contest::{contest, Contender};
use crate::figures::{Line, Round, Side, Unit};
use crate::load::Dice;
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

use connection_pool_manager::proto::sql::ExecuteRequest;

pub const GROUP: Group = Group {
    name: "latency",
    rows: &[BARE, LEASE, ONE_SHOT, TRIPS, LEAN[0], LEAN[1], LEAN[2], LEAN_TRIPS],
    measure,
};

const BARE: &str = "latency, bare gRPC call";
const LEASE: &str = "latency, Execute on a lease";
const ONE_SHOT: &str = "latency, one-shot";
const BOUNCED: &str = "latency, SELECT by PgBouncer";
const TRIPS: &str = "latency of Execute over gRPC's";
/// The same by the load generator, which waits less for itself than gRPC's core does.
const LEAN: [&str; 3] =
    ["latency, bare call, lean", "latency, Execute, lean", "latency, one-shot, lean"];
const LEAN_TRIPS: &str = "latency of Execute over gRPC's, lean";

/// Reads by a client of gRPC's core.
fn reads(client: &Connected, mut request: ExecuteRequest, length: Duration) -> Answer<Round> {
    let (stub, mut dice) = (client.client.sql_stub().clone(), Dice::new(0));
    let call = move || -> Later<grpcio::Result<()>> {
        request.statements = vec![select(dice.throw(accounts()))];
        let call = stub.execute_async(&request, patient());
        Box::pin(async move { call?.await.map(drop) })
    };
    client.repeat(call, length)
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let port = bench.postgres.port();
    let peer = Contender::new("PostgreSQL, prepared", |length| {
        bench.pgbench(port, &Work::Select, true, 1, length)
    });
    let (callers, client) = (&bench.callers.connect(1)?, &bench.clients.one()?);
    let lease = ExecuteRequest { statements: vec![select(1)], ..ExecuteRequest::default() };
    let mut ours = vec![
        Contender::new(BARE, |length| {
            bench.watched(|| {
                let stub = client.client.health_stub().clone();
                let call = move || -> Later<grpcio::Result<()>> {
                    let call = stub.check_async(&Default::default(), patient());
                    Box::pin(async move { call?.await.map(drop) })
                };
                client.repeat(call, length)
            })
        }),
        Contender::new(LEASE, |length| {
            let connection_id = client.client.acquire(NAME, &bench.dsn)?.connection_id;
            let request = ExecuteRequest { connection_id, ..ExecuteRequest::default() };
            let round = bench.watched(|| reads(client, request.clone(), length))?;
            client.client.release(&request.connection_id)?;
            Ok(round)
        }),
        Contender::new(ONE_SHOT, |length| bench.watched(|| reads(client, one_shot(bench), length))),
        Contender::new(LEAN[0], |length| {
            Ok(bench.run(callers, callers.iter().map(bare).collect(), length))
        }),
        Contender::new(LEAN[1], move |length| on_leases(bench, callers, &lease, length)),
        Contender::new(LEAN[2], |length| {
            let task = |caller| executes(caller, one_shot(bench));
            Ok(bench.run(callers, callers.iter().map(task).collect(), length))
        }),
    ];
    if options.short {
        // Those of gRPC's core come first.
        ours.truncate(3);
    }
    if let Ok(port) = bench.peer() {
        ours.push(Contender::new(BOUNCED, move |length| {
            bench.pgbench(port, &Work::Select, false, 1, length)
        }));
    }
    let mut lines = contest(options, Unit::Micros, peer, ours);
    lines.extend(trips(&lines, TRIPS, (BARE, LEASE)));
    lines.extend(trips(&lines, LEAN_TRIPS, (LEAN[0], LEAN[1])));
    Ok(lines)
}

/// What an Execute takes longer than a bare call, in round trips to PostgreSQL, as the row `name`.
fn trips(lines: &[Line], name: &str, (bare, lease): (&str, &str)) -> Option<Line> {
    let of = |row: &str| lines.iter().find(|line| line.row == row);
    let (bare, lease) = (of(bare)?, of(lease)?);
    let rounds = lease.ours.values.iter().zip(&bare.ours.values);
    let over: Vec<f64> = rounds.map(|(lease, bare)| lease - bare).collect();
    let peer = lease.peer.clone()?;
    let (ours, unit) = (Side::plain(name, over), Unit::Micros);
    Some(Line { row: name.to_owned(), unit, ours, peer: Some(peer) })
}
