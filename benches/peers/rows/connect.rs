//! A connection to work with: lease, SELECT and release, beside login, SELECT and logout.

use super::calls::select;
use super::Group;
use crate::bench::Bench;
use crate::contest::{contest, Contender};
use crate::figures::{Line, Unit};
use crate::harness::now;
use crate::load::{options as patient, repeat, Caller, Tally, Task};
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

use connection_pool_manager::proto::connection_pool::ConnectionRelease;
use connection_pool_manager::proto::sql::ExecuteRequest;

const ROW: &str = "lease + SELECT + release";
const CLIENTS: usize = 16;

pub const GROUP: Group = Group { name: "connect", rows: &[ROW], measure };

fn cycles(bench: &Bench, caller: &Caller) -> Task {
    let (pool, sql) = (caller.client.pool_stub().clone(), caller.client.sql_stub().clone());
    let request = bench.request();
    repeat(move || {
        let (pool, sql, request) = (pool.clone(), sql.clone(), request.clone());
        Box::pin(async move {
            let connection_id =
                pool.get_connection_async(&request, patient())?.await?.connection_id;
            let execute = ExecuteRequest {
                connection_id: connection_id.clone(),
                statements: vec![select(1)],
                ..ExecuteRequest::default()
            };
            sql.execute_async(&execute, patient())?.await?;
            let release = ConnectionRelease { connection_id, ..ConnectionRelease::default() };
            pool.release_connection_async(&release, patient())?.await?;
            Ok(1)
        })
    })
}

/// Takes a connection, works with it and gives it back; only the taking is timed.
pub fn acquires(bench: &Bench, caller: &Caller) -> Task {
    let (pool, sql) = (caller.client.pool_stub().clone(), caller.client.sql_stub().clone());
    let request = bench.request();
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            while now() < until {
                let began = now();
                let granted = match pool.get_connection_async(&request, patient()) {
                    Ok(call) => call.await,
                    Err(error) => Err(error),
                };
                let id = granted.as_ref().map(|granted| granted.connection_id.clone()).ok();
                tally.count(began, granted.map(|_| 1));
                let Some(connection_id) = id else { continue };
                let statements = vec![select(1)];
                let work = async {
                    let execute = ExecuteRequest {
                        connection_id: connection_id.clone(),
                        statements,
                        ..ExecuteRequest::default()
                    };
                    sql.execute_async(&execute, patient())?.await?;
                    let release =
                        ConnectionRelease { connection_id, ..ConnectionRelease::default() };
                    pool.release_connection_async(&release, patient())?.await
                };
                if let Err(error) = work.await {
                    tally.count(began, Err(error));
                }
            }
            tally
        })
    })
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let port = bench.peer()?;
    let peer = Contender::new("PgBouncer, login + SELECT", |length| {
        bench.pgbench(port, &Work::ConnectAndSelect, false, CLIENTS, length)
    });
    let callers = &bench.callers.connect(CLIENTS)?;
    let ours = Contender::new(ROW, |length| {
        let tasks = callers.iter().map(|caller| cycles(bench, caller)).collect();
        Ok(bench.run(callers, tasks, length))
    });
    Ok(contest(options, Unit::PerSecond, peer, vec![ours]))
}
