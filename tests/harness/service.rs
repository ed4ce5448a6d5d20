//! The real binary, one process a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::{Client, Security};
use connection_pool_manager::proto::connection_pool::StatsResponse;
use grpcio::{EnvBuilder, Environment};

use super::{eventually, http_get, now, Log, PATIENCE};

/// A certificate and its key as PEM.
type Shown = (Vec<u8>, Vec<u8>);

/// The real binary, serving.
pub struct Service {
    child: Option<Child>,
    pub port: u16,
    pub http_port: u16,
    log: Log,
    environment: Arc<Environment>,
    trust: Option<Vec<u8>>,
    /// What its clients show: a certificate, and a token.
    shown: (Option<Shown>, Option<String>),
    /// When a page of metrics will not be one that was made before.
    fresh_metrics: Mutex<Option<Instant>>,
    pub certs: tempfile::TempDir,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_connection-pool-manager"))
}

/// A command that runs it without any setting of the environment.
pub fn command() -> Command {
    without_settings(Command::new(binary()))
}

/// What a program says that refuses to start.
#[track_caller]
pub fn refusal(mut program: Command) -> String {
    struct Ending(Child);
    impl Drop for Ending {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let mut child = Ending(program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut status = None;
    eventually("the process ends", || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    let said = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
    assert!(!status.unwrap().success(), "{program:?} starts");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A command without any setting of the environment.
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("CPM_")
            || name.starts_with("DB_")
            || name.starts_with("PG")
            || name.starts_with("GRPC_")
            || name == "RUST_LOG"
        {
            command.env_remove(name);
        }
    }
    // Without it the process's files in /proc, which tests read, belong to root.
    command.env("CPM_CORE_DUMPS", "true");
    command.stdin(Stdio::null());
    command
}

/// This command, which is the binary or becomes it, as a service on free ports: on
/// loopback, unless the arguments say where HTTP is, and with that where all is.
pub fn serving(mut command: Command, cert: &Path, key: &Path, arguments: &[&str]) -> Command {
    let loopback = ["--listen", "127.0.0.1", "--http", "127.0.0.1:0"];
    let at: &[&str] = if arguments.contains(&"--http") { &[] } else { &loopback };
    command
        .args(["serve", "--port", "0"])
        .args(at)
        .arg("--cert")
        .arg(cert)
        .arg("--key")
        .arg(key)
        .args(arguments)
        .env("RUST_LOG", "debug");
    command
}

impl Service {
    /// Serves with TLS on free ports.
    pub fn start() -> Service {
        Service::with(&[])
    }

    /// Serves with further arguments.
    pub fn with(arguments: &[&str]) -> Service {
        Service::run(command(), arguments)
    }

    /// Serves as an operator has it, for long runs: a test has it log more, and ends with it
    /// only if it ends well.
    pub fn undisturbed(arguments: &[&str]) -> Service {
        let mut command = without_settings(Command::new("setpriv"));
        command.args(["--pdeathsig", "KILL", "env", "-u", "RUST_LOG"]).arg(binary());
        Service::run(command, arguments)
    }

    /// Serves with further variables.
    pub fn with_environment(variables: &[(&str, PathBuf)]) -> Service {
        let mut command = command();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Service::run(command, &[])
    }

    /// Serves with at most so many file descriptors.
    pub fn limited(descriptors: u32, arguments: &[&str]) -> Service {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""));
        shell.arg(binary());
        Service::run(without_settings(shell), arguments)
    }

    /// Serves by this command, which is the binary or becomes it.
    pub fn run(mut command: Command, arguments: &[&str]) -> Service {
        let certs = tempfile::tempdir().expect("a directory");
        let names = ["localhost", "127.0.0.1"];
        let made =
            connection_pool_manager::dev_certs::write(certs.path(), &names).expect("certificates");
        let insecure = arguments.contains(&"--insecure");
        if !command.get_envs().any(|(name, _)| name == "TMPDIR") {
            // Its private files lie where the test can get at them.
            command.env("TMPDIR", certs.path());
        }
        let mut child = serving(command, &made.cert, &made.key, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        log.follow(child.stdout.take().unwrap());
        let json = arguments.contains(&"json");
        let started = if json { "\"event\":\"listening\"" } else { "event=listening" };
        let line = log.wait_for(started);
        let trust = (!insecure).then(|| std::fs::read(&made.cert).unwrap());
        Service {
            child: Some(child),
            port: port_of(&line, "grpc"),
            http_port: port_of(&line, "http"),
            log,
            environment: Arc::new(EnvBuilder::new().cq_count(1).build()),
            trust,
            shown: (None, None),
            fresh_metrics: Mutex::default(),
            certs,
        }
    }

    /// The same, whose clients show this token from now on.
    pub fn with_token(mut self, token: &str) -> Service {
        self.shown.1 = Some(token.to_owned());
        self
    }

    /// The same, whose clients show this certificate from now on.
    pub fn with_certificate(mut self, pair: &super::pki::Pair) -> Service {
        self.shown.0 = Some((pair.cert.clone(), pair.key_pem()));
        self
    }

    /// A client with a connection of its own, which shows nothing but this certificate.
    pub fn client_with(&self, pair: &super::pki::Pair) -> Client {
        let (cert, key) = (&pair.cert, &pair.key_pem());
        let trust = self.trust.as_deref().expect("TLS");
        let address = format!("localhost:{}", self.port);
        Client::new(&self.environment, &address, &Security::Mutual { trust, cert, key })
            .with_timeout(5 * PATIENCE)
    }

    /// A client with a connection of its own, which shows nothing.
    pub fn nameless(&self) -> Client {
        let address = format!("localhost:{}", self.port);
        let security = match &self.trust {
            Some(pem) => Security::Trust(pem),
            None => Security::Insecure,
        };
        Client::new(&self.environment, &address, &security).with_timeout(5 * PATIENCE)
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> Client {
        self.client_by(self.port)
    }

    /// A client that reaches it by another port of this machine.
    pub fn client_by(&self, port: u16) -> Client {
        let address = format!("localhost:{port}");
        let security = match &self.trust {
            Some(trust) => match &self.shown.0 {
                Some((cert, key)) => Security::Mutual { trust, cert, key },
                None => Security::Trust(trust),
            },
            None => Security::Insecure,
        };
        // It is that of a whole stream, too.
        let client = Client::new(&self.environment, &address, &security).with_timeout(5 * PATIENCE);
        match &self.shown.1 {
            Some(token) => client.with_token(token).unwrap(),
            None => client,
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("it runs").id() as i32
    }

    /// A field of /proc/PID/status, its first number.
    pub fn proc_status(&self, field: &str) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }

    pub fn threads(&self) -> usize {
        self.proc_status("Threads:")
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The body of a GET, and its status. A page of metrics tells what is true now.
    pub fn get(&self, path: &str) -> (u16, String) {
        if path != "/metrics" {
            return http_get(self.http_port, path);
        }
        // One that took 20 ms to make is given to all for ten times that, and a second at
        // most; seen from here it took longer.
        let mut fresh = self.fresh_metrics.lock().unwrap();
        eventually("a new page of metrics is made", || fresh.is_none_or(|from| now() >= from));
        let asked = now();
        let page = http_get(self.http_port, path);
        let took = asked.elapsed();
        let kept =
            (took >= Duration::from_millis(20)).then(|| (10 * took).min(Duration::from_secs(1)));
        *fresh = kept.map(|kept| now() + kept);
        page
    }

    /// The value of one series on /metrics, as written there; `None` = absent.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics");
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Why this backend was closed: to see whether others could be let in, as is done from
    /// time to time with what rests? Then it tells nothing about what a test did to it.
    pub fn gave_way(&self, pid: i32) -> bool {
        self.log.wait_for(&format!(" pid={pid} reason=")).contains(" reason=gave_way")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let mut status = None;
        eventually("the process ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until nothing of the tenant is in use: no lease, no permit, nobody
    /// waiting, every backend idle.
    pub fn wait_quiet(&self, tenant: &str) -> StatsResponse {
        let client = self.client();
        let mut last = StatsResponse::new();
        eventually("the tenant is quiet", || {
            last = client.stats(tenant).expect("stats");
            last.active_connections == 0
                && last.opening == 0
                && last.waiting == 0
                && last.leases == 0
                && last.total_connections == last.idle_connections
        });
        last
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the service's log ---\n{}", self.log.text());
        }
    }
}

/// The port of an address in a line, which may be JSON.
pub fn port_of(line: &str, key: &str) -> u16 {
    let at = [format!(" {key}="), format!("\"{key}\":\"")];
    let address = at.iter().find_map(|at| line.split_once(at.as_str()));
    let address = address.and_then(|(_, rest)| rest.split([' ', '"']).next());
    let port = address.and_then(|address| address.rsplit(':').next());
    port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no {key} in {line:?}"))
}
