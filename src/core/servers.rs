//! Decides which tenant may open a connection to a server that several share, and whose idle
//! connection is closed for another.
//!
//! A server is the address connected to. Each connection has a seat there, from before the connect
//! until it is closed. When no seat is left, because the server has refused one or a limit of our
//! own is reached, callers of all tenants wait in line by their arrival. Then idle connections give
//! way: the tenant with the most of them loses the one idle longest.
//!
//! A refusal does not hold for ever: other clients may have left the server since. It counts for a
//! minute, during which only the first caller in line tries again from time to time.

mod line;
mod looks;
mod server;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use line::LineStep;
pub use line::LineTicket;
pub use looks::LOOK_AGAIN;
use server::ServerEntry;
pub use server::ServerFigures;

/// How long a server's refusal counts as its limit.
pub const BELIEVED: Duration = Duration::from_secs(60);
/// How long a full server takes to notice that a connection was closed: its process must end first.
const CLOSING: Duration = Duration::from_millis(250);

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);

/// One connection at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId(u64);

/// Why a seat is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatUse {
    /// For a caller, which waits in line if it must.
    Caller {
        /// When the request came.
        arrived: Instant,
        /// Its place in line, if it has one.
        ticket: Option<LineTicket>,
    },
    /// To keep a pool warm.
    Spare,
    /// To check a tenant's login, which even a full server answers.
    Check,
    /// To see whether the server has room for others.
    Look,
}

/// The answer to a request for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The connection may be opened.
    Seat(SeatId),
    /// Not yet; this is the caller's place in line.
    Waits(LineTicket),
    /// Not now.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeatState {
    /// Being opened, in use, or being closed.
    Used,
    /// Idle since then.
    Resting(Instant),
    /// Idle since then, and about to be closed for another.
    Leaving(Instant),
}

#[derive(Debug)]
struct UsedSeat<A> {
    at: A,
    owner: OwnerId,
    asks: SeatUse,
    state: SeatState,
    /// The server has accepted the login.
    open: bool,
}

/// All servers that tenants are connected to or wait for, by address.
#[derive(Debug)]
pub struct ServerTable<A> {
    limit: Option<usize>,
    servers: HashMap<A, ServerEntry>,
    seats: HashMap<SeatId, UsedSeat<A>>,
    /// The servers at which each ticket waits.
    tickets: HashMap<LineTicket, Vec<A>>,
    next: u64,
}

