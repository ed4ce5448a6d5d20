//! The rows, most important first.

mod admission;
pub mod calls;
pub mod connect;
mod large;
mod latency;
mod lease_table;
pub mod memory;
mod neighbours;
mod pooling;
mod scrape;
mod session;
mod tpcb;

use crate::bench::Bench;
use crate::figures::Line;
use crate::options::Options;
use crate::Answer;

/// Rows that are measured together.
pub struct Group {
    pub name: &'static str,
    pub rows: &'static [&'static str],
    pub measure: fn(&Bench, &Options) -> Answer<Vec<Line>>,
}

pub const GROUPS: &[Group] = &[
    calls::GROUP,
    connect::GROUP,
    tpcb::GROUP,
    latency::GROUP,
    large::GROUP,
    admission::GROUP,
    neighbours::GROUP,
    memory::GROUP,
    lease_table::GROUP,
    scrape::GROUP,
    pooling::GROUP,
];
