//! What processes use, from /proc.

use std::fs;

/// CPU seconds of the processes at work.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// The load generator: this process, or the peer's own program.
    pub client: f64,
    pub service: f64,
    pub postgres: f64,
    pub pgbouncer: f64,
}

impl Cpu {
    pub fn since(self, before: Cpu) -> Cpu {
        self.each(before, |after, before| (after - before).max(0.0))
    }

    /// Microseconds an operation.
    pub fn per_operation(self, operations: f64) -> Cpu {
        self.each(self, |seconds, _| seconds * 1e6 / operations.max(1.0))
    }

    fn each(self, other: Cpu, change: impl Fn(f64, f64) -> f64) -> Cpu {
        Cpu {
            client: change(self.client, other.client),
            service: change(self.service, other.service),
            postgres: change(self.postgres, other.postgres),
            pgbouncer: change(self.pgbouncer, other.pgbouncer),
        }
    }
}

/// Which processes are at work.
#[derive(Clone, Copy, Default)]
pub struct Processes {
    pub service: Option<u32>,
    pub postmaster: Option<u32>,
    pub pgbouncer: Option<u32>,
}

impl Processes {
    /// What they have used so far, with this load generator.
    pub fn used(self, client: u32) -> Cpu {
        let own = |pid: Option<u32>| pid.and_then(stat).map_or(0.0, |stat| stat.own);
        Cpu {
            client: own(Some(client)),
            service: own(self.service),
            postgres: self.postmaster.map_or(0.0, with_children),
            pgbouncer: own(self.pgbouncer),
        }
    }
}

struct Stat {
    parent: u32,
    own: f64,
    /// Of children that have ended.
    ended: f64,
}

/// A process by /proc/PID/stat; `None` when there is none.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have spaces; the field after it is the third of all.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // Linux reports hundredths of a second, on every machine.
    let seconds = |first: usize| Some((number(first)? + number(first + 1)?) as f64 / 100.0);
    Some(Stat { parent: number(4)? as u32, own: seconds(14)?, ended: seconds(16)? })
}

/// A process, its children, and those that it had.
fn with_children(parent: u32) -> f64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter_map(stat).filter(|stat| stat.parent == parent);
    let living: f64 = children.map(|stat| stat.own).sum();
    stat(parent).map_or(0.0, |stat| stat.own + stat.ended + living)
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    pub kib: f64,
    pub descriptors: f64,
    pub threads: f64,
}

impl Held {
    pub fn by(pid: u32) -> Held {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Held { kib: field("VmRSS:"), descriptors: descriptors as f64, threads: field("Threads:") }
    }
}
