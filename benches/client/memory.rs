//! The memory of connections that rest.

use std::sync::Arc;
use std::time::Duration;

use connection_pool_manager::client::{Pool, ServiceConfig};
use grpcio::{Channel, ConnectivityState, Environment};

use super::{channel, open, row, seen, until};

/// What ten connections that rest take, and what ten of gRPC's channels alone take that are
/// connected in the same way: the median of three of each, in turns, none of which goes before
/// the end, so that none has the memory of another.
pub fn memory(config: &ServiceConfig, kind: &str, ca: Option<&[u8]>) {
    let environment = Arc::new(Environment::new(2));
    let bare = |count: usize| -> Vec<Channel> {
        let channels: Vec<Channel> =
            std::iter::repeat_with(|| channel(&environment, config, ca)).take(count).collect();
        for channel in &channels {
            channel.check_connectivity_state(true);
        }
        let is_ready = |channel: &Channel| {
            let state = channel.check_connectivity_state(false);
            state == ConnectivityState::GRPC_CHANNEL_READY
        };
        until(|| channels.iter().all(is_ready));
        channels
    };
    let mut one = config.clone();
    one.pool.size = 1;
    // What gRPC takes once, and what it takes for the first of this kind.
    let mut kept: (Vec<Pool>, Vec<Channel>) = (vec![open(&one)], bare(1));
    let (mut pools, mut channels) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let before = settled();
        kept.1.extend(bare(10));
        let between = settled();
        kept.0.push(open(config));
        channels.push(between.saturating_sub(before));
        pools.push(settled().saturating_sub(between));
    }
    let median = |mut figures: Vec<usize>| {
        figures.sort_unstable();
        figures[1]
    };
    let (pool, bare) = (median(pools), median(channels));
    let what = format!("memory of an idle pool of 10, {kind}");
    match kind {
        "plain" => row(&what, format!("{pool} KiB"), "< 400 KiB", pool < 400),
        _ => seen(&what, format!("{pool} KiB")),
    }
    seen(&format!("memory of ten channels of gRPC's alone, {kind}"), format!("{bare} KiB"));
    let own = pool as f64 - bare as f64;
    seen(&format!("the pool's own for each connection, {kind}"), format!("{:.1} KiB", own / 10.0));
    drop(kept);
}

/// This process's memory once nothing goes on any more, in KiB.
fn settled() -> usize {
    std::thread::sleep(Duration::from_millis(300));
    resident()
}

/// This process's memory, in KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
