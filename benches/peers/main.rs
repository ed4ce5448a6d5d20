//! What the service does beside its peers, in turns, on this machine: a table on the
//! terminal, JSON and a chart. Prints; asserts nothing, and ends by itself.
//!
//! `make bench` runs it, and installs what it needs. It starts its own PostgreSQL, which
//! waits for no disk (no fsync), for both sides.
#![allow(clippy::unwrap_used, clippy::expect_used)] // The tests' harness stops at surprises.

#[path = "../../tests/harness/mod.rs"]
mod harness;

mod bench;
mod chart;
mod clients;
mod contest;
mod crowd;
mod figures;
mod http2;
mod json;
mod load;
mod machine;
mod options;
mod pgbench;
mod pgbouncer;
mod process;
mod promises;
mod psql;
mod report;
mod rows;

use bench::Bench;
use figures::Line;
use options::Options;
use rows::{Group, GROUPS};

/// What may fail here; who reads it is a person.
pub type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Answer<()> {
    let options = Options::read(std::env::args().skip(1))?;
    if options.help {
        println!("{}", options::USAGE);
        return Ok(());
    }
    if options.list {
        GROUPS.iter().for_each(|group| println!("{}: {}", group.name, group.rows.join(", ")));
        return Ok(());
    }
    let wanted = |group: &&Group| group.rows.iter().any(|row| options.wants(group.name, row));
    let groups: Vec<&Group> = GROUPS.iter().filter(wanted).collect();
    if groups.is_empty() {
        return Err("no row has such a name; --list names them all".into());
    }
    let about = machine::about();
    println!("{}", machine::said(&about));
    let bench = Bench::start()?;
    let how = how(&bench, &options)?;
    println!("{how}");
    let lines = measure(&bench, &options, &groups);
    let promises = if options.wants("promises", "") {
        promises::see(&bench, &options, &lines).unwrap_or_else(|error| {
            println!("promises: {error}");
            Vec::new()
        })
    } else {
        Vec::new()
    };
    report::foot();
    report::promises(&promises);
    let mut about = about;
    about.push(("how", how.clone()));
    std::fs::write(&options.json, json::document(&about, &lines, &promises))?;
    println!("figures: {}", options.json.display());
    if let Some(svg) = chart::svg(&lines, &how, &machine::said(&about)) {
        std::fs::write(&options.chart, svg)?;
        println!("chart: {}", options.chart.display());
    }
    Ok(())
}

fn how(bench: &Bench, options: &Options) -> Answer<String> {
    let version = "select 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)";
    let postgres = bench.postgres.sql("postgres", version)?.trim().to_owned();
    let peer = match &bench.pgbouncer {
        Some(peer) => format!("{} in transaction mode with simple queries", peer.version),
        None => "no PgBouncer".to_owned(),
    };
    let (rounds, seconds) = (options.rounds, options.length.as_secs());
    Ok(format!("{postgres}, {peer}, TLS everywhere; medians of {rounds} rounds of {seconds} s"))
}

fn measure(bench: &Bench, options: &Options, groups: &[&Group]) -> Vec<Line> {
    let mut all = Vec::new();
    report::head();
    for group in groups {
        if options.is_late() {
            println!("{}: left out, the time is over", group.name);
            continue;
        }
        match (group.measure)(bench, options) {
            Ok(lines) => {
                lines.iter().for_each(report::line);
                all.extend(lines);
            }
            Err(error) => println!("{}: {error}", group.name),
        }
    }
    all
}