impl<A: Copy + Eq + Hash> ServerTable<A> {
    /// Without servers. `limit`: the most seats at one server.
    pub fn new(limit: Option<usize>) -> ServerTable<A> {
        let (servers, seats, tickets) = (HashMap::new(), HashMap::new(), HashMap::new());
        ServerTable { limit, servers, seats, tickets, next: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Requests a seat. A caller that does not get one waits in line from now on.
    pub fn enter(&mut self, at: A, owner: OwnerId, asks: SeatUse, now: Instant) -> Entered {
        let (own, number) = (self.limit, self.number());
        let server = self.servers.entry(at).or_insert_with(|| ServerEntry::new(now));
        let room = server.room(own, now);
        let may = match asks {
            SeatUse::Caller { ticket, .. } => {
                let ahead = server.line.ahead_of(ticket);
                let tries = ahead == 0 && server.may_try(own, now);
                server.line.is_ready(now) && room > ahead || tries
            }
            SeatUse::Spare => server.line.is_empty() && room > 0 && server.may_fill(now),
            SeatUse::Check | SeatUse::Look => own.is_none_or(|own| server.seats < own),
        };
        if may {
            return Entered::Seat(self.seat(at, owner, asks, SeatId(number)));
        }
        let SeatUse::Caller { arrived, ticket } = asks else {
            self.tidy(at);
            return Entered::No;
        };
        let ticket = ticket.unwrap_or(LineTicket::new(arrived, number));
        self.stand(at, owner, ticket, now);
        Entered::Waits(ticket)
    }

    fn seat(&mut self, at: A, owner: OwnerId, asks: SeatUse, id: SeatId) -> SeatId {
        if let Some(server) = self.servers.get_mut(&at) {
            server.seats += 1;
            *server.held.entry(owner).or_default() += 1;
            if let SeatUse::Caller { ticket: Some(ticket), .. } = asks {
                server.line.set(ticket, LineStep::Trying);
            }
        }
        self.seats.insert(id, UsedSeat { at, owner, asks, state: SeatState::Used, open: false });
        id
    }

    fn stand(&mut self, at: A, owner: OwnerId, ticket: LineTicket, now: Instant) {
        if let Some(server) = self.servers.get_mut(&at) {
            server.line.stand(ticket, owner, now);
            let places = self.tickets.entry(ticket).or_default();
            if !places.contains(&at) {
                places.push(at);
            }
        }
    }

    /// Notes that the server has accepted the connection of this seat.
    pub fn opened(&mut self, seat: SeatId, now: Instant) {
        let Some(found) = self.seats.get_mut(&seat) else { return };
        let is_news = !std::mem::replace(&mut found.open, true);
        let Some(server) = self.servers.get_mut(&found.at) else { return };
        server.open += usize::from(is_news);
        server.line.has_room();
        if found.asks == SeatUse::Look {
            // The room it found is for others.
            server.looks.let_in(now);
        } else if is_news {
            server.learn_of_room();
        }
    }

    /// Notes that the server has no room for the connection of this seat, and frees the seat. A
    /// caller then waits in line. True: the server was not known to be full.
    pub fn refused(&mut self, seat: SeatId, now: Instant) -> (Entered, bool) {
        let number = self.number();
        let Some(found) = self.remove(seat) else { return (Entered::No, false) };
        let UsedSeat { at, owner, asks, .. } = found;
        let Some(server) = self.servers.get_mut(&at) else { return (Entered::No, false) };
        let known = server.learned(now);
        if asks != SeatUse::Check {
            server.line.turned_away(now);
        }
        let shed = server.looks.turned_away(asks == SeatUse::Look, server.resting(), now);
        server.learn_of_refusal(shed, now);
        let entered = match asks {
            SeatUse::Caller { arrived, ticket } => {
                let ticket = ticket.unwrap_or(LineTicket::new(arrived, number));
                self.stand(at, owner, ticket, now);
                Entered::Waits(ticket)
            }
            SeatUse::Spare | SeatUse::Check | SeatUse::Look => Entered::No,
        };
        self.tidy(at);
        (entered, known.is_none())
    }

    /// Frees a seat. Returns its server if callers may be waiting there.
    pub fn free(&mut self, seat: SeatId, now: Instant) -> Option<A> {
        let UsedSeat { at, asks, open, .. } = self.remove(seat)?;
        let server = self.servers.get_mut(&at)?;
        if open {
            server.closed(now);
            server.line.has_room();
        }
        if let SeatUse::Caller { ticket: Some(ticket), .. } = asks {
            server.line.set(ticket, LineStep::Waiting);
        }
        let waits = !server.line.is_empty();
        self.tidy(at);
        waits.then_some(at)
    }

    fn remove(&mut self, id: SeatId) -> Option<UsedSeat<A>> {
        let seat = self.seats.remove(&id)?;
        let server = self.servers.get_mut(&seat.at)?;
        server.unrest(seat.owner, id, seat.state);
        server.seats -= 1;
        server.open -= usize::from(seat.open);
        if let Some(held) = server.held.get_mut(&seat.owner) {
            *held -= 1;
            if *held == 0 {
                server.held.remove(&seat.owner);
            }
        }
        Some(seat)
    }

    /// Removes a server without seats and waiting callers.
    fn tidy(&mut self, at: A) {
        if self.servers.get(&at).is_some_and(|one| one.seats == 0 && one.line.is_empty()) {
            self.servers.remove(&at);
        }
    }

    /// Notes that the connection of this seat is idle. Returns its server if callers wait there.
    pub fn rest(&mut self, id: SeatId, since: Instant) -> Option<A> {
        let seat = self.seats.get_mut(&id)?;
        let server = self.servers.get_mut(&seat.at)?;
        server.unrest(seat.owner, id, seat.state);
        seat.state = SeatState::Resting(since);
        server.resting.entry(seat.owner).or_default().insert((since, id));
        (!server.line.is_empty()).then_some(seat.at)
    }

    /// Notes that the connection of this seat is in use again.
    pub fn take(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let Some(server) = self.servers.get_mut(&seat.at) else { return };
        server.unrest(seat.owner, id, seat.state);
        seat.state = SeatState::Used;
        // A ticket that it once had is used up.
        seat.asks = SeatUse::Spare;
    }

    /// Notes that a connection that was to be closed for another stays idle instead.
    pub fn stays(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get(&id) else { return };
        if let SeatState::Leaving(since) = seat.state {
            self.rest(id, since);
        }
    }

    /// True if a returned connection must be closed instead of serving its own tenant again: a
    /// caller waits for the server, no other connection is closed for it, and its tenant has fewer
    /// connections there.
    pub fn yields(&mut self, id: SeatId, now: Instant) -> bool {
        let own = self.limit;
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        let Some(server) = self.servers.get_mut(&seat.at) else { return false };
        let coming = server.room(own, now).saturating_add(server.leaving + server.resting());
        let Some(owner) = server.line.waiting().nth(coming).map(|(_, wait)| wait.owner) else {
            return false;
        };
        let yields =
            seat.state == SeatState::Used && server.held_by(owner) < server.held_by(seat.owner);
        if yields {
            seat.state = SeatState::Leaving(now);
            server.leaving += 1;
            server.gave_way = Some(now);
        }
        yields
    }
}

#[cfg(test)]
mod tests;
