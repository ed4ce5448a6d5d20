//! What it costs to read a large table through the service, beside psql's `\copy`
//! of the same table over the same TLS in the same run; and how often a repeated
//! statement goes to PostgreSQL and back. Prints; asserts nothing.
//!
//! `cargo bench --bench query` runs it for about a minute. The figures of one
//! machine say little; the ratios say something.
#![allow(clippy::unwrap_used, clippy::expect_used)] // As a test: it stops at the first surprise.

#[path = "../../tests/harness/mod.rs"]
mod harness;
mod psql;
mod questions;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::{copy_out_response, CopyOutRequest};
use connection_pool_manager::proto::sql::{QueryRequest, RowFormat};
use harness::{now, postgres, tenant, Held, Service, Tenant};
use psql::{Psql, OWN_CIPHER};

/// Each figure is the median of so many rounds, taken in turns.
const ROUNDS: usize = 5;
/// As many rows as `pgbench -i -s 10` creates.
const ROWS: u64 = 1_000_000;
/// Calls of a repeated statement.
const CALLS: usize = 1000;

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load average at the start: {}", load.trim());
    let tenant = tenant();
    make_table(&tenant);
    let service = Service::start();
    streams(&service, &tenant);
    round_trips(&service, &tenant);
}

/// The table of pgbench, with as many rows as its scale of 10 has.
fn make_table(tenant: &Tenant) {
    tenant.sql(&format!(
        "create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84))
           with (fillfactor = 100);
         insert into pgbench_accounts
           select n, (n - 1) / 100000 + 1, 0, '' from generate_series(1, {ROWS}) n;
         alter table pgbench_accounts add primary key (aid);
         alter table pgbench_accounts owner to {};
         vacuum analyze pgbench_accounts",
        tenant.name
    ));
}

/// What one reading of the table took, in seconds: by the clock, and of CPU.
#[derive(Clone, Copy, Default)]
struct Cost {
    took: f64,
    postgres: f64,
    service: f64,
    reader: f64,
}

/// A reader of the table, and the processes at work while it reads.
struct Reader<'a> {
    name: &'static str,
    read: Box<dyn FnMut() + 'a>,
    backend: u32,
    service: Option<u32>,
    own: u32,
}

fn streams(service: &Service, tenant: &Tenant) {
    let mut psql = Psql::start(tenant);
    let over_tls = Tenant { dsn: format!("{} sslmode=require", tenant.dsn), ..same(tenant) };
    let lease = service.lease(&over_tls);
    let cipher = format!("select version || ' ' || cipher {OWN_CIPHER}");
    println!("psql to PostgreSQL: {}", psql.cipher);
    println!("service to PostgreSQL: {}", lease.value(&cipher));
    println!("client to service: TLS, gRPC's choice");

    let ours = |name, read| Reader {
        name,
        read,
        backend: lease.pid.unsigned_abs(),
        service: Some(service.pid().unsigned_abs()),
        own: std::process::id(),
    };
    let lease = &lease;
    let (backend, own) = (psql.backend, psql.pid());
    let mut readers = [
        Reader {
            name: "psql \\copy",
            read: Box::new(move || psql.copy()),
            backend,
            service: None,
            own,
        },
        ours("Query, typed", Box::new(|| query(lease, RowFormat::ROW_FORMAT_TYPED))),
        ours("Query, BINARY", Box::new(|| query(lease, RowFormat::ROW_FORMAT_BINARY))),
        ours("CopyOut, text", Box::new(|| copy_out(lease))),
    ];
    let mut costs = readers.each_ref().map(|_| Vec::new());
    println!("\n{ROWS} rows of pgbench_accounts; seconds, and CPU seconds of each process");
    println!("{:<16}{:>9}{:>12}{:>12}{:>12}", "", "seconds", "PostgreSQL", "service", "reader");
    for round in 0..=ROUNDS {
        for (reader, costs) in readers.iter_mut().zip(&mut costs) {
            let cost = reader.measure();
            // The first one fills the caches.
            if round > 0 {
                print(reader.name, cost);
                costs.push(cost);
            }
        }
    }
    println!("\nmedians, and the ratio to the first");
    let medians = costs.map(|costs| Cost {
        took: median(&costs, |cost| cost.took),
        postgres: median(&costs, |cost| cost.postgres),
        service: median(&costs, |cost| cost.service),
        reader: median(&costs, |cost| cost.reader),
    });
    for (reader, cost) in readers.iter().zip(medians) {
        print(reader.name, cost);
        println!("{:<16}{:>9.2}", "", cost.took / medians[0].took);
    }
}

