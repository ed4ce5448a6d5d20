//! Follows one caller through its request, so that its leaving is acted upon
//! wherever the request stands.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::core::wait_queue::WaiterId;
use crate::error::CancelCause;
use crate::pool::operation::Operation;
use crate::pool::tenant::Tenant;

/// The caller of one request.
#[derive(Default)]
pub struct Caller(Mutex<Stage>);

/// Where its request stands. Moves only downwards.
#[derive(Default)]
enum Stage {
    #[default]
    Arrived,
    Queued(Weak<Tenant>, WaiterId),
    Served,
    Running(Arc<Operation>),
    /// It left; nothing is done for it any more.
    Gone,
}

impl Caller {
    /// A caller who is there.
    pub fn new() -> Arc<Caller> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        // Stages are replaced whole, so a poisoned lock is usable. A leaf lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request stands in a tenant's queue.
    pub fn queued(&self, tenant: &Arc<Tenant>, id: WaiterId) {
        let mut stage = self.lock();
        match *stage {
            Stage::Arrived => *stage = Stage::Queued(Arc::downgrade(tenant), id),
            Stage::Gone => {
                drop(stage);
                tenant.leave(id);
            }
            // A worker was quicker than we are.
            Stage::Queued(..) | Stage::Served | Stage::Running(_) => {}
        }
    }

    /// A worker has taken the request up. False: the caller has left.
    pub fn serve(&self) -> bool {
        let mut stage = self.lock();
        let here = !matches!(*stage, Stage::Gone);
        if here {
            *stage = Stage::Served;
        }
        here
    }

    /// SQL runs for the caller. If it has left, the operation is cancelled.
    pub fn run(&self, operation: &Arc<Operation>) {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Gone) {
            drop(stage);
            operation.cancel(CancelCause::Caller);
        } else {
            *stage = Stage::Running(Arc::clone(operation));
        }
    }

    /// True once the caller has left.
    pub fn is_gone(&self) -> bool {
        matches!(*self.lock(), Stage::Gone)
    }

    /// The caller has left: its waiter leaves the queue, its statement is
    /// cancelled. Does not block.
    pub fn leave(&self) {
        let stage = std::mem::replace(&mut *self.lock(), Stage::Gone);
        match stage {
            Stage::Queued(tenant, id) => {
                if let Some(tenant) = tenant.upgrade() {
                    tenant.leave(id);
                }
            }
            Stage::Running(operation) => operation.cancel(CancelCause::Caller),
            Stage::Arrived | Stage::Served | Stage::Gone => {}
        }
    }
}
