//! A million rows, beside psql's `\copy` of the same table to /dev/null.

use connection_pool_manager::client::service::{statement, Client};
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::{copy_out_response, CopyOutRequest};
use connection_pool_manager::proto::sql::{QueryRequest, RowFormat};

use super::calls::accounts;
use super::Group;
use crate::bench::{Bench, NAME};
use crate::contest::{contest, Contender};
use crate::figures::{Line, Unit};
use crate::options::Options;
use crate::psql::Psql;
use crate::Answer;

pub const GROUP: Group = Group { name: "large", rows: &[TYPED, BINARY, COPY], measure };

const TYPED: &str = "1 M rows, Query, typed";
const BINARY: &str = "1 M rows, Query, BINARY";
const COPY: &str = "1 M rows, CopyOut, text";

/// Reads the table and decodes every message. Typed values are all built by then;
/// of binary ones the lengths are walked over.
fn query(client: &Client, lease: &str, row_format: RowFormat) -> Answer<f64> {
    let request = QueryRequest {
        connection_id: lease.to_owned(),
        statement: Some(statement("select * from pgbench_accounts")).into(),
        row_format: row_format.into(),
        ..QueryRequest::default()
    };
    let mut query = client.query(&request)?;
    let mut rows = 0;
    while let Some(message) = query.next()? {
        if let Some(Kind::Batch(batch)) = message.kind {
            rows += batch.rows.len() as u64;
            rows += walk(&batch.binary).ok_or("a batch ends within a row")?;
        }
    }
    all(rows)
}

/// The rows in binary form; `None` if the last one is not whole.
fn walk(mut bytes: &[u8]) -> Option<u64> {
    let mut rows = 0;
    while let Some((count, rest)) = bytes.split_first_chunk() {
        bytes = rest;
        rows += 1;
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, rest) = bytes.split_first_chunk()?;
            // A negative length is NULL.
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            bytes = rest.get(length..)?;
        }
    }
    Some(rows)
}

fn copy_out(client: &Client, lease: &str) -> Answer<f64> {
    let request = CopyOutRequest {
        connection_id: lease.to_owned(),
        sql: "copy pgbench_accounts to stdout".to_owned(),
        ..CopyOutRequest::default()
    };
    let mut copy = client.copy_out(&request)?;
    let mut rows = 0;
    while let Some(message) = copy.next()? {
        if let Some(copy_out_response::Kind::Trailer(trailer)) = message.kind {
            rows = trailer.rows_affected;
        }
    }
    all(rows as u64)
}

fn all(rows: u64) -> Answer<f64> {
    if rows == accounts() {
        return Ok(rows as f64);
    }
    Err(format!("{rows} rows came").into())
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let mut psql = Psql::start(bench)?;
    let peer = Contender::new("psql \\copy", |length| {
        bench.watch(psql.pid(), length, || {
            psql.copy()?;
            Ok(accounts() as f64)
        })
    });
    let client = &bench.clients.one()?.client;
    let lease = &*client.acquire(NAME, &bench.dsn)?.connection_id;
    let own = std::process::id();
    let ours: [(&str, &dyn Fn() -> Answer<f64>); 3] = [
        (TYPED, &|| query(client, lease, RowFormat::ROW_FORMAT_TYPED)),
        (BINARY, &|| query(client, lease, RowFormat::ROW_FORMAT_BINARY)),
        (COPY, &|| copy_out(client, lease)),
    ];
    let ours = ours.into_iter().filter(|(name, _)| options.wants(GROUP.name, name));
    let ours =
        ours.map(|(name, read)| Contender::new(name, move |length| bench.watch(own, length, read)));
    let lines = contest(options, Unit::PerSecond, peer, ours.collect());
    client.release(lease)?;
    Ok(lines)
}
