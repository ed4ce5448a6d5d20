//! A lease that belongs to a stream: nobody else can use it, and it ends with
//! the stream at the latest.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;

use crate::core::ids::ConnectionId;
use crate::core::lease_table::{EndReason, LeaseView, Tombstone, Via};
use crate::error::{CancelCause, RequestError};
use crate::pool::account::Account;
use crate::pool::ask::Ask;
use crate::pool::checkout::Checkout;
use crate::pool::leases::{release::Release, Leases};

/// The stream's side of its lease. Dropped, it ends the lease as lost.
pub struct StreamLease {
    leases: Arc<Leases>,
    account: Arc<Account>,
    id: ConnectionId,
    view: LeaseView,
    ending: oneshot::Receiver<Tombstone>,
    ended: Option<Tombstone>,
}

impl Leases {
    /// Grants a lease on `checkout` to a stream.
    ///
    /// # Errors
    /// If there are no random bytes for its name; the checkout is closed then.
    pub fn attach(
        self: &Arc<Self>,
        checkout: Checkout,
        ask: Ask,
    ) -> Result<StreamLease, RequestError> {
        let (id, facts) = self.named(&checkout, &ask, Via::Stream)?;
        let (tell, ending) = oneshot::channel();
        // Before the lease is there, so that no end of it is missed.
        self.streams.lock().insert(facts.fencing_token, tell);
        let account = Arc::clone(checkout.account());
        let view = self.enter(&id, facts, checkout, &ask);
        Ok(StreamLease { leases: Arc::clone(self), account, id, view, ending, ended: None })
    }
}

impl StreamLease {
    /// Whose lease it is.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The lease's secret name.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// The lease as it was granted.
    pub fn view(&self) -> &LeaseView {
        &self.view
    }

    /// Ready when the lease has ended, in whatever way.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Tombstone> {
        if let Some(tombstone) = &self.ended {
            return Poll::Ready(tombstone.clone());
        }
        // The sender goes only after it has sent, so that an error means a defect
        // elsewhere; the lease's next use tells then what is the matter.
        match Pin::new(&mut self.ending).poll(cx) {
            Poll::Ready(Ok(tombstone)) => {
                self.ended = Some(tombstone.clone());
                Poll::Ready(tombstone)
            }
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Ends the lease at its holder's wish.
    ///
    /// # Errors
    /// If an operation runs on it.
    pub fn close(self) -> Result<Release, RequestError> {
        self.leases.release_via(&self.id, Via::Stream, false)
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        // After `close` or an end of another kind this finds nothing to do.
        let _ = self.leases.revoke(&self.id, EndReason::StreamLost, CancelCause::Stream);
    }
}
