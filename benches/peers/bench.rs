//! What is measured: the service and its peer before one PostgreSQL, all on this machine.

use std::time::Duration;

use connection_pool_manager::embedded::{Embedded, Options as Postgres};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, StatsResponse};

use crate::clients::Clients;
use crate::figures::Round;
use crate::harness::{now, Service};
use crate::http2::Caller;
use crate::load::{self, Callers, Task, GET_CONNECTION};
use crate::pgbench;
use crate::pgbouncer::PgBouncer;
use crate::process::Processes;
use crate::Answer;

/// The tenant, its role and its database.
pub const NAME: &str = "bench";
pub const PASSWORD: &str = "bench";
/// Backends that either pool may have.
pub const POOL: usize = 20;
/// Scale of pgbench's tables: as many times 100 000 accounts.
pub const SCALE: usize = 10;

pub struct Bench {
    pub processes: Processes,
    pub service: Service,
    pub pgbouncer: Option<PgBouncer>,
    /// For load.
    pub callers: Callers,
    pub clients: Clients,
    pub dsn: String,
    pub postgres: Embedded,
}

impl Bench {
    pub fn start() -> Answer<Bench> {
        let extra = [("shared_buffers", "256MB"), ("max_wal_size", "4GB")];
        let extra = extra.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let postgres = Embedded::start(Postgres { extra, ..Postgres::default() })?;
        postgres.create_tenant(NAME, PASSWORD)?;
        pgbench::make_tables(postgres.port(), SCALE)?;
        postgres.sql(NAME, "vacuum analyze; checkpoint")?;
        let pgbouncer = PgBouncer::start(&postgres)?;
        let dsn = format!(
            "{} sslmode=require pool_max_conns={POOL} pool_min_conns=0",
            postgres.tenant_dsn(NAME, PASSWORD)
        );
        let service = Service::undisturbed(&[]);
        let processes = Processes {
            service: Some(service.pid().unsigned_abs()),
            postmaster: postgres.postmaster_pid().map(i32::unsigned_abs),
            pgbouncer: pgbouncer.as_ref().map(PgBouncer::pid),
        };
        let (callers, clients) = (Callers::of(&service)?, Clients::of(&service)?);
        Ok(Bench { processes, service, pgbouncer, callers, clients, dsn, postgres })
    }

    /// Runs the tasks of these callers and watches the processes meanwhile.
    pub fn run(&self, callers: &[Caller], tasks: Vec<Task>, length: Duration) -> Round {
        let work = || Ok(load::run(callers, tasks, length));
        self.watched(work).unwrap_or_default()
    }

    /// Watches the processes while this one works.
    pub fn watched(&self, work: impl FnOnce() -> Answer<Round>) -> Answer<Round> {
        let own = std::process::id();
        let before = self.processes.used(own);
        let mut round = work()?;
        round.cpu = self.processes.used(own).since(before);
        Ok(round)
    }

    /// Works again and again for so long, once at least; `work` says how many operations it
    /// was, `client` is the process that does it.
    pub fn watch(
        &self,
        client: u32,
        length: Duration,
        mut work: impl FnMut() -> Answer<f64>,
    ) -> Answer<Round> {
        let (before, began) = (self.processes.used(client), now());
        let mut round = Round::default();
        while round.operations == 0.0 || began.elapsed() < length {
            round.operations += work()?;
        }
        round.seconds = began.elapsed().as_secs_f64();
        round.cpu = self.processes.used(client).since(before);
        Ok(round)
    }

    /// A lease for each caller, to be given back by [`Bench::release`].
    pub fn lease(&self, callers: &[Caller]) -> Answer<Vec<String>> {
        load::all(callers, |caller| {
            let request = self.request();
            async move { Ok(caller.ask(&GET_CONNECTION, &request).await?.connection_id) }
        })
    }

    pub fn release(&self, callers: &[Caller], leases: &[String]) -> Answer<()> {
        load::all(callers, |caller| {
            let connection_id = leases[caller.number].clone();
            async move { caller.release(connection_id).await }
        })?;
        Ok(())
    }

    /// The tenant's figures.
    pub fn stats(&self) -> Answer<StatsResponse> {
        Ok(self.service.client().stats(NAME)?)
    }

    pub fn request(&self) -> ConnectionRequest {
        ConnectionRequest {
            tenant_id: NAME.to_owned(),
            dsn: self.dsn.clone(),
            ..ConnectionRequest::default()
        }
    }

    /// PgBouncer's port.
    pub fn peer(&self) -> Answer<u16> {
        Ok(self.pgbouncer.as_ref().ok_or("PgBouncer is not installed: see `make bench`")?.port)
    }
}
