//! The rows, most important first.

mod calls;
mod connect;
mod latency;
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

pub const GROUPS: &[Group] =
    &[calls::GROUP, connect::GROUP, session::GROUP, tpcb::GROUP, latency::GROUP];
