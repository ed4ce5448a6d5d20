//! A connection to work with: lease, SELECT and release, beside login, SELECT and logout.

use super::admission::grants;
use super::calls::select;
use super::Group;
use crate::bench::Bench;
use crate::contest::{contest, Contender};
use crate::figures::{Line, Unit};
use crate::http2::{Caller, Done};
use crate::load::{repeat, Task, EXECUTE, GET_CONNECTION};
use crate::options::Options;
use crate::pgbench::Work;
use crate::Answer;

use connection_pool_manager::proto::sql::ExecuteRequest;

const ROW: &str = "lease + SELECT + release";
const CLIENTS: usize = 16;

pub const GROUP: Group = Group { name: "connect", rows: &[ROW], measure };

/// A read on a lease.
async fn read(caller: &Caller, connection_id: String) -> Done<()> {
    let statements = vec![select(1)];
    let request = ExecuteRequest { connection_id, statements, ..ExecuteRequest::default() };
    caller.call(&EXECUTE, &request).await
}

fn cycles(bench: &Bench, caller: &Caller) -> Task {
    let request = bench.request();
    repeat(caller, async move |caller| {
        let lease = caller.ask(&GET_CONNECTION, &request).await?.connection_id;
        read(caller, lease.clone()).await?;
        caller.release(lease).await?;
        Ok(1)
    })
}

/// Takes a connection, works with it and gives it back; only the taking is timed.
pub fn acquires(bench: &Bench, caller: &Caller) -> Task {
    grants(caller, bench.request(), async |caller, lease| {
        read(caller, lease.clone()).await?;
        caller.release(lease).await
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
