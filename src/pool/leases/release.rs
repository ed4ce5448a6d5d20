//! How a lease is ended before its time: by its holder, or by somebody else.

use std::sync::Arc;

use super::Leases;
use crate::clock;
use crate::core::ids::ConnectionId;
use crate::core::lease_table::{Denied, EndReason, Revoked, Via};
use crate::error::{CancelCause, RequestError};
use crate::pool::busy::{self, BusyEnd};
use crate::pool::requests::responder::Responder;

/// What a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The lease ended; no transaction was open.
    Released,
    /// The lease ended; its transaction was rolled back.
    RolledBack,
    /// It had ended before.
    AlreadyEnded(EndReason),
    /// Its operation is being cancelled; it ends with that.
    Cancelling,
}

impl Leases {
    /// Ends a lease for its holder. One that is busy with an operation whose caller has
    /// left ends with that; one that is busy otherwise only with `force`.
    pub fn release_for(
        self: &Arc<Self>,
        id: ConnectionId,
        force: bool,
        responder: Responder<Release>,
    ) {
        let released = self.release(&id, force);
        let running = match &released {
            Err(RequestError::LeaseBusy { .. }) => self.running(&id),
            _ => return drop(responder.send(released)),
        };
        let leases = Arc::clone(self);
        let Some(running) = running else {
            return drop(responder.send(leases.release(&id, false)));
        };
        busy::wait(&running, move |found| {
            drop(responder.send(match found {
                BusyEnd::Over => leases.release(&id, false),
                // What its caller left unended has had its time.
                BusyEnd::Stuck => leases.release(&id, true),
                BusyEnd::Attended => released,
            }));
        });
    }

    /// Ends a lease for its holder at once; a busy one only with `force`.
    ///
    /// # Errors
    /// If there is no such lease, or it is busy.
    pub fn release(&self, id: &ConnectionId, force: bool) -> Result<Release, RequestError> {
        self.release_via(id, Via::Call, force)
    }

    pub(in crate::pool) fn release_via(
        &self,
        id: &ConnectionId,
        via: Via,
        force: bool,
    ) -> Result<Release, RequestError> {
        let released = self.table().release(id, via, clock::now());
        match released {
            Ok((checkout, view)) => {
                self.over(&checkout, &view, EndReason::Released);
                checkout.settle();
                Ok(if view.transaction.is_open() { Release::RolledBack } else { Release::Released })
            }
            Err(Denied::Ended(tombstone)) => Ok(Release::AlreadyEnded(tombstone.reason)),
            Err(Denied::Busy(_)) if force => {
                self.revoke(id, EndReason::Released, CancelCause::Release)
            }
            Err(denied) => Err(denied.into()),
        }
    }

    /// Ends a lease whatever it does.
    ///
    /// # Errors
    /// If there is no such lease.
    pub fn revoke(
        &self,
        id: &ConnectionId,
        reason: EndReason,
        cause: CancelCause,
    ) -> Result<Release, RequestError> {
        let revoked = self.table().revoke(id, reason, clock::now());
        match revoked {
            Ok(Revoked::Over { checkout, view }) => {
                self.over(&checkout, &view, reason);
                checkout.settle();
                Ok(match view.transaction.is_open() {
                    true => Release::RolledBack,
                    false => Release::Released,
                })
            }
            Ok(Revoked::Ending { handle, .. }) => {
                handle.cancel(cause);
                Ok(Release::Cancelling)
            }
            Err(Denied::Ended(tombstone)) => Ok(Release::AlreadyEnded(tombstone.reason)),
            Err(denied) => Err(denied.into()),
        }
    }
}
