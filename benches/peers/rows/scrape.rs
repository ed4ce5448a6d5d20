//! A page of metrics with a hundred tenants.

use std::time::Duration;

use super::Group;
use crate::bench::Bench;
use crate::crowd::Crowd;
use crate::figures::{Line, Round, Side, Unit};
use crate::harness::{http_get, now};
use crate::machine::pause;
use crate::options::Options;
use crate::process::Processes;
use crate::Answer;

pub const GROUP: Group = Group { name: "scrape", rows: &[ROW], measure };

const ROW: &str = "scrape of 100 tenants";
const TENANTS: usize = 100;
/// A page that took long is given again for a second at most.
const FRESH: Duration = Duration::from_millis(1100);

fn measure(_: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let crowd = Crowd::start()?;
    let client = &crowd.clients.one()?.client;
    (0..TENANTS).try_for_each(|n| crowd.fill(client, &format!("scraped{n}"), 1, 1))?;
    let service = Some(crowd.service.pid().unsigned_abs());
    let processes = Processes { service, ..Processes::default() };
    let (own, mut rounds, mut bytes) = (std::process::id(), Vec::new(), 0);
    for _ in 0..=options.rounds {
        pause(FRESH);
        let (before, began) = (processes.used(own), now());
        let (status, page) = http_get(crowd.service.http_port, "/metrics");
        let seconds = began.elapsed().as_secs_f64();
        let cpu = processes.used(own).since(before);
        let failed = u64::from(status != 200);
        bytes = page.len();
        rounds.push(Round { operations: 1.0, seconds, cpu, failed, ..Round::default() });
    }
    // The first one makes what all have.
    let ours = Side::of(ROW, Unit::Millis, &rounds[1..]);
    let size = Side::plain("size of that page", vec![bytes as f64 / 1024.0]);
    Ok(vec![
        Line { row: ROW.to_owned(), unit: Unit::Millis, ours, peer: None },
        Line { row: size.name.clone(), unit: Unit::Kib, ours: size, peer: None },
    ])
}
