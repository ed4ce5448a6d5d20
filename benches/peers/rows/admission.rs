//! How long a grant takes for B, alone and beside ten tenants with a thousand waiting
//! requests each, of which two hundred a second are granted and ask again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connection_pool_manager::proto::connection_pool::ConnectionRequest;

use super::Group;
use crate::bench::{Bench, NAME};
use crate::crowd::{Crowd, Waiters};
use crate::figures::{Line, Round, Side, Unit};
use crate::harness::now;
use crate::http2::{Caller, Done};
use crate::load::{self, Tally, Task, GET_CONNECTION};
use crate::machine::pause;
use crate::options::Options;
use crate::Answer;

pub const GROUP: Group = Group { name: "admission", rows: &ROWS, measure };

const ROWS: [&str; 2] = ["grant beside 10 000 waiters, p50", "grant beside 10 000 waiters, p99"];
/// Between two grants of the others.
const PACE: Duration = Duration::from_millis(5);

/// Takes leases and does something with each, which ends it; only the taking is timed.
pub fn grants(
    caller: &Caller,
    request: ConnectionRequest,
    work: impl AsyncFn(&Caller, String) -> Done<()> + 'static,
) -> Task {
    let caller = caller.clone();
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            while now() < until && caller.ended().is_ok() {
                let began = now();
                let granted = caller.ask(&GET_CONNECTION, &request).await;
                let lease = granted.map(|granted| granted.connection_id);
                tally.count(began, lease.as_ref().map(|_| 1).map_err(Clone::clone));
                let Ok(lease) = lease else { continue };
                if let Err(error) = work(&caller, lease).await {
                    tally.count(began, Err(error));
                }
            }
            tally
        })
    })
}

/// Takes leases and gives them back at once.
pub fn bare_grants(caller: &Caller, request: ConnectionRequest) -> Task {
    grants(caller, request, Caller::release)
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let crowd = Crowd::start()?;
    let callers = crowd.callers.connect(1)?;
    let request = ConnectionRequest { tenant_id: NAME.to_owned(), ..bench.request() };
    let round = |length| {
        load::run(
            &callers,
            callers.iter().map(|one| bare_grants(one, request.clone())).collect(),
            length,
        )
    };
    round(Duration::from_millis(300));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(round(options.length));
        let waiters = Waiters::connect(&crowd)?;
        beside.push(flooded(&waiters, || round(options.length))?);
    }
    let line = |row: &str, share: f64| {
        let side = |name: &str, rounds: &[Round]| {
            let value = |round: &Round| round.quantile(share).unwrap_or(f64::NAN);
            let mut side = Side::plain(name, rounds.iter().map(value).collect());
            side.failed = rounds.iter().map(|round| round.failed).sum();
            side.first_error = rounds.iter().find_map(|round| round.first_error.clone());
            side
        };
        let (ours, peer) = (side(row, &beside), Some(side("alone", &alone)));
        Line { row: row.to_owned(), unit: Unit::Micros, ours, peer }
    };
    Ok(vec![line(ROWS[0], 0.5), line(ROWS[1], 0.99)])
}

/// Works while the others wait and are granted.
fn flooded(waiters: &Waiters<'_>, work: impl FnOnce() -> Round) -> Answer<Round> {
    let mut waiting = waiters.park()?;
    let over = AtomicBool::new(false);
    let (round, passed) = std::thread::scope(|scope| {
        let others = scope.spawn(|| -> Answer<()> {
            let mut turn = 0;
            while !over.load(Ordering::SeqCst) {
                waiting.pass_on(turn)?;
                turn += 1;
                pause(PACE);
            }
            Ok(())
        });
        let round = work();
        over.store(true, Ordering::SeqCst);
        (round, others.join())
    });
    passed.map_err(|_| "the others' thread has panicked")??;
    waiting.end()?;
    Ok(round)
}
