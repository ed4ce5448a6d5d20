//! pgbench, the load generator of the peers.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::bench::{Bench, NAME, PASSWORD};
use crate::figures::Round;
use crate::harness::now;
use crate::machine::{find_program, pause};
use crate::Answer;

/// Which statements, and how they are sent.
pub enum Work {
    /// A point query.
    Select,
    /// The same, on a new connection each.
    ConnectAndSelect,
    /// The seven round trips of a transaction like TPC-B's.
    TpcB,
}

/// Its connections are all there by then.
const WARM: Duration = Duration::from_millis(400);
/// It is still at work when the processes have been watched.
const SPARE: Duration = Duration::from_millis(100);
/// Beyond the length that it was given.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(port: u16) -> Answer<Command> {
    let mut command = Command::new(find_program("pgbench").ok_or("pgbench is not installed")?);
    command
        .env("PGPASSWORD", PASSWORD)
        .env("PGSSLMODE", "require")
        .args(["-h", "127.0.0.1", "-U", NAME, "-p", &port.to_string()])
        .stdin(Stdio::null());
    Ok(command)
}

/// Makes pgbench's tables.
pub fn make_tables(port: u16, scale: usize) -> Answer<()> {
    let made = command(port)?.args(["-i", "-q", "-s", &scale.to_string(), NAME]).output()?;
    if made.status.success() {
        return Ok(());
    }
    Err(format!("pgbench -i: {}", String::from_utf8_lossy(&made.stderr)).into())
}

impl Bench {
    /// A round of pgbench at this port. The processes are watched while it is under way:
    /// neither its start nor its logins count, unless they are what is measured.
    pub fn pgbench(
        &self,
        port: u16,
        work: &Work,
        prepared: bool,
        clients: usize,
        length: Duration,
    ) -> Answer<Round> {
        let seconds = (length + WARM + SPARE).as_secs_f64().ceil();
        let mut command = command(port)?;
        match work {
            Work::Select => command.arg("-S"),
            Work::ConnectAndSelect => command.args(["-S", "-C"]),
            Work::TpcB => &mut command,
        };
        command
            .args(["-n", "-j", "1", "-M", if prepared { "prepared" } else { "simple" }])
            .args(["-c", &clients.to_string(), "-T", &seconds.to_string(), NAME])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running(command.spawn()?);
        let pid = running.0.id();
        pause(WARM);
        let before = (now(), self.processes.used(pid));
        pause(length);
        let cpu = self.processes.used(pid).since(before.1);
        let watched = before.0.elapsed().as_secs_f64();
        let until = now() + PATIENCE;
        while running.0.try_wait()?.is_none() {
            if now() >= until {
                return Err("pgbench does not end".into());
            }
            pause(Duration::from_millis(10));
        }
        let said = std::io::read_to_string(running.0.stdout.take().ok_or("no output")?)?;
        let complaints = std::io::read_to_string(running.0.stderr.take().ok_or("no output")?)?;
        let rate = rate(&said).ok_or(format!("pgbench: {complaints}"))?;
        let failed = said.lines().filter_map(|line| {
            let count = line.strip_prefix("number of failed transactions: ")?;
            count.split(' ').next()?.parse::<u64>().ok()
        });
        Ok(Round {
            operations: rate * watched,
            seconds: watched,
            cpu,
            failed: failed.sum(),
            ..Round::default()
        })
    }
}

/// Transactions a second. Without `-C` pgbench leaves out the time of the first logins.
fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}
