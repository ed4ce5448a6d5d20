//! An ephemeral PostgreSQL server for the demo and the tests.
//!
//! It listens on 127.0.0.1 only, with TLS and scram passwords, keeps its data
//! in a temporary directory, and is gone with its directory when the
//! [`Embedded`] is dropped or its process dies in any way (see `wrapper`).
//!
//! Architecture invariant: nothing in the service itself depends on this
//! module; it is an edge, so it may read the clock, sleep and start processes.

mod account;
mod cluster;
mod error;
mod poll;
mod programs;
mod psql;
mod wrapper;

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

pub use error::EmbeddedError;

use poll::Poll;
use programs::Programs;
use wrapper::Wrapper;

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's `max_connections`.
    pub max_connections: u32,
    /// Further settings for `postgresql.conf`, which win over this module's
    /// own except for those that keep the server on the loopback interface.
    pub extra: Vec<(String, String)>,
    /// Where `initdb` and `postgres` are; `None` searches `CPM_PG_BIN`, the
    /// usual places of the distributions, then `PATH`.
    pub bin_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        // 300 leaves room for every pool of a test and its own sessions.
        Options { max_connections: 300, extra: Vec::new(), bin_dir: None }
    }
}

/// How [`Embedded::stop`] asks the server to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for the clients to leave (SIGTERM).
    Smart,
    /// Ends the sessions, then shuts down cleanly (SIGINT).
    Fast,
    /// Ends without a checkpoint, as in a crash (SIGQUIT).
    Immediate,
}

/// A running (or stopped) PostgreSQL server that belongs to this value.
///
/// States: running, left by [`stop`](Embedded::stop) or the death of the
/// postmaster; stopped, left by [`start_again`](Embedded::start_again). Both
/// end in `Drop`, which waits for the server and removes its directory.
pub struct Embedded {
    // Declared before the directory, so dropped before it.
    wrapper: Wrapper,
    dir: tempfile::TempDir,
    programs: Programs,
    password: String,
    ca_file: PathBuf,
    port: u16,
}

impl Embedded {
    /// Makes a cluster and starts its server. Takes about two seconds; fails
    /// after a minute at the latest for each of the two steps.
    pub fn start(options: Options) -> Result<Embedded, EmbeddedError> {
        let programs = Programs::find(options.bin_dir.as_deref())?;
        let account = account::server_account()?;
        let dir = cluster::make_dir(account)?;
        let password = cluster::make_password(dir.path(), account)?;
        let ca_file = cluster::make_certificate(dir.path(), account)?;
        let wrapper = Wrapper::spawn(dir.path(), &programs, account)?;

        let mut embedded = Embedded { wrapper, dir, programs, password, ca_file, port: 0 };
        embedded.make_cluster(&options)?;
        embedded.launch(PortChoice::AnyFree)?;
        log::info!("embedded PostgreSQL is ready on 127.0.0.1:{}", embedded.port);
        Ok(embedded)
    }