fn print(name: &str, cost: Cost) {
    let Cost { took, postgres, service, reader } = cost;
    println!("{name:<16}{took:>9.3}{postgres:>12.2}{service:>12.2}{reader:>12.2}");
}

fn median(costs: &[Cost], figure: impl Fn(&Cost) -> f64) -> f64 {
    let mut figures: Vec<f64> = costs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Reader<'_> {
    fn measure(&mut self) -> Cost {
        let cpu = |reader: &Self| Cost {
            took: 0.0,
            postgres: cpu_seconds(reader.backend),
            service: reader.service.map_or(0.0, cpu_seconds),
            reader: cpu_seconds(reader.own),
        };
        let (before, start) = (cpu(self), now());
        (self.read)();
        let (took, after) = (start.elapsed().as_secs_f64(), cpu(self));
        Cost {
            took,
            postgres: after.postgres - before.postgres,
            service: after.service - before.service,
            reader: after.reader - before.reader,
        }
    }
}

/// What a process has used so far, in its own code and in the system's.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may have spaces; the 14th and 15th field of all.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().unwrap());
    // Linux reports them in hundredths of a second, on every machine.
    ticks.sum::<f64>() / 100.0
}

/// Reads the table and decodes every message. Typed values are all built by then;
/// of binary ones the lengths are walked over.
fn query(lease: &Held, row_format: RowFormat) {
    let request = QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement("select * from pgbench_accounts")).into(),
        row_format: row_format.into(),
        ..QueryRequest::default()
    };
    let mut query = lease.client.query(&request).unwrap();
    let mut rows = 0;
    while let Some(message) = query.next().unwrap() {
        if let Some(Kind::Batch(batch)) = message.kind {
            rows += batch.rows.len() as u64 + walk(&batch.binary);
        }
    }
    assert_eq!(rows, ROWS);
}

/// The rows in binary form.
fn walk(mut bytes: &[u8]) -> u64 {
    let mut rows = 0;
    while let Some((count, rest)) = bytes.split_first_chunk() {
        bytes = rest;
        rows += 1;
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, rest) = bytes.split_first_chunk().unwrap();
            // A negative length is NULL.
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            bytes = &rest[length..];
        }
    }
    rows
}

fn copy_out(lease: &Held) {
    let request = CopyOutRequest {
        connection_id: lease.id.clone(),
        sql: "copy pgbench_accounts to stdout".to_owned(),
        ..CopyOutRequest::default()
    };
    let mut copy = lease.client.copy_out(&request).unwrap();
    let mut rows = 0;
    while let Some(message) = copy.next().unwrap() {
        if let Some(copy_out_response::Kind::Trailer(trailer)) = message.kind {
            rows = trailer.rows_affected;
        }
    }
    assert_eq!(rows as u64, ROWS);
}

/// Counts what a repeated statement sends to PostgreSQL, which can be seen without
/// TLS only.
fn round_trips(service: &Service, tenant: &Tenant) {
    let questions = Arc::new(AtomicUsize::new(0));
    let port = questions::count(&questions);
    let named = Tenant { name: "counted".to_owned(), ..same(tenant) };
    let near = format!("port={port} sslmode=disable");
    let dsn = tenant.dsn.replace(&format!("port={}", postgres().port()), &near);
    let lease = service.lease(&Tenant { dsn, ..named });
    lease.value("select 1");
    let before = questions.load(Ordering::Relaxed);
    let start = now();
    for _ in 0..CALLS {
        lease.value("select 1");
    }
    let each = start.elapsed().as_secs_f64() / CALLS as f64;
    let asked = questions.load(Ordering::Relaxed) - before;
    println!("\n{CALLS} calls of Execute with the same `select 1`: {:.0} us each", each * 1e6);
    println!("PostgreSQL was asked to answer {asked} times (Sync, Flush or Query messages)");
}

/// A tenant of the same database.
fn same(tenant: &Tenant) -> Tenant {
    let Tenant { name, password, dsn } = tenant;
    Tenant { name: name.clone(), password: password.clone(), dsn: dsn.clone() }
}
