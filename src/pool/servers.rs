//! Servers that tenants share: seats for their connections, and lines before them.
//!
//! What is decided is `core::servers`; here it is done. Whatever changes there is looked at
//! by the reaper, so that it may change under any lock: callers who may try again are woken,
//! and what is to give way is closed on a worker.

mod neighbour;
mod visit;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::expiring_map::ExpiringMap;
use crate::core::ids::TenantId;
use crate::core::servers::{
    Entered, LineTicket, OwnerId, SeatId, ServerFigures, ServerTable, LOOK_AGAIN,
};
use crate::error::ConnectError;
use crate::lock::{Leaf, LeafGuard};
use crate::logging;
use crate::threads::alarms::Alarms;

pub(super) use neighbour::{Neighbour, GAVE_WAY};
pub(super) use visit::{Visit, Wants};

/// A tenant whose requests have waited for room for so long says so.
const STARVING_AFTER: Duration = Duration::from_secs(1);
/// So does one that got no connection for want of room, for so long after that; and at most
/// so many, as their names may be made up.
const STARVED_FOR: Duration = Duration::from_secs(60);
const STARVED_MAX: usize = 100;

/// All servers. Cheap to clone.
#[derive(Clone)]
pub struct Servers(Arc<ServersState>);

struct ServersState {
    /// Who sits where, and who waits.
    book: Leaf<ServerTable<SocketAddr>>,
    owners: Leaf<HashMap<OwnerId, Weak<dyn Neighbour>>>,
    /// Why tenants got no connection of late.
    starved: Leaf<ExpiringMap<TenantId, (String, u64)>>,
    next: AtomicU64,
    /// Tenants that wait for room with their first backend.
    unopened: AtomicUsize,
    alarms: Alarms,
}

/// A tenant's name in the books; dropped, it is struck out.
pub(super) struct Owner {
    id: OwnerId,
    servers: Servers,
}

/// A seat at a server; dropped, it is given back.
pub(super) struct Seat {
    pub(super) id: SeatId,
    servers: Servers,
}

/// A place in line; dropped, it is given up.
pub(super) struct LinePlace {
    ticket: LineTicket,
    servers: Servers,
}

/// A tenant that has no connection for want of room.
pub(super) struct Starving {
    pub(super) tenant: TenantId,
    pub(super) error: String,
    /// When that was, in microseconds since 1970.
    pub(super) at: u64,
}

impl Servers {
    /// No connection yet; `limit`: the most at one server.
    pub fn new(limit: Option<usize>, alarms: &Alarms) -> Servers {
        Servers(Arc::new(ServersState {
            book: Leaf::new(ServerTable::new(limit)),
            owners: Leaf::default(),
            starved: Leaf::new(ExpiringMap::new(STARVED_MAX, STARVED_FOR)),
            next: AtomicU64::new(0),
            unopened: AtomicUsize::new(0),
            alarms: alarms.clone(),
        }))
    }

