//! The service in Python.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process. Killed when dropped.
pub struct Python {
    pub port: u16,
    child: Child,
}

impl Python {
    /// Starts it on this port; 0 takes any.
    pub fn start(port: u16) -> Python {
        // `.ci/install-deps.sh tests` sets it up beside the build.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python = target.join("python/bin/python3");
        let shown = python.display();
        assert!(python.exists(), "{shown} is missing: run `.ci/install-deps.sh tests`");
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/server.py");
        let mut child = Command::new(python)
            .args([server, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Python { port: line.trim().parse().expect("it prints its port"), child }
    }

    /// Stops it where it stands: its connections stay, and nobody answers on them.
    pub fn freeze(&self) {
        self.signal("STOP", |state| state == "T");
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal("CONT", |state| state != "T");
    }

    /// Sends a signal, and waits until the system says so of the process.
    fn signal(&self, signal: &str, is_so: impl Fn(&str) -> bool) {
        let pid = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(sent.unwrap().success());
        crate::eventually(signal, || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let after_name = stat.rsplit_once(')').unwrap().1;
            is_so(after_name.split_whitespace().next().unwrap())
        });
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
