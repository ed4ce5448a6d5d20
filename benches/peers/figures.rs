//! What was measured, and what is made of it.

use crate::process::Cpu;

/// What one round of one contender has come to.
#[derive(Clone, Default)]
pub struct Round {
    pub operations: f64,
    pub seconds: f64,
    /// CPU seconds of the round.
    pub cpu: Cpu,
    pub failed: u64,
    pub first_error: Option<String>,
    /// Microseconds of each call, sorted; of the peers' programs they are not known.
    pub micros: Vec<f32>,
}

impl Round {
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.micros.len().checked_sub(1)?;
        self.micros.get((last as f64 * share).round() as usize).map(|micros| f64::from(*micros))
    }
}

/// What a figure says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Micros,
    Millis,
    Kib,
    Count,
}

impl Unit {
    pub fn text(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Micros => "us",
            Unit::Millis => "ms",
            Unit::Kib => "KiB",
            Unit::Count => "",
        }
    }

    pub fn more_is_better(self) -> bool {
        self == Unit::PerSecond
    }

    /// The figure of a round; of what is no time, each row finds it by itself.
    pub fn of(self, round: &Round) -> f64 {
        match self {
            Unit::PerSecond => round.operations / round.seconds,
            Unit::Millis => round.seconds * 1e3 / round.operations,
            Unit::Micros | Unit::Kib | Unit::Count => round.seconds * 1e6 / round.operations,
        }
    }
}

/// One side of a row: its figure in each round.
#[derive(Clone)]
pub struct Side {
    pub name: String,
    pub values: Vec<f64>,
    /// Median microseconds an operation; `None` where nobody looked.
    pub cpu: Option<Cpu>,
    /// Medians of the calls' 50th and 99th percentile, in microseconds.
    pub quantiles: Option<(f64, f64)>,
    pub failed: u64,
    pub first_error: Option<String>,
}

impl Side {
    /// Figures that are not made of rounds of calls.
    pub fn plain(name: &str, values: Vec<f64>) -> Side {
        let name = name.to_owned();
        Side { name, values, cpu: None, quantiles: None, failed: 0, first_error: None }
    }

    pub fn of(name: &str, unit: Unit, rounds: &[Round]) -> Side {
        let cpu = |part: fn(Cpu) -> f64| {
            let each = rounds.iter().map(|round| part(round.cpu.per_operation(round.operations)));
            median(each.collect())
        };
        let quantile = |share: f64| {
            let each: Option<Vec<f64>> = rounds.iter().map(|round| round.quantile(share)).collect();
            each.map(median)
        };
        // Every process at work uses some; where nobody looked, all is 0.
        let looked = rounds.iter().any(|round| round.cpu.client + round.cpu.service > 0.0);
        Side {
            name: name.to_owned(),
            values: rounds.iter().map(|round| unit.of(round)).collect(),
            cpu: looked.then(|| Cpu {
                client: cpu(|cpu| cpu.client),
                service: cpu(|cpu| cpu.service),
                postgres: cpu(|cpu| cpu.postgres),
                pgbouncer: cpu(|cpu| cpu.pgbouncer),
            }),
            quantiles: quantile(0.5).zip(quantile(0.99)),
            failed: rounds.iter().map(|round| round.failed).sum(),
            first_error: rounds.iter().find_map(|round| round.first_error.clone()),
        }
    }

    pub fn median(&self) -> f64 {
        median(self.values.clone())
    }

    /// The lowest and the highest.
    pub fn spread(&self) -> (f64, f64) {
        let each = || self.values.iter().copied();
        (each().fold(f64::INFINITY, f64::min), each().fold(f64::NEG_INFINITY, f64::max))
    }
}

/// A row of the table.
#[derive(Clone)]
pub struct Line {
    pub row: String,
    pub unit: Unit,
    pub ours: Side,
    pub peer: Option<Side>,
}

impl Line {
    /// Ours by the peer's, in the same round each; the median of that.
    pub fn ratio(&self) -> Option<f64> {
        let peer = self.peer.as_ref()?;
        Some(median(self.ours.values.iter().zip(&peer.values).map(|(a, b)| a / b).collect()))
    }
}

/// What another system promises, and what was seen here.
#[derive(Clone)]
pub struct Promise {
    pub text: &'static str,
    pub seen: String,
    pub met: bool,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
