//! What every test starts from: one PostgreSQL for its program, and the real
//! binary in front of it, one process a test.
#![allow(dead_code)] // Each test program uses its own part of this.

mod calls;
pub mod demo;
pub mod fake;
pub mod h2;
mod log;
pub mod names;
pub mod pki;
pub mod proxy;
pub mod siege;
pub mod sql;
pub mod way;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::{CallError, Client, Security};
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, StatsResponse};
use grpcio::{EnvBuilder, Environment};

#[allow(unused_imports)] // As above.
pub use calls::*;
#[allow(unused_imports)]
pub use log::Log;

/// A test that has waited for so long has failed. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The PostgreSQL of this test program. It ends with the process.
pub fn postgres() -> &'static Embedded {
    static POSTGRES: OnceLock<Embedded> = OnceLock::new();
    POSTGRES.get_or_init(|| Embedded::start(Options::default()).expect("PostgreSQL starts"))
}

/// A role and a database of its own, nobody else's.
pub struct Tenant {
    pub name: String,
    pub password: String,
    pub dsn: String,
}

/// Makes a tenant on the program's PostgreSQL.
pub fn tenant() -> Tenant {
    tenant_on(postgres())
}

/// Makes a tenant on this PostgreSQL.
pub fn tenant_on(postgres: &Embedded) -> Tenant {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let password = format!("secret-of-{name}");
    postgres.create_tenant(&name, &password).expect("the role and the database are new");
    let dsn = postgres.tenant_dsn(&name, &password);
    Tenant { name, password, dsn }
}

impl Tenant {
    /// Asks PostgreSQL itself, as superuser, in this tenant's database.
    pub fn sql(&self, sql: &str) -> String {
        let out = postgres().sql(&self.name, sql).expect("SQL runs");
        out.trim().to_owned()
    }

    /// Its backends that belong to the service, by pg_stat_activity.
    pub fn backends(&self) -> usize {
        backends_on(postgres(), &self.name)
    }

    /// Process ids of its backends that belong to the service.
    pub fn backend_pids(&self) -> Vec<i32> {
        let sql = format!(
            "select pid from pg_stat_activity where datname = '{}' and application_name like 'connpool/%'",
            self.name
        );
        let out = postgres().sql("postgres", &sql).expect("SQL runs");
        out.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }
}

/// Backends of the service in this database.
pub fn backends_on(postgres: &Embedded, database: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' and application_name like 'connpool/%'"
    );
    let out = postgres.sql("postgres", &sql).expect("SQL runs");
    out.trim().parse().expect("a number")
}

/// The real binary, serving.
pub struct Service {
    child: Option<Child>,
    pub port: u16,
    pub http_port: u16,
    log: Log,
    environment: Arc<Environment>,
    trust: Option<Vec<u8>>,
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
        let line = log.wait_for("event=listening");
        let trust = (!insecure).then(|| std::fs::read(&made.cert).unwrap());
        Service {
            child: Some(child),
            port: port_of(&line, "grpc="),
            http_port: port_of(&line, "http="),
            log,
            environment: Arc::new(EnvBuilder::new().cq_count(1).build()),
            trust,
            certs,
        }
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> Client {
        self.client_by(self.port)
    }

    /// A client that reaches it by another port of this machine.
    pub fn client_by(&self, port: u16) -> Client {
        let address = format!("localhost:{port}");
        let security = match &self.trust {
            Some(pem) => Security::Trust(pem),
            None => Security::Insecure,
        };
        // It is that of a whole stream, too.
        Client::new(&self.environment, &address, &security).with_timeout(5 * PATIENCE)
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

    /// The body of a GET, and its status.
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.http_port, path)
    }

    /// The value of one series on /metrics, as written there; `None` = absent.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics");
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
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

fn port_of(line: &str, key: &str) -> u16 {
    let field = line.split_whitespace().find(|word| word.starts_with(key));
    let port = field.and_then(|field| field.rsplit(':').next());
    port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no {key} in {line:?}"))
}

/// A GET over plain HTTP/1.1.
pub fn http_get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("HTTP answers");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

#[allow(clippy::disallowed_methods)] // The clock of the tests' patience.
pub fn now() -> Instant {
    Instant::now()
}

/// Looks until `holds`, with a short pause between looks; fails after PATIENCE.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    // A channel nobody sends on: a pause that is not a guess about how long
    // something takes, only about how often to look.
    let never = crossbeam_channel::never::<()>();
    while !holds() {
        assert!(now() < until, "waited in vain: {what}");
        let _ = never.recv_timeout(Duration::from_millis(10));
    }
}

/// A GetConnection request.
pub fn request(tenant: &Tenant) -> ConnectionRequest {
    ConnectionRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        ..ConnectionRequest::default()
    }
}

/// A protobuf duration.
pub fn millis(ms: u64) -> protobuf::MessageField<protobuf::well_known_types::duration::Duration> {
    let duration = Duration::from_millis(ms);
    let mut wire = protobuf::well_known_types::duration::Duration::new();
    wire.seconds = duration.as_secs() as i64;
    wire.nanos = duration.subsec_nanos() as i32;
    Some(wire).into()
}

/// The error of a call that must fail.
#[track_caller]
pub fn refused<T>(answer: Result<T, CallError>) -> CallError {
    match answer {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error,
    }
}

/// gRPC codes by name.
pub mod code {
    pub const CANCELLED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const NOT_FOUND: i32 = 5;
    pub const ALREADY_EXISTS: i32 = 6;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const ABORTED: i32 = 10;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
    pub const DATA_LOSS: i32 = 15;
}

/// The path of a file in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
