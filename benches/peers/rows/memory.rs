//! What a tenant, a lease and a waiting request take: memory and descriptors of the service.
//!
//! The PostgreSQL is the tests' fake one, in this process: two thousand real backends would
//! take the machine's memory. Without TLS to it, as its buffers count there too.

use std::time::Duration;

use super::Group;
use crate::bench::Bench;
use crate::crowd::{Crowd, Waiters};
use crate::figures::{Line, Side, Unit};
use crate::machine::pause;
use crate::options::Options;
use crate::process::Held;
use crate::Answer;

pub const GROUP: Group = Group {
    name: "memory",
    rows: &["memory of a tenant with one idle backend", IDLE, WAITING, FULL],
    measure,
};

const TENANT: &str = "a tenant with one idle backend";
const IDLE: &str = "memory of an idle lease";
const WAITING: &str = "memory of a waiting request";
/// The row that one of the promises is about.
pub const FULL: &str = "memory with 1000 tenants, 2000 backends";

const TENANTS: usize = 300;
/// Tenants with as many connections as one client may lease.
const LARGE: usize = 25;
const LEASES: usize = 20;

fn measure(_: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let mut lines = parts()?;
    if options.wants(GROUP.name, FULL) {
        lines.extend(full()?);
    }
    Ok(lines)
}

/// What it holds once all is quiet.
fn quiet(crowd: &Crowd) -> Held {
    pause(Duration::from_millis(500));
    crowd.held()
}

fn parts() -> Answer<Vec<Line>> {
    let crowd = Crowd::start()?;
    let mut lines = Vec::new();
    let client = &crowd.clients.one()?.client;
    // What is made once.
    (0..100).try_for_each(|n| crowd.fill(client, &format!("warm{n}"), 1, 1))?;
    let before = quiet(&crowd);
    (0..TENANTS).try_for_each(|n| crowd.fill(client, &format!("one{n}"), 1, 1))?;
    each(&mut lines, TENANT, quiet(&crowd), before, TENANTS);

    // Filled one after the other, so that few leases have left room for those that count.
    let large: Vec<String> = (0..LARGE).map(|n| format!("large{n}")).collect();
    large.iter().try_for_each(|name| crowd.fill(client, name, LEASES, LEASES))?;
    let before = quiet(&crowd);
    let leases: Vec<Vec<String>> = large
        .iter()
        .map(|name| crowd.lease(client, name, LEASES, LEASES))
        .collect::<Answer<_>>()?;
    each(&mut lines, "an idle lease", quiet(&crowd), before, leases.concat().len());

    let waiters = Waiters::connect(&crowd)?;
    let before = quiet(&crowd);
    let waiting = waiters.park()?;
    each(&mut lines, "a waiting request", quiet(&crowd), before, waiting.count());
    Ok(lines)
}

/// One line for memory, one for descriptors.
fn each(lines: &mut Vec<Line>, what: &str, after: Held, before: Held, count: usize) {
    let one = |after: f64, before: f64| vec![(after - before) / count as f64];
    let mut line = |row: String, unit, values| {
        let ours = Side::plain(&row, values);
        lines.push(Line { row, unit, ours, peer: None });
    };
    line(format!("memory of {what}"), Unit::Kib, one(after.kib, before.kib));
    let descriptors = one(after.descriptors, before.descriptors);
    line(format!("descriptors of {what}"), Unit::Count, descriptors);
}

/// As many tenants and backends as the service takes by its defaults.
fn full() -> Answer<Vec<Line>> {
    let crowd = Crowd::start()?;
    let client = &crowd.clients.one()?.client;
    (0..1000).try_for_each(|n| crowd.fill(client, &format!("two{n}"), 2, 2))?;
    let held = quiet(&crowd);
    let line = |row: &str, unit, value| {
        let ours = Side::plain(row, vec![value]);
        Line { row: row.to_owned(), unit, ours, peer: None }
    };
    Ok(vec![
        line(FULL, Unit::Kib, held.kib),
        line("descriptors with them", Unit::Count, held.descriptors),
        line("threads with them", Unit::Count, held.threads),
    ])
}
