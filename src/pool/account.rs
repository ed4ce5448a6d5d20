//! What all pools of one tenant share: its name, its memory, and what is counted of it.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::core::budget::Budget;
use crate::core::ids::TenantId;
use crate::lock::Leaf;
use crate::metrics::{Counts, Series};
use crate::pool::context::Context;
use crate::pool::memory::{Room, Use};
use crate::pool::numbers::Numbers;
use crate::pool::open_backends::OpenBackends;
use crate::pool::peers::Peer;
use crate::pool::servers::Owner;

/// A tenant as its pools know it.
pub struct Account {
    id: TenantId,
    /// The memory that is held for it.
    memory: Budget,
    counts: Counts,
    /// Its name where servers are shared.
    pub(super) owner: Owner,
    pub(super) numbers: Numbers,
    /// Its backends, in all of its pools.
    pub(super) open: OpenBackends,
    /// An operator has changed it since its settings last came from elsewhere.
    pub(super) changed: AtomicBool,
    /// When a request took or gave back a backend last.
    pub(super) last_used: Leaf<Instant>,
    context: Arc<Context>,
}

impl Account {
    /// Of a tenant with so many permits.
    pub(super) fn new(id: TenantId, permits: usize, context: &Arc<Context>) -> Arc<Account> {
        Arc::new(Account {
            memory: context.memory.tenant(),
            counts: Counts::new(&context.tools.metrics, &id),
            owner: context.servers.owner(),
            numbers: Numbers::default(),
            open: OpenBackends::new(permits),
            changed: AtomicBool::new(false),
            last_used: Leaf::new(clock::now()),
            context: Arc::clone(context),
            id,
        })
    }

    /// The tenant's name.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// The memory that is held for it.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    /// Room for what it and this connection have the service hold.
    pub fn room(&self, of: Use, peer: &Peer) -> Room {
        self.context.memory.room(of, &[peer.memory(), &self.memory], &self.id)
    }

    /// Where it is counted.
    pub fn series(&self) -> Arc<Series> {
        self.counts.series()
    }

    /// It has connected: it is counted by its name from now on, if there is room.
    pub(super) fn admit_series(&self) {
        self.counts.admit();
    }

    /// What it shares with all tenants.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// A request uses it now.
    pub(super) fn touch(&self) {
        *self.last_used.lock() = clock::now();
    }

    /// Backends that were opened and not yet closed.
    pub(super) fn alive(&self) -> usize {
        self.open.now().saturating_sub(self.numbers.opening_now())
    }
}