    fn book(&self) -> LeafGuard<'_, ServerTable<SocketAddr>> {
        // It is whole between its calls, which do not panic half-way.
        self.0.book.lock()
    }

    /// A name for a tenant.
    pub(super) fn owner(&self) -> Owner {
        let id = OwnerId(self.0.next.fetch_add(1, Ordering::Relaxed));
        Owner { id, servers: self.clone() }
    }

    /// From now on the tenant can be found by its name.
    pub(super) fn register(&self, owner: &Owner, tenant: Weak<dyn Neighbour>) {
        self.0.owners.lock().insert(owner.id, tenant);
    }

    fn find(&self, owner: OwnerId) -> Option<Arc<dyn Neighbour>> {
        self.0.owners.lock().get(&owner).and_then(Weak::upgrade)
    }

    /// Something has changed there.
    fn changed(&self, at: SocketAddr) {
        self.look_at(at, clock::now());
    }

    fn look_at(&self, at: SocketAddr, when: Instant) {
        let servers = self.clone();
        self.0.alarms.soon(when, move || servers.settle(at));
    }

    fn settle(&self, at: SocketAddr) {
        let todo = self.book().settle(at, clock::now());
        for (owner, ticket) in todo.call {
            self.find(owner).into_iter().for_each(|tenant| tenant.call(ticket));
        }
        for (owner, seat) in todo.give_way {
            match self.find(owner) {
                Some(tenant) => tenant.give_way(seat),
                None => self.book().stays(seat),
            }
        }
        todo.due.into_iter().for_each(|due| self.look_at(at, due));
    }

    /// How many tenants wait for room with their first backend.
    pub(super) fn unopened(&self) -> &AtomicUsize {
        &self.0.unopened
    }

    /// True if it is its turn to ask again.
    pub(super) fn is_called(&self, ticket: LineTicket) -> bool {
        self.book().is_called(ticket)
    }

    /// A backend has come to rest.
    pub(super) fn rest(&self, seat: SeatId, since: Instant) {
        let waits = self.book().rest(seat, since);
        waits.into_iter().for_each(|at| self.changed(at));
    }

    /// A backend is taken from where it rested.
    pub(super) fn take(&self, seat: SeatId) {
        self.book().take(seat);
    }

    /// True if a backend that has come back is to be closed for the sake of another tenant.
    pub(super) fn yields(&self, seat: SeatId) -> bool {
        self.book().yields(seat, clock::now())
    }

    /// False if what was opened for nobody is to be closed, for the sake of others.
    pub(super) fn may_keep(&self, seat: SeatId) -> bool {
        self.book().may_keep(seat, clock::now())
    }

    /// A tenant's request was refused for want of room.
    pub(super) fn starved(&self, tenant: &TenantId, why: &ConnectError) {
        let what = (why.to_string(), clock::unix_micros());
        self.0.starved.lock().put(tenant.clone(), what, clock::now());
    }

    /// A tenant has a connection.
    pub(super) fn fed(&self, tenant: &TenantId) {
        self.0.starved.lock().remove(tenant);
    }

    /// The tenants that get no connection for want of room.
    pub(super) fn starving(&self) -> Vec<Starving> {
        let (now, unix) = (clock::now(), clock::unix_micros());
        let waiting = self.book().waiting();
        let mut all: HashMap<TenantId, Starving> = HashMap::new();
        for (tenant, (error, at)) in self.0.starved.lock().alive(now) {
            let (tenant, error, at) = (tenant.clone(), error.clone(), *at);
            all.insert(tenant.clone(), Starving { tenant, error, at });
        }
        for (owner, (at, since, count)) in waiting {
            let waits = now.saturating_duration_since(since);
            let Some(found) = self.find(owner).filter(|_| waits >= STARVING_AFTER) else {
                continue;
            };
            let (tenant, seconds) = (found.id().clone(), waits.as_secs());
            let error = format!("{at} has no connection left: {count} requests wait for one, the first for {seconds} s");
            all.insert(tenant.clone(), Starving { tenant, error, at: unix });
        }
        all.into_values().collect()
    }

    /// Each server, in numbers.
    pub fn figures(&self) -> Vec<ServerFigures<SocketAddr>> {
        self.book().figures(clock::now())
    }

    /// Looks, where it is time, whether a server would let others in. Returns when to come
    /// again. Does not block.
    pub fn look(&self, now: Instant) -> Option<Instant> {
        let (due, mut next) = self.book().look(now);
        for (at, owners) in due {
            let tenants: Vec<Arc<dyn Neighbour>> =
                owners.iter().filter_map(|owner| self.find(*owner)).collect();
            match tenants.iter().find(|tenant| tenant.has_room_to_look()) {
                Some(tenant) => Arc::clone(tenant).look(),
                // As many are open as may be: one goes, and the look is made in its place.
                None => {
                    self.give_one_up(&owners, at);
                    self.book().look_soon(at, now);
                    next = next.min(Some(now + LOOK_AGAIN));
                }
            }
        }
        next
    }

    /// The first of these tenants that is there closes a backend that rests at this server.
    fn give_one_up(&self, owners: &[OwnerId], at: SocketAddr) {
        let first = owners.iter().find_map(|owner| Some((*owner, self.find(*owner)?)));
        let Some((owner, tenant)) = first else { return };
        let seat = self.book().rested_longest(owner, at);
        if let Some(seat) = seat {
            tenant.give_way(seat);
        }
    }

    /// A server has no room for the connection of this seat. Returns the place in line.
    fn refused(&self, seat: &Seat, at: SocketAddr) -> Entered {
        let mut book = self.book();
        let (entered, news) = book.refused(seat.id, clock::now());
        let figures = book.figures_of(at, clock::now());
        drop(book);
        if news && logging::admits("server_full", None) {
            let (used, waiting) = figures.map_or((0, 0), |one| (one.open, one.waiting));
            log::warn!("event=server_full server={at} connections={used} waiting={waiting}");
        }
        self.changed(at);
        entered
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.servers.0.owners.lock().remove(&self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let waits = self.servers.book().free(self.id, clock::now());
        waits.into_iter().for_each(|at| self.servers.changed(at));
    }
}

impl LinePlace {
    /// What it is known by.
    pub(super) fn ticket(&self) -> LineTicket {
        self.ticket
    }
}

impl Drop for LinePlace {
    fn drop(&mut self) {
        let places = self.servers.book().leave(self.ticket);
        places.into_iter().for_each(|at| self.servers.changed(at));
    }
}
