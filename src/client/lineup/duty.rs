//! What is to be done outside the lock, after the lineup was asked.

use std::time::Instant;

use super::{Down, SlotId};
use crate::client::borrower::Borrower;

/// A channel that was lent. Goes back with [`Lineup::give_back`](super::Lineup::give_back).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentChannel<C> {
    /// The slot it stands in.
    pub slot: SlotId,
    /// The address it is connected to, counted from 0.
    pub address: usize,
    /// The channel.
    pub channel: C,
}

/// Since when a channel is lent, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLoan {
    /// When it was lent.
    pub since: Instant,
    /// Who asked, if that was said.
    pub by: Option<Borrower>,
}

/// Why nothing was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckoutRefusal {
    /// No channel is connected, and none is being connected.
    NotConnected(Down),
    /// As many wait as may.
    TooManyWaiters,
    /// The pool was stopped.
    Closed,
}

/// Why a channel has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its connection was lost, or never stood.
    Lost,
    /// There are more than there should be.
    Resize,
    /// There were fewer needed for a while.
    Idle,
    /// It moves to an address that has fewer.
    Moved,
    /// It is too old.
    Age,
    /// It was made with a certificate that is no longer the one to use.
    Tls,
    /// It was made by settings that hold no more.
    Settings,
    /// Attempts at its address fail.
    Ejected,
    /// It did not answer.
    Health,
    /// Its user said that it is broken.
    Broken,
    /// The pool was stopped.
    Stopped,
}

impl Reason {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Lost => "lost",
            Reason::Resize => "resize",
            Reason::Idle => "idle",
            Reason::Moved => "moved",
            Reason::Age => "age",
            Reason::Tls => "tls",
            Reason::Settings => "settings",
            Reason::Ejected => "ejected",
            Reason::Health => "health",
            Reason::Broken => "broken",
            Reason::Stopped => "stopped",
        }
    }
}

/// What is to be done. Nothing of it is done under the lock.
#[must_use]
#[derive(Debug)]
pub struct Duty<C, W> {
    /// These have waited and are lent a channel, the oldest first.
    pub grants: Vec<(W, LentChannel<C>)>,
    /// These have waited and get none.
    pub refused: Vec<(W, CheckoutRefusal)>,
    /// These channels are dropped.
    pub dropped: Vec<(C, Reason)>,
    /// An address is connected that had no connection, or had lost one: what is known of calls that
    /// fail is to be looked at anew.
    pub back: bool,
}

impl<C, W> Default for Duty<C, W> {
    fn default() -> Self {
        Duty { grants: Vec::new(), refused: Vec::new(), dropped: Vec::new(), back: false }
    }
}

impl<C, W> Duty<C, W> {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let Duty { grants, refused, dropped, back } = self;
        grants.is_empty() && refused.is_empty() && dropped.is_empty() && !back
    }
}

/// What came of asking for a channel.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum CheckoutOutcome<C> {
    /// It is lent.
    Lent(LentChannel<C>),
    /// None is free; the waiter stands in line under this ticket.
    Wait(super::Ticket),
    /// It gets none.
    Refused(CheckoutRefusal),
}
