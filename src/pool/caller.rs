//! Follows one caller through its request, so that its leaving is acted upon
//! wherever the request stands.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::core::wait_queue::WaiterId;
use crate::error::CancelCause;
use crate::lock::Leaf;
use crate::pool::peers::{Peer, Peers};
use crate::pool::retries::Seat;
use crate::pool::tenant::Tenant;
use crate::pool::work::operation::Operation;

/// The caller of one request.
pub struct Caller {
    peer: Arc<Peer>,
    stage: Leaf<Stage>,
}

/// Where its request stands. Moves downwards, but for a wait that was changed.
#[derive(Default)]
enum Stage {
    #[default]
    Arrived,
    /// On its way into the queue, where it may wait until then.
    Postponed(Instant),
    Queued(Weak<Tenant>, WaiterId),
    /// Another stands in the queue for it, and for whoever repeats the request.
    Represented(Seat),
    Served,
    Running(Arc<Operation>),
    /// It left; nothing is done for it any more.
    Gone,
}

impl Caller {
    /// A caller on this connection, who is there.
    pub fn on(peer: &Arc<Peer>) -> Arc<Caller> {
        Arc::new(Caller { peer: Arc::clone(peer), stage: Leaf::default() })
    }

    /// A caller from nowhere, for requests of our own.
    pub fn nobody() -> Arc<Caller> {
        Caller::on(&Peers::default().at(""))
    }

    /// The connection it calls on.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The request stands in a tenant's queue.
    pub fn queued(&self, tenant: &Arc<Tenant>, id: WaiterId) {
        loop {
            let mut stage = self.stage.lock();
            match *stage {
                Stage::Arrived => *stage = Stage::Queued(Arc::downgrade(tenant), id),
                Stage::Postponed(deadline) => {
                    *stage = Stage::Arrived;
                    drop(stage);
                    tenant.postpone(id, deadline);
                    // It may have been postponed again meanwhile.
                    continue;
                }
                Stage::Gone => {
                    drop(stage);
                    tenant.leave(id);
                }
                // A worker was quicker than we are.
                Stage::Queued(..) | Stage::Represented(_) | Stage::Served | Stage::Running(_) => {}
            }
            return;
        }
    }

    /// Another stands in the queue for this caller. If it has left, it leaves there.
    pub fn represented(&self, seat: Seat) {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Arrived) {
            *stage = Stage::Represented(seat);
        } else {
            drop(stage);
            seat.leave();
        }
    }

    /// Lets the request stand in the queue for longer, or shorter.
    pub fn postpone(&self, deadline: Instant) {
        let mut stage = self.stage.lock();
        let queued = match &*stage {
            Stage::Queued(tenant, id) => tenant.upgrade().map(|tenant| (tenant, *id)),
            Stage::Arrived | Stage::Postponed(_) => {
                *stage = Stage::Postponed(deadline);
                None
            }
            _ => None,
        };
        drop(stage);
        if let Some((tenant, id)) = queued {
            tenant.postpone(id, deadline);
        }
    }

    /// A worker has taken the request up. False: the caller has left.
    pub fn serve(&self) -> bool {
        let mut stage = self.stage.lock();
        let here = !matches!(*stage, Stage::Gone);
        if here {
            *stage = Stage::Served;
        }
        here
    }

    /// SQL runs for the caller. If it has left, the operation is cancelled.
    pub fn run(&self, operation: &Arc<Operation>) {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Gone) {
            drop(stage);
            operation.cancel(CancelCause::Caller);
        } else {
            *stage = Stage::Running(Arc::clone(operation));
        }
    }

    /// True while the request stands in a queue.
    pub fn is_queued(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Queued(..) | Stage::Represented(_))
    }

    /// True once the caller has left.
    pub fn is_gone(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Gone)
    }

    /// The caller has left: its waiter leaves the queue, its statement is
    /// cancelled. Does not block.
    pub fn leave(&self) {
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Gone);
        match stage {
            Stage::Queued(tenant, id) => {
                if let Some(tenant) = tenant.upgrade() {
                    tenant.leave(id);
                }
            }
            Stage::Represented(seat) => seat.leave(),
            Stage::Running(operation) => operation.cancel(CancelCause::Caller),
            Stage::Arrived | Stage::Postponed(_) | Stage::Served | Stage::Gone => {}
        }
    }
}
