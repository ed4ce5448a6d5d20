//! What other systems of this kind promise, as seen here.

use std::sync::atomic::{AtomicBool, Ordering};

use connection_pool_manager::proto::sql::ExecuteRequest;

use crate::bench::{Bench, NAME, POOL};
use crate::figures::{median, Line, Promise, Round};
use crate::machine::pause;
use crate::options::Options;
use crate::rows::{calls, connect, memory};
use crate::Answer;

/// Clients of the pool: more than it has connections, so that some wait.
const CLIENTS: usize = 32;

pub fn see(bench: &Bench, options: &Options, lines: &[Line]) -> Answer<Vec<Promise>> {
    let callers = bench.callers.connect(CLIENTS)?;
    let metric = |name: &str| {
        bench.service.metric(&format!("{name}{{tenant=\"{NAME}\"}} ")).unwrap_or(f64::NAN)
    };
    let opened = metric("connpool_backend_opens_total");
    let granted = bench.stats()?.acquire_count as f64;
    let acquires = callers.iter().map(|caller| connect::acquires(bench, caller)).collect();
    let (acquire, used) = watched(bench, || bench.run(&callers, acquires, options.length))?;
    let simple = |caller| {
        let statements = vec![calls::select(1)];
        let request = ExecuteRequest { statements, ..calls::one_shot(bench) };
        calls::executes(caller, request)
    };
    let simple = bench.run(&callers, callers.iter().map(simple).collect(), options.length);
    let opened = metric("connpool_backend_opens_total") - opened;
    let granted = bench.stats()?.acquire_count as f64 - granted;

    let p99 = acquire.quantile(0.99).unwrap_or(f64::NAN) / 1e3;
    let mean = simple.micros.iter().map(|micros| f64::from(*micros)).sum::<f64>()
        / simple.micros.len() as f64
        / 1e3;
    let (used, reused) = (100.0 * median(used), 100.0 * (1.0 - opened / granted));
    let failed = acquire.failed + simple.failed;
    let full = lines.iter().find(|line| line.row == memory::FULL);
    let full = full.map_or(f64::NAN, |line| line.ours.median() / 1024.0);
    let one = |text, seen, met| Promise { text, seen, met };
    let mut promises = vec![
        one(
            "acquire, p99 below 100 ms",
            format!("{p99:.1} ms, {CLIENTS} clients of {POOL} connections"),
            p99 < 100.0,
        ),
        one(
            "simple query, mean below 50 ms",
            format!("{mean:.2} ms, {CLIENTS} clients"),
            mean < 50.0,
        ),
        one(
            "utilization of the pool above 70 %",
            format!("{used:.0} % while they acquire"),
            used > 70.0,
        ),
        one(
            "efficiency of the pool above 80 %",
            format!("{reused:.1} % of {granted:.0} grants by a connection that was there"),
            reused > 80.0,
        ),
        one(
            "error rate 0",
            format!("{failed} of {:.0} calls failed", acquire.operations + simple.operations),
            failed == 0,
        ),
    ];
    if full.is_finite() {
        promises.push(one(
            "below 256 MB with 1000 tenants and 2000 backends",
            format!("{full:.0} MiB resident"),
            full < 256.0,
        ));
    }
    Ok(promises)
}

/// Works, and looks meanwhile at which part of the pool is in use.
fn watched(bench: &Bench, work: impl FnOnce() -> Round) -> Answer<(Round, Vec<f64>)> {
    let (over, client) = (AtomicBool::new(false), bench.service.client());
    let (round, used) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| -> Answer<Vec<f64>> {
            let mut used = Vec::new();
            while !over.load(Ordering::SeqCst) {
                used.push(f64::from(client.stats(NAME)?.active_connections) / POOL as f64);
                pause(std::time::Duration::from_millis(20));
            }
            Ok(used)
        });
        let round = work();
        over.store(true, Ordering::SeqCst);
        (round, looking.join())
    });
    Ok((round, used.map_err(|_| "the looking thread has panicked")??))
}
