//! A real Prometheus, on a free port and with nothing outside its own directory.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{eventually, http_get, Log};

/// A program of Prometheus: of the package that `.ci/install-deps.sh tests` unpacks
/// beside the build, or one that is installed.
pub fn program(name: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let unpacked = target.join("prometheus/usr/bin").join(name);
    let found = if unpacked.exists() { unpacked } else { PathBuf::from(name) };
    let mut command = Command::new(&found);
    let works = command.arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(works, "{} does not run: run `.ci/install-deps.sh tests`", found.display());
    Command::new(found)
}

/// A Prometheus that scrapes. It ends when dropped.
pub struct Prometheus {
    child: Child,
    port: u16,
    log: Log,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these ports of this machine twice a second, and follows these rules.
    pub fn start(ports: &[u16], rules: &str) -> Prometheus {
        let directory = tempfile::tempdir().unwrap();
        let targets: Vec<String> =
            ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: connpool\n    static_configs: [{{targets: [{}]}}]\n",
            targets.join(", ")
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        fs::write(directory.path().join("rules.yml"), rules).unwrap();
        loop {
            // Free a moment ago; whoever takes it meanwhile has it, and another is tried.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut child = program("prometheus")
                .current_dir(directory.path())
                .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let log = Log::default();
            log.follow(child.stderr.take().unwrap());
            let mut ended = false;
            eventually("Prometheus is ready, or the port was taken", || {
                ended = child.try_wait().unwrap().is_some();
                ended || log.text().contains("Server is ready to receive web requests")
            });
            if !ended {
                return Prometheus { child, port, log, _directory: directory };
            }
            assert!(log.text().contains("address already in use"), "{}", log.text());
        }
    }

    /// What a query of this moment gives: each series' labels and value, as it says them.
    pub fn query(&self, query: &str) -> Vec<String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (status, body) = http_get(self.port, &format!("/api/v1/query?query={encoded}"));
        assert_eq!(status, 200, "{query}: {body}");
        let series = body.split("{\"metric\":{").skip(1);
        series.map(|one| one.split_once("]}").map_or(one, |(one, _)| one).to_owned()).collect()
    }

    /// The value of a query that gives one.
    pub fn number(&self, query: &str) -> Option<f64> {
        let found = self.query(query);
        let value = found.first()?.rsplit("\"").nth(1)?;
        value.parse().ok()
    }

    /// Alerts that are pending or fire, each as its name and the first of its labels
    /// `tenant` and `instance` that it has.
    pub fn alerts(&self, state: &str) -> Vec<(String, String)> {
        let label = |series: &str, name: &str| {
            let rest = series.split(&format!("\"{name}\":\"")).nth(1)?;
            Some(rest.split('"').next()?.to_owned())
        };
        let found = self.query(&format!("ALERTS{{alertstate=~\"{state}\"}}"));
        let named = found.iter().filter_map(|series| {
            let of = label(series, "tenant").or(label(series, "instance"))?;
            Some((label(series, "alertname")?, of))
        });
        let mut alerts: Vec<(String, String)> = named.collect();
        alerts.sort();
        alerts
    }

    /// Waits until all rules have been evaluated so many times more.
    pub fn wait_rounds(&self, rounds: f64) {
        let count = || {
            let page = http_get(self.port, "/metrics").1;
            let line = page
                .lines()
                .find(|line| line.starts_with("prometheus_rule_group_iterations_total"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let before = count();
        eventually("the rules are evaluated", || count() >= before + rounds);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Prometheus' log ---\n{}", self.log.text());
        }
    }
}
