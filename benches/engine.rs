//! What the service's own conversation with PostgreSQL costs, on one thread and without
//! gRPC, beside the `postgres` crate over the same TLS in the same run and in turns: CPU
//! of this process, and of the PostgreSQL process at the other end. Prints; asserts
//! nothing.
//!
//! `cargo bench --bench engine` runs it for about half a minute.
#![allow(clippy::unwrap_used, clippy::expect_used)] // It stops at the first surprise.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::config::dsn::Dsn;
use connection_pool_manager::config::TenantPoolConfig;
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::engine::{
    Asker, Backend, BackendTls, CallerId, Column, Coming, Connect, ConnectError, Door, DsnReach,
    Logins, Notices, PgConnect, RawRow, Rows, RunError, Shape, Statement, TenantId, Tries, Value,
    Watch,
};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;

/// Other load on the machine changes by the second, so turns are short.
const ROUNDS: usize = 51;
const ROUND: Duration = Duration::from_millis(50);
const IDLE: usize = 100;
const POINT: &str = "select abalance from accounts where aid = $1";
const BATCH: usize = 16;

/// A door that admits every connection.
struct Open;

impl Door for Open {
    fn enter(&self, _: SocketAddr) -> Result<(), ConnectError> {
        Ok(())
    }
    fn record(&self, _: Option<&ConnectError>) {}
}

/// Reads rows and drops them.
struct Looked(usize);

impl Rows for Looked {
    fn head(&mut self, _: &[Column]) {}
    fn row(&mut self, _: &[Shape], row: &RawRow<'_>) {
        self.0 += row.values().count();
    }
    fn too_long(&mut self, _: usize) {}
    fn notices(&mut self, _: &Notices) {}
}

fn main() {
    let server = Embedded::start(Options::default()).unwrap();
    server.create_tenant("bench", "bench").unwrap();
    let dsn = server.tenant_dsn("bench", "bench");
    let tls = MakeTlsConnector::new({
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        builder.build()
    });
    let mut driver = postgres::Client::connect(&plain(&dsn), tls).unwrap();
    driver
        .batch_execute(
            "create table accounts as select n as aid, 0 as abalance from generate_series(1, 100000) n;
             create unique index on accounts (aid); analyze accounts",
        )
        .unwrap();
    let driver_pid: i32 = driver.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let point = driver.prepare(POINT).unwrap();
    let connect = connector(&dsn);
    let open = || connect.connect(&Arc::<Watch>::default(), Duration::from_secs(5), &Open).unwrap();
    let mut ours = open();
    let pid = ours.pid();
    let statement = Statement::new(POINT, vec![Value::Int(4711)]);
    let sixteen = vec![statement.clone(); BATCH];

    println!(
        "CPU of this process and of PostgreSQL's, us an operation; medians of {ROUNDS} rounds"
    );
    let query = |driver: &mut postgres::Client| {
        assert_eq!(driver.query(&point, &[&4711i32]).unwrap().len(), 1);
    };
    let all = compare(&mut [
        ("postgres crate, prepared point query", driver_pid, 1, &mut || query(&mut driver)),
        ("ours: the same", pid, 1, &mut || run(&mut *ours, &statement)),
    ]);
    ratio("prepared point query / postgres crate", all[1].0 / all[0].0);
    let bare = all[1];
    let batch = compare(&mut [
        ("postgres crate, prepared point query", driver_pid, 1, &mut || query(&mut driver)),
        ("ours: 16 in one atomic call, each", pid, BATCH, &mut || atomic(&mut *ours, &sixteen)),
    ]);
    ratio("16 in one atomic call, each / postgres crate", batch[1].0 / batch[0].0);
    let ours = RefCell::new(ours);
    let shots = compare(&mut [
        ("ours: prepared point query", pid, 1, &mut || run(&mut **ours.borrow_mut(), &statement)),
        ("ours: one-shot with its reset", pid, 1, &mut || {
            let mut ours = ours.borrow_mut();
            ours.expect_end();
            run(&mut **ours, &statement);
            assert!(ours.reset());
        }),
        ("ours: reset", pid, 1, &mut || assert!(ours.borrow_mut().reset())),
    ]);
    ratio("PostgreSQL: one-shot with its reset / bare", shots[1].1 / shots[0].1);
    ratio("PostgreSQL: the same / bare of the first part", shots[1].1 / bare.1);

    let (files, memory) = (descriptors(), resident());
    let idle: Vec<_> = (0..IDLE)
        .map(|_| {
            let mut backend = open();
            run(&mut *backend, &statement);
            assert!(backend.reset());
            backend
        })
        .collect();
    println!(
        "idle backend: {:.1} descriptors, {:.1} KiB resident",
        (descriptors() - files) as f64 / idle.len() as f64,
        (resident() - memory) as f64 / idle.len() as f64
    );
}

