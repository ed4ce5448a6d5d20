//! The table of all leases, alone: does it slow down as it grows?

use std::time::{Duration, Instant};

use connection_pool_manager::engine::lease_table::{
    ConnectionId, LeaseFacts, LeaseTable, Left, Terms, Via,
};
use connection_pool_manager::engine::TenantId;

use super::Group;
use crate::bench::Bench;
use crate::contest::{contest, Contender};
use crate::figures::{Line, Round, Unit};
use crate::harness::now;
use crate::options::Options;
use crate::Answer;

pub const GROUP: Group = Group { name: "lease table", rows: &ROWS, measure };

const ROWS: [&str; 3] =
    ["lease table of 1000", "lease table of 100 000", "lease table of 1 000 000"];
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
const SMALL: usize = 10;
/// As the service has them.
const TENANTS: usize = 100;
const REMEMBERED: (usize, Duration) = (100_000, Duration::from_secs(600));
const TERMS: Terms = Terms {
    ttl: Duration::from_secs(60),
    idle_in_transaction: Duration::from_secs(30),
    max_lifetime: Duration::from_secs(3600),
};
/// Between two looks at the clock.
const BATCH: usize = 200;

struct Table {
    leases: LeaseTable<(), ()>,
    tenants: Vec<TenantId>,
    next: u64,
}

impl Table {
    fn of(size: usize) -> Answer<Table> {
        let tenants = (0..TENANTS).map(|n| TenantId::parse(&format!("tenant{n}")));
        let tenants = tenants.collect::<Result<_, _>>().map_err(|_| "a bad name")?;
        let leases = LeaseTable::new(REMEMBERED.0, REMEMBERED.1);
        let mut table = Table { leases, tenants, next: 0 };
        (0..size).for_each(|_| drop(table.grant(now())));
        Ok(table)
    }

    fn grant(&mut self, at: Instant) -> ConnectionId {
        self.next += 1;
        let tenant = &self.tenants[self.next as usize % TENANTS];
        let mut random = [0; 16];
        // Spread as random ones are.
        random[..8].copy_from_slice(&self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        random[8..].copy_from_slice(&self.next.to_be_bytes());
        let id = ConnectionId::new(tenant, random);
        let facts = LeaseFacts {
            lease_name: format!("lease-{}", self.next),
            tenant: tenant.clone(),
            backend_pid: 1,
            fencing_token: self.next,
            holder: String::new(),
            peer: "127.0.0.1:50000".to_owned(),
            identity: None,
            via: Via::Call,
        };
        self.leases.grant(id.clone(), facts, TERMS, (), at);
        id
    }

    /// A lease with one operation.
    fn cycle(&mut self, at: Instant) -> Option<()> {
        let id = self.grant(at);
        self.leases.begin(&id, Via::Call, (), at).ok()?;
        let _ = self.leases.end(&id, (), Left::default(), at);
        self.leases.release(&id, Via::Call, at).ok().map(drop)
    }

    fn round(&mut self, length: Duration) -> Answer<Round> {
        let (began, mut count) = (now(), 0);
        while began.elapsed() < length {
            let at = now();
            for _ in 0..BATCH {
                self.cycle(at).ok_or("the table refuses")?;
            }
            count += BATCH;
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok(Round { operations: count as f64, seconds, ..Round::default() })
    }
}

fn measure(_: &Bench, options: &Options) -> Answer<Vec<Line>> {
    let mut small = Table::of(SMALL)?;
    // A table that has been in use for long remembers as many as it may.
    let warm = |table: &mut Table| (0..REMEMBERED.0).try_for_each(|_| table.cycle(now()));
    warm(&mut small).ok_or("the table refuses")?;
    let mut ours = Vec::new();
    for (row, size) in ROWS.into_iter().zip(SIZES) {
        if options.wants(GROUP.name, row) {
            let mut table = Table::of(size)?;
            warm(&mut table).ok_or("the table refuses")?;
            let length = options.length.min(Duration::from_millis(400));
            ours.push(Contender::new(row, move |_| table.round(length)));
        }
    }
    let name = "lease table of 10";
    let length = options.length.min(Duration::from_millis(400));
    let peer = Contender::new(name, move |_| small.round(length));
    Ok(contest(options, Unit::Micros, peer, ours))
}
