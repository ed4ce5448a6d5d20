//! The demo as a user starts it, serving, with the command line that it prints.

use std::fs::Permissions;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{command, eventually, repository, Log};

/// A demo that serves. It ends with this.
pub struct Demo {
    child: Child,
    log: Log,
    /// Its working directory, which also has `examples/`.
    work: TempDir,
    /// PostgreSQL may run under another account, which must get through.
    _temporary: TempDir,
    /// The command line for the example in Python, as it is printed.
    pub shown: String,
}

impl Demo {
    pub fn start() -> Demo {
        let open = Permissions::from_mode(0o755);
        let temporary = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        symlink(repository("examples"), work.path().join("examples")).unwrap();
        let mut child = command()
            .args(["demo", "--port", "0", "--http", "127.0.0.1:0"])
            .current_dir(work.path())
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        log.follow(child.stdout.take().unwrap());
        let last = log.wait_for("--dsn '");
        let text = log.text();
        let from = text.find("python3 examples/lease.py").expect("a command line");
        let shown = text[from..].split_inclusive(&*last).next().unwrap().to_owned();
        Demo { child, log, work, _temporary: temporary, shown }
    }

    /// Runs in its working directory.
    pub fn beside(&self, mut command: Command) -> Command {
        command.current_dir(self.work.path());
        command
    }

    /// An option of the command line that it shows.
    pub fn option(&self, name: &str) -> &str {
        let (_, rest) = self.shown.split_once(&format!("--{name} ")).expect(name);
        match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next().unwrap(),
            None => rest.split_whitespace().next().unwrap(),
        }
    }
}

impl Drop for Demo {
    /// It is asked to stop, so that its PostgreSQL goes too.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if std::thread::panicking() {
            eprintln!("--- the demo ---\n{}", self.log.text());
            let _ = self.child.wait();
            return;
        }
        eventually("the demo ends", || self.child.try_wait().unwrap().is_some());
    }
}