/// The part of our DSN that the driver understands.
fn plain(dsn: &str) -> String {
    let known = ["host", "port", "user", "password", "dbname", "hostaddr"];
    let words =
        dsn.split(' ').filter(|word| known.iter().any(|key| word.starts_with(&format!("{key}="))));
    format!("{} sslmode=require", words.collect::<Vec<_>>().join(" "))
}

fn connector(dsn: &str) -> PgConnect {
    let tenant = TenantId::parse("bench").unwrap();
    let caller = CallerId::new("bench");
    let dsn = Dsn::parse(&format!("{} sslmode=require", plain(dsn))).unwrap();
    let tries = Tries::new(&Logins::default(), &dsn.user, &caller);
    let asker = Asker { tenant, caller };
    PgConnect::new(
        dsn,
        tries,
        asker,
        "bench".to_owned(),
        BackendTls::unverified().unwrap(),
        DsnReach::anything(),
        &TenantPoolConfig::default(),
    )
}

fn run(backend: &mut dyn Backend, statement: &Statement) {
    let mut rows = Looked(0);
    backend.run(statement, &mut rows).map_err(|error: RunError| format!("{error:?}")).unwrap();
    assert_eq!(rows.0, 1);
}

fn command(backend: &mut dyn Backend, sql: &str) {
    let statement = Statement::new(sql, Vec::new());
    backend.run(&statement, &mut Looked(0)).map_err(|error| format!("{error:?}")).unwrap();
}

fn atomic(backend: &mut dyn Backend, statements: &[Statement]) {
    let timeout = Duration::from_secs(30);
    let (max_rows, max_bytes, followers) = (None, 1 << 20, &[][..]);
    let (atomic, ends, together) = (true, false, true);
    let coming =
        Coming { statements, atomic, max_rows, max_bytes, ends, timeout, together, followers };
    backend.expect(coming);
    command(backend, "BEGIN");
    statements.iter().for_each(|statement| run(backend, statement));
    command(backend, "COMMIT");
}

type Work<'a> = (&'a str, i32, usize, &'a mut dyn FnMut());

/// Takes turns; prints the median CPU of each, and returns it.
#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
fn compare(works: &mut [Work<'_>]) -> Vec<(f64, f64)> {
    let mut rounds = vec![Vec::new(); works.len()];
    for _ in 0..ROUNDS {
        for ((_, pid, size, work), rounds) in works.iter_mut().zip(&mut rounds) {
            let (own, other, since) = (cpu("thread-self"), cpu(&pid.to_string()), Instant::now());
            let mut count = 0;
            while since.elapsed() < ROUND {
                (0..20).for_each(|_| work());
                count += 20 * *size;
            }
            let each = |cpu: f64| cpu / 1e3 / count as f64;
            let rate = since.elapsed().as_secs_f64() * 1e6 / count as f64;
            rounds.push((
                each(cpu("thread-self") - own),
                each(cpu(&pid.to_string()) - other),
                rate,
            ));
        }
    }
    let figures = works.iter().zip(rounds).map(|((name, ..), rounds)| {
        let median = |value: fn(&(f64, f64, f64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (own, other, took) = (median(|r| r.0), median(|r| r.1), median(|r| r.2));
        println!("  {name:<40} own {own:>6.1}  PostgreSQL {other:>6.1}  took {took:>6.1}");
        (own, other)
    });
    figures.collect()
}

fn ratio(what: &str, value: f64) {
    println!("    {what}: {value:.2}");
}

/// Nanoseconds on a processor, of a process's first thread.
fn cpu(process: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
