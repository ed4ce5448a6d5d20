//! The demo: it walks, shows one backend behind one lease, and leaves nothing.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use crate::harness::{command, eventually};
use tempfile::TempDir;

/// A demo's own working directory and its own place for temporary files, so
/// that what it leaves is known to be its own.
struct Place {
    work: TempDir,
    temporary: TempDir,
}

impl Place {
    fn new() -> Place {
        // PostgreSQL may run under another account, which must get through.
        let open = || Permissions::from_mode(0o755);
        let temporary = tempfile::Builder::new().permissions(open()).tempdir().unwrap();
        Place { work: tempfile::tempdir().unwrap(), temporary }
    }

    /// Runs the demo to its end: how it ended, and what it wrote.
    fn demo(&self, arguments: &[&str]) -> (ExitStatus, String, String) {
        self.demo_beside(arguments, || ())
    }

    /// The same, and looks again and again while it runs.
    fn demo_beside(
        &self,
        arguments: &[&str],
        mut look: impl FnMut(),
    ) -> (ExitStatus, String, String) {
        let mut child = command()
            .args(["demo", "--once", "--listen", "127.0.0.1"])
            .args(arguments)
            .current_dir(self.work.path())
            .env("TMPDIR", self.temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut status = None;
        eventually("the demo ends", || {
            look();
            status = child.try_wait().unwrap();
            status.is_some()
        });
        // It writes far less than a pipe holds, so nothing blocked on us.
        let out = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
        let err = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        (status.unwrap(), out, err)
    }

    /// Processes whose command lines name its temporary directory, and those.
    fn processes(&self) -> Vec<(PathBuf, String)> {
        let path = self.temporary.path().to_str().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((entry.path(), String::from_utf8_lossy(&line).replace('\0', " ")))
        });
        lines.filter(|(_, line)| line.contains(path)).collect()
    }

    #[track_caller]
    fn assert_left_nothing(&self) {
        assert_eq!(self.processes(), []);
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_demo_walks_through_a_lease_and_leaves_nothing() {
    let place = Place::new();
    let (status, out, err) = place.demo(&["--port", "0", "--http", "127.0.0.1:0"]);
    assert!(status.success(), "{out}\n{err}");
    let pids: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("Execute(select pg_backend_pid())  ->  "))
        .collect();
    assert_eq!(pids.len(), 2, "{out}");
    assert_eq!(pids[0], pids[1]);
    assert!(pids[0].parse::<i32>().is_ok_and(|pid| pid > 0), "{out}");
    assert!(out.contains(&format!("backend pid {}", pids[0])), "{out}");
    for part in ["COMMIT", "107.50", "RELEASED", "LEASE_ENDED", "globex as globex", "GetPoolStats"]
    {
        assert!(out.contains(part), "no {part} in:\n{out}");
    }
    let pools = out.lines().filter(|line| line.contains(" connections ("));
    let shown: Vec<Vec<u32>> = pools
        .map(|line| line.split([' ', '(']).filter_map(|word| word.parse().ok()).collect())
        .collect();
    assert_eq!(shown.len(), 2, "{out}");
    for numbers in shown {
        assert_eq!(numbers[0], numbers[1..4].iter().sum::<u32>(), "{out}");
    }
    assert!(!err.contains("panic") && !err.contains("ERROR"), "{err}");
    assert!(!err.contains("demo-password"), "{err}");
    assert_eq!(mode(&place.work.path().join("certs/key.pem")), 0o600);
    assert!(place.work.path().join("certs/cert.pem").exists());
    place.assert_left_nothing();

    // The second time the certificate is there and stays.
    let key = std::fs::read(place.work.path().join("certs/key.pem")).unwrap();
    let (status, out, err) = place.demo(&["--port", "0", "--http", "127.0.0.1:0"]);
    assert!(status.success(), "{out}\n{err}");
    assert!(std::fs::read(place.work.path().join("certs/key.pem")).unwrap() == key);
    place.assert_left_nothing();
}

#[test]
fn the_allocators_settings_do_not_reach_postgresql() {
    let place = Place::new();
    let mut looks = 0;
    let (status, out, err) = place.demo_beside(&["--port", "0", "--http", "127.0.0.1:0"], || {
        for (process, line) in place.processes() {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            assert!(!environment.contains("MALLOC_ARENA_MAX"), "{line}");
            looks += usize::from(line.contains("postgres") && !environment.is_empty());
        }
    });
    assert!(status.success(), "{out}\n{err}");
    assert!(looks > 0, "no PostgreSQL was seen");
}

#[test]
fn a_taken_port_is_named_and_the_demo_leaves_nothing() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, _, err) = place.demo(&["--port", &port, "--http", "127.0.0.1:0"]);
    assert!(!status.success());
    assert!(err.contains("--port") && err.contains(&port) && err.contains("in use"), "{err}");
    place.assert_left_nothing();
    let address = format!("127.0.0.1:{port}");
    let (status, _, err) = place.demo(&["--port", "0", "--http", &address]);
    assert!(!status.success());
    assert!(err.contains("--http") && err.contains(&address) && err.contains("in use"), "{err}");
    place.assert_left_nothing();
}
