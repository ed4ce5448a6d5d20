//! Metrics of the process itself from /proc, under the names of Prometheus' own clients. Without
//! /proc, as on macOS, they are absent.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts, Registry};
use rustix::process::{getrlimit, Resource};

/// The counter; all others are gauges.
const CPU: (&str, &str) =
    ("process_cpu_seconds_total", "Processor time used, of user and system, in seconds.");
const RESIDENT: (&str, &str) = ("process_resident_memory_bytes", "Memory in use, in bytes.");
const VIRTUAL: (&str, &str) = ("process_virtual_memory_bytes", "Address space in use, in bytes.");
const OPEN_FDS: (&str, &str) = ("process_open_fds", "Open file descriptors.");
const MAX_FDS: (&str, &str) = ("process_max_fds", "How many file descriptors may be open.");
const START: (&str, &str) = ("process_start_time_seconds", "When it started, since 1970.");
const THREADS: (&str, &str) = ("process_threads", "Threads alive.");

/// Registers the metrics of the process.
pub(super) fn register(registry: &Registry) {
    let gauges = [RESIDENT, VIRTUAL, OPEN_FDS, MAX_FDS, START, THREADS];
    let described = gauges.into_iter().filter_map(|(name, help)| Gauge::new(name, help).ok());
    let mut descriptions: Vec<Desc> =
        described.flat_map(|gauge| gauge.desc().into_iter().cloned().collect::<Vec<_>>()).collect();
    if let Ok(cpu) = Counter::new(CPU.0, CPU.1) {
        descriptions.extend(cpu.desc().into_iter().cloned());
    }
    // The names are constants, each used once above.
    let _ = registry.register(Box::new(Process { descriptions }));
}

struct Process {
    descriptions: Vec<Desc>,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse);
        let mut families = Vec::new();
        if let Some(stat) = &stat {
            let ticks = rustix::param::clock_ticks_per_second() as f64;
            let cpu = Counter::with_opts(Opts::new(CPU.0, CPU.1));
            families.extend(cpu.iter().flat_map(|cpu| {
                cpu.inc_by(stat.cpu_ticks as f64 / ticks);
                cpu.collect()
            }));
            let resident = stat.resident_pages as f64 * rustix::param::page_size() as f64;
            families.extend(gauge(RESIDENT, Some(resident)));
            families.extend(gauge(VIRTUAL, Some(stat.virtual_bytes as f64)));
            families.extend(gauge(THREADS, Some(stat.threads as f64)));
            let start = booted().map(|booted| booted as f64 + stat.start_ticks as f64 / ticks);
            families.extend(gauge(START, start));
        }
        families.extend(gauge(OPEN_FDS, open_files().map(|files| files as f64)));
        let most = getrlimit(Resource::Nofile).current.map(|most| most as f64);
        families.extend(gauge(MAX_FDS, most));
        families
    }
}

fn gauge((name, help): (&str, &str), value: Option<f64>) -> Vec<MetricFamily> {
    let gauge = value.and_then(|value| {
        let gauge = Gauge::with_opts(Opts::new(name, help)).ok()?;
        gauge.set(value);
        Some(gauge)
    });
    gauge.iter().flat_map(Collector::collect).collect()
}

/// The directory that is being read is one of them.
fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// When the machine started, in seconds since 1970.
fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Of /proc/PID/stat, as proc(5) describes it.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Stat> {
        // The name before may contain spaces and brackets. The rest begins with field 3.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_whatever_the_name_holds() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 3 0 21 12 0 0 20 0 9 0 5000 8192 33 1\n";
        let stat = Stat {
            cpu_ticks: 33,
            threads: 9,
            start_ticks: 5000,
            virtual_bytes: 8192,
            resident_pages: 33,
        };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
