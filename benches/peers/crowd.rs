//! A service with many tenants, whose PostgreSQL is the tests' fake one.

use std::time::Duration;

use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use futures_executor::block_on;
use futures_util::stream::FuturesUnordered;
use futures_util::StreamExt;
use grpcio::CallOption;

use crate::clients::{Clients, Connected, Later};
use crate::harness::fake::Fake;
use crate::harness::{millis, now, Service};
use crate::load::Callers;
use crate::machine::pause;
use crate::process::Held;
use crate::Answer;

pub struct Crowd {
    pub service: Service,
    pub callers: Callers,
    pub clients: Clients,
    fake: Fake,
}

/// Waits and leases are not to end while they are looked at.
const LONG: u64 = 300_000;

impl Crowd {
    pub fn start() -> Answer<Crowd> {
        let service = Service::undisturbed(&[]);
        let (callers, clients) = (Callers::of(&service)?, Clients::of(&service)?);
        Ok(Crowd { service, callers, clients, fake: Fake::start(|_, _| false) })
    }

    pub fn held(&self) -> Held {
        Held::by(self.service.pid().unsigned_abs())
    }

    pub fn request(&self, tenant: &str, max: usize) -> ConnectionRequest {
        let tenant = self.fake.tenant(tenant, max);
        ConnectionRequest {
            tenant_id: tenant.name,
            dsn: tenant.dsn,
            wait_timeout: millis(LONG),
            ttl: millis(LONG),
            ..ConnectionRequest::default()
        }
    }

    /// So many leases of a tenant.
    pub fn lease(
        &self,
        client: &Client,
        tenant: &str,
        max: usize,
        count: usize,
    ) -> Answer<Vec<String>> {
        let request = self.request(tenant, max);
        (0..count).map(|_| Ok(client.acquire_with(&request)?.connection_id)).collect()
    }

    /// Has a tenant open so many backends and leaves them idle.
    pub fn fill(&self, client: &Client, tenant: &str, max: usize, count: usize) -> Answer<()> {
        for lease in self.lease(client, tenant, max, count)? {
            client.release(&lease)?;
        }
        Ok(())
    }
}

/// Tenants of one connection each, which somebody has, and connections to wait by.
pub struct Waiters<'a> {
    crowd: &'a Crowd,
    holders: Vec<String>,
    clients: Vec<Connected>,
}

/// Waiting requests of a tenant, each with the connection it waits by. Which of them has come
/// first, when they came by several connections, only the service knows.
type Line = FuturesUnordered<Later<(grpcio::Result<ConnectionResponse>, usize)>>;

/// Requests that wait; dropped, they are cancelled.
pub struct Waiting<'a> {
    waiters: &'a Waiters<'a>,
    holders: Vec<String>,
    lines: Vec<Line>,
}

const TENANTS: usize = 10;
/// Waiting requests of a tenant: as many as it may have.
const WAITERS: usize = 1000;
/// What one client connection may have waiting, and a few less.
const CONNECTION: usize = 180;

fn name(tenant: usize) -> String {
    format!("flood{tenant}")
}

impl<'a> Waiters<'a> {
    pub fn connect(crowd: &'a Crowd) -> Answer<Waiters<'a>> {
        let clients = crowd.clients.connect(TENANTS * WAITERS / CONNECTION + 1)?;
        let mut holders = Vec::new();
        for tenant in 0..TENANTS {
            holders.extend(crowd.lease(&clients[0].client, &name(tenant), 1, 1)?);
        }
        Ok(Waiters { crowd, holders, clients })
    }

    /// Has ten thousand requests wait.
    pub fn park(&'a self) -> Answer<Waiting<'a>> {
        let mut lines = Vec::new();
        for tenant in 0..TENANTS {
            let line = Line::new();
            for n in 0..WAITERS {
                line.push(self.ask(tenant, (tenant * WAITERS + n) / CONNECTION)?);
            }
            lines.push(line);
        }
        let until = now() + Duration::from_secs(60);
        let all = || -> Answer<bool> {
            for tenant in 0..TENANTS {
                let waiting = self.clients[0].client.stats(&name(tenant))?.waiting;
                if waiting < WAITERS as i32 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        while !all()? {
            if now() >= until {
                return Err("not all requests wait".into());
            }
            pause(Duration::from_millis(20));
        }
        Ok(Waiting { waiters: self, holders: self.holders.clone(), lines })
    }

    fn ask(
        &self,
        tenant: usize,
        connection: usize,
    ) -> Answer<Later<(grpcio::Result<ConnectionResponse>, usize)>> {
        let request = self.crowd.request(&name(tenant), 1);
        let options = CallOption::default().timeout(Duration::from_millis(LONG));
        let stub = self.clients[connection].client.pool_stub();
        let call = stub.get_connection_async(&request, options)?;
        Ok(Box::pin(async move { (call.await, connection) }))
    }
}

impl Waiting<'_> {
    pub fn count(&self) -> usize {
        self.lines.iter().map(Line::len).sum()
    }

    /// Passes a tenant's connection on to who waits for longest, and joins the line again.
    pub fn pass_on(&mut self, tenant: usize) -> Answer<()> {
        let tenant = tenant % TENANTS;
        self.waiters.clients[0].client.release(&self.holders[tenant])?;
        let (granted, connection) = block_on(self.lines[tenant].next()).ok_or("nobody waits")?;
        self.holders[tenant] = granted?.connection_id;
        self.lines[tenant].push(self.waiters.ask(tenant, connection)?);
        Ok(())
    }

    /// Ends the waiting, and the leases.
    pub fn end(self) -> Answer<()> {
        drop(self.lines);
        let client = &self.waiters.clients[0].client;
        let until = now() + Duration::from_secs(60);
        for (tenant, holder) in self.holders.iter().enumerate() {
            while client.stats(&name(tenant))?.waiting > 0 && now() < until {
                pause(Duration::from_millis(20));
            }
            client.release(holder)?;
        }
        Ok(())
    }
}
