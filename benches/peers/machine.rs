//! The machine, and the programs on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::options::target_directory;

/// A program in PATH, at the places of PostgreSQL's distributions, or beside the build.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    places.push(target_directory().join("pgbouncer/usr/sbin"));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin")));
    places.into_iter().map(|place| place.join(name)).find(|program| program.is_file())
}

/// A command that ends when this process does, however that ends, and runs as this user.
pub fn ends_with_us(program: &Path, account: Option<(u32, u32)>) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]);
    if let Some((user, group)) = account {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
        command.arg("--clear-groups");
    }
    command.arg(program);
    command
}

/// A pause between two looks.
pub fn pause(time: Duration) {
    let _ = crossbeam_channel::never::<()>().recv_timeout(time);
}

/// What the figures depend on.
pub fn about() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = load();
    let busy = if load > 0.3 * cores as f64 { ", so the figures are rough" } else { "" };
    vec![
        ("machine", format!("{cores} cores, {}", processor())),
        ("load before", format!("{load:.2}{busy}")),
    ]
}

/// The same in one line.
pub fn said(about: &[(&str, String)]) -> String {
    let each = about.iter().filter(|(name, _)| *name != "how");
    each.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ")
}

/// The load of the last minute, in threads that want a core.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// How the processor calls itself.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.unwrap_or("an unknown processor").trim_start_matches([' ', '\t', ':']).to_owned()
}
