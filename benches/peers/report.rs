//! The table on the terminal.

use crate::figures::{Line, Promise, Side};

pub fn head() {
    println!(
        "{:<34}{:>11} {:<19}{:>11} {:<19}{:>8}   CPU us an operation: client/service/PostgreSQL | client/peer/PostgreSQL",
        "row", "ours", " (lowest, highest)", "peer", " (lowest, highest)", "ratio"
    );
}

pub fn foot() {
    println!(
        "ratio: ours by the peer's, the median of the rounds; of times and sizes less is better"
    );
}

pub fn line(line: &Line) {
    let (ours, spread) = figures(&line.ours);
    let (peer, peers_spread) = line.peer.as_ref().map(figures).unwrap_or_default();
    let ratio = line.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let unit = line.unit.text();
    println!(
        "{:<34}{ours:>8}{unit:<4}{spread:<19}{peer:>8}{:<4}{peers_spread:<19}{ratio:>8}   {}",
        line.row,
        if line.peer.is_some() { unit } else { "" },
        cpu(line)
    );
    if let Some((half, most)) = line.ours.quantiles {
        println!("{:<34}p50 {half:.0} us, p99 {most:.0} us a call", "");
    }
    for side in [Some(&line.ours), line.peer.as_ref()].into_iter().flatten() {
        if side.failed > 0 {
            let why = side.first_error.as_deref().unwrap_or("no reason was given");
            println!("{:<34}{}: {} failed, first: {why}", "", side.name, side.failed);
        }
    }
}

fn figures(side: &Side) -> (String, String) {
    let (low, high) = side.spread();
    (number(side.median()), format!("({}, {})", number(low), number(high)))
}

fn cpu(line: &Line) -> String {
    let Some(ours) = line.ours.cpu else { return String::new() };
    let three =
        |client, server, postgres| [client, server, postgres].map(|cpu: f64| number(cpu)).join("/");
    let ours = three(ours.client, ours.service, ours.postgres);
    let Some(peer) = line.peer.as_ref().and_then(|peer| peer.cpu) else { return ours };
    format!("{ours} | {}", three(peer.client, peer.pgbouncer, peer.postgres))
}

/// Three digits that say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn promises(promises: &[Promise]) {
    for promise in promises {
        let is_met = if promise.met { "met" } else { "NOT MET" };
        println!("{:<58}{:<9}{}", promise.text, is_met, promise.seen);
    }
}
