//! One attempt to open a backend, as the servers see it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use super::{LinePlace, Owner, Seat, Servers};
use crate::backend::door::Door;
use crate::clock;
use crate::core::servers::{Entered, SeatUse};
use crate::error::ConnectError;

/// For whom a backend is opened.
pub(in crate::pool) struct Wants {
    purpose: Purpose,
    place: Option<LinePlace>,
    /// It found no room where more rests than is waited for.
    may_wait: bool,
}

enum Purpose {
    Caller(Instant),
    Spare,
    Check,
    Look,
}

impl Wants {
    /// For a request that came then, which may have a place in line.
    pub(in crate::pool) fn caller(arrived: Instant, place: Option<LinePlace>) -> Wants {
        Wants { purpose: Purpose::Caller(arrived), place, may_wait: false }
    }

    /// For nobody: it is not opened where somebody waits.
    pub(in crate::pool) fn spare() -> Wants {
        Wants { purpose: Purpose::Spare, place: None, may_wait: false }
    }

    /// To see whether the tenant's login works, also at a server that may be full.
    pub(in crate::pool) fn check() -> Wants {
        Wants { purpose: Purpose::Check, place: None, may_wait: false }
    }

    /// To see whether somebody else would be let in.
    pub(in crate::pool) fn look() -> Wants {
        Wants { purpose: Purpose::Look, place: None, may_wait: false }
    }

    /// True if it found no room, but would get some if it waited.
    pub(in crate::pool) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// The place in line, if it has one by now.
    pub(in crate::pool) fn place(self) -> Option<LinePlace> {
        self.place
    }
}

/// One attempt of a tenant. It goes from server to server and has a seat at one at a time.
pub(in crate::pool) struct Visit<'a> {
    owner: &'a Owner,
    state: RefCell<VisitState<'a>>,
}

struct VisitState<'a> {
    wants: &'a mut Wants,
    seat: Option<(Seat, SocketAddr)>,
}

impl<'a> Visit<'a> {
    pub(in crate::pool) fn new(owner: &'a Owner, wants: &'a mut Wants) -> Visit<'a> {
        Visit { owner, state: RefCell::new(VisitState { wants, seat: None }) }
    }

    /// The seat of what was opened.
    pub(in crate::pool) fn seat(self) -> Option<Seat> {
        self.state.into_inner().seat.map(|(seat, _)| seat)
    }

    fn servers(&self) -> &Servers {
        &self.owner.servers
    }
}

impl Wants {
    fn asks(&self) -> SeatUse {
        match self.purpose {
            Purpose::Caller(arrived) => {
                SeatUse::Caller { arrived, ticket: self.place.as_ref().map(LinePlace::ticket) }
            }
            Purpose::Spare => SeatUse::Spare,
            Purpose::Check => SeatUse::Check,
            Purpose::Look => SeatUse::Look,
        }
    }

    fn stands(&mut self, entered: Entered, at: SocketAddr, servers: &Servers) {
        let figures = servers.book().figures_of(at, clock::now());
        self.may_wait |= figures.is_some_and(|one| one.resting > one.waiting);
        if let Entered::Waits(ticket) = entered {
            self.place.get_or_insert_with(|| LinePlace { ticket, servers: servers.clone() });
        }
    }
}

impl Door for Visit<'_> {
    fn enter(&self, at: SocketAddr) -> Result<(), ConnectError> {
        let (servers, mut state) = (self.servers(), self.state.borrow_mut());
        let asks = state.wants.asks();
        let entered = servers.book().enter(at, self.owner.id, asks, clock::now());
        if let Entered::Seat(id) = entered {
            state.seat = Some((Seat { id, servers: servers.clone() }, at));
            return Ok(());
        }
        state.wants.stands(entered, at, servers);
        servers.changed(at);
        let figures = servers.book().figures_of(at, clock::now());
        let (used, waiting) = figures.map_or((0, 0), |one| (one.open, one.waiting));
        Err(ConnectError::NoRoom { target: at.to_string(), used, waiting })
    }

    fn record(&self, error: Option<&ConnectError>) {
        let (servers, mut state) = (self.servers(), self.state.borrow_mut());
        let Some(error) = error else {
            if let Some((seat, _)) = &state.seat {
                servers.book().opened(seat.id, clock::now());
            }
            return;
        };
        let Some((seat, at)) = state.seat.take() else { return };
        if error.lacks_room() {
            let entered = servers.refused(&seat, at);
            state.wants.stands(entered, at, servers);
        }
    }
}