    /// The TCP port on 127.0.0.1; it stays the same over stop and start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's certificate, to be trusted as a CA by its clients.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The cluster's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join(cluster::DATA)
    }

    /// The last `lines` lines of the server's log; empty when it cannot be read.
    pub fn log_tail(&self, lines: usize) -> String {
        cluster::log_tail(self.dir.path(), lines)
    }

    /// The postmaster's process id; `None` while the server is stopped.
    pub fn postmaster_pid(&self) -> Option<i32> {
        if self.wrapper.has_exited() {
            return None;
        }
        cluster::read_pid_file(self.dir.path())?.pid()
    }

    /// Stops the server and waits, 30 seconds at most, until it is gone. A
    /// server that is stopped already is fine.
    ///
    /// With [`StopMode::Smart`] and clients that stay, the result is
    /// [`EmbeddedError::StillRunning`], and the server goes on shutting down.
    pub fn stop(&mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        let signal = match mode {
            StopMode::Smart => Signal::TERM,
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        };
        if let Some(pid) = self.postmaster_pid() {
            match send(pid, signal) {
                // It has just ended by itself.
                Err(EmbeddedError::Signal { source, .. })
                    if source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                result => result?,
            }
        }
        self.wait_for_exit(STOP_LIMIT)
    }

    /// Starts a stopped server again, on the same port and data. After a
    /// [`kill`](Embedded::kill) of the postmaster it first waits for its end.
    pub fn start_again(&mut self) -> Result<(), EmbeddedError> {
        self.wait_for_exit(STOP_LIMIT)?;
        self.launch(PortChoice::Same)
    }

    /// Stops a process of this server where it stands (SIGSTOP).
    pub fn freeze(&self, pid: i32) -> Result<(), EmbeddedError> {
        send(pid, Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self, pid: i32) -> Result<(), EmbeddedError> {
        send(pid, Signal::CONT)
    }

    /// Kills a process of this server (SIGKILL). For a backend this makes the
    /// postmaster restart all the others, as after a crash.
    pub fn kill(&self, pid: i32) -> Result<(), EmbeddedError> {
        send(pid, Signal::KILL)
    }

    fn make_cluster(&mut self, options: &Options) -> Result<(), EmbeddedError> {
        let mut poll = Poll::new(START_LIMIT);
        self.wrapper.initdb()?;
        let ended = poll.until(|| self.wrapper.exit_status());
        if ended.as_deref() != Some("0") {
            let log = self.log_tail(LOG_TAIL_LINES);
            return Err(EmbeddedError::Initdb { elapsed: poll.elapsed(), log });
        }
        cluster::configure(self.dir.path(), options)
    }

    /// Starts the server and waits until it accepts connections. Retries until the time is over if
    /// another process took the port, or processes of a killed server still ran.
    fn launch(&mut self, choice: PortChoice) -> Result<(), EmbeddedError> {
        let mut poll = Poll::new(START_LIMIT);
        loop {
            if choice == PortChoice::AnyFree {
                self.port = free_port()?;
            }
            let log_start_bytes = cluster::log_len_bytes(self.dir.path());
            // The file of a killed server still says "ready".
            let stale = cluster::read_pid_file(self.dir.path());
            self.wrapper.start(self.port)?;
            let ready = poll.until(|| {
                if self.wrapper.has_exited() {
                    return Some(false);
                }
                let current = cluster::read_pid_file(self.dir.path());
                let is_ready = current.as_ref().is_some_and(|file| file.is_ready());
                (is_ready && current != stale).then_some(true)
            });
            if ready == Some(true) {
                return Ok(());
            }
            let is_passing = ready == Some(false)
                && cluster::log_since(self.dir.path(), log_start_bytes)
                    .is_some_and(|log| PASSING_FAILURES.iter().any(|text| log.contains(text)));
            if !is_passing || !poll.pause() {
                let log = self.log_tail(LOG_TAIL_LINES);
                return Err(EmbeddedError::NotReady { elapsed: poll.elapsed(), log });
            }
        }
    }

    fn wait_for_exit(&self, limit: Duration) -> Result<(), EmbeddedError> {
        let mut poll = Poll::new(limit);
        poll.until(|| self.wrapper.exit_status())
            .map(drop)
            .ok_or_else(|| EmbeddedError::StillRunning { elapsed: poll.elapsed() })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, to leave the password out.
        f.debug_struct("Embedded")
            .field("port", &self.port)
            .field("dir", &self.dir.path())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PortChoice {
    AnyFree,
    Same,
}

/// A port that is free now. Another process may take it before PostgreSQL does;
/// [`Embedded::launch`] then tries another.
fn free_port() -> Result<u16, EmbeddedError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(EmbeddedError::Port)
}

fn send(pid: i32, signal: Signal) -> Result<(), EmbeddedError> {
    let missing = rustix::io::Errno::SRCH;
    // Zero and negative ids would mean whole process groups.
    let target = if pid > 0 { Pid::from_raw(pid) } else { None };
    target
        .ok_or(missing)
        .and_then(|target| kill_process(target, signal))
        .map_err(|errno| EmbeddedError::Signal { pid, source: errno.into() })
}

/// `initdb` and the first start take seconds; a loaded machine gets a minute.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Half of pg_ctl's default timeout: the data is thrown away anyway.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOG_TAIL_LINES: usize = 30;
/// What PostgreSQL logs when it could not start now but may a moment later.
const PASSING_FAILURES: [&str; 3] = [
    "Address already in use",
    "pre-existing shared memory block",
    "lock file \"postmaster.pid\" already exists",
];

#[cfg(test)]
mod tests;
