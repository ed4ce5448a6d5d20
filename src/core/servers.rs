//! Who may open a connection at a server that tenants share, and who gives way there.
//!
//! A server is the address connected to. Each connection has a seat there, from before the
//! connect until it is closed. Where no seat is left, because the server said so or because
//! a limit of our own is reached, callers stand in line by their arrival, whatever tenant
//! they are of, and what rests there longest of whoever has most at rest gives way.
//!
//! What a server said is no limit for ever: others may have left since. So for a minute it
//! is believed, except by whoever stands in front, who tries from time to time.

mod line;
mod looks;
mod server;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use line::Step;
pub use line::Ticket;
pub use looks::LOOK_AGAIN;
pub use server::Figures;
use server::Server;

/// What a server said of its room is believed for so long.
pub const BELIEVED: Duration = Duration::from_secs(60);
/// A server that is full takes so long to know that a connection has been closed: its
/// process has to end first.
const CLOSING: Duration = Duration::from_millis(250);

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);

/// One connection at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId(u64);

/// For whom a seat is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Somebody whose request came then, and who stands in line if he must.
    Caller {
        /// When the request came.
        arrived: Instant,
        /// Its place in line, if it has one.
        ticket: Option<Ticket>,
    },
    /// Nobody: to keep a pool warm.
    Spare,
    /// Nobody: to see whether a tenant's login works, which a full server tells as well.
    Check,
    /// Nobody: to see whether there is room for others.
    Look,
}

/// What became of the wish for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It may be opened.
    Seat(SeatId),
    /// Not yet: this is its place in line.
    Waits(Ticket),
    /// Not now.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Being opened, in use, or being closed.
    Used,
    /// At rest since then.
    Resting(Instant),
    /// At rest, and told to give way.
    Leaving(Instant),
}

#[derive(Debug)]
struct Seat<A> {
    at: A,
    owner: OwnerId,
    asks: Asks,
    state: State,
    /// The server has let it in.
    open: bool,
}

/// All servers that tenants are connected to, or wait for, by their addresses.
#[derive(Debug)]
pub struct Servers<A> {
    limit: Option<usize>,
    servers: HashMap<A, Server>,
    seats: HashMap<SeatId, Seat<A>>,
    /// Where each ticket stands.
    tickets: HashMap<Ticket, Vec<A>>,
    next: u64,
}

impl<A: Copy + Eq + Hash> Servers<A> {
    /// Nobody is connected. `limit`: the most seats at one server.
    pub fn new(limit: Option<usize>) -> Servers<A> {
        let (servers, seats, tickets) = (HashMap::new(), HashMap::new(), HashMap::new());
        Servers { limit, servers, seats, tickets, next: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Asks for a seat. A caller who does not get it stands in line from now on.
    pub fn enter(&mut self, at: A, owner: OwnerId, asks: Asks, now: Instant) -> Entered {
        let (own, number) = (self.limit, self.number());
        let server = self.servers.entry(at).or_insert_with(|| Server::new(now));
        let room = server.room(own, now);
        let may = match asks {
            Asks::Caller { ticket, .. } => {
                let ahead = server.line.ahead_of(ticket);
                let tries = ahead == 0 && server.may_try(own, now);
                server.line.is_ready(now) && room > ahead || tries
            }
            Asks::Spare => server.line.is_empty() && room > 0 && server.may_fill(now),
            Asks::Check | Asks::Look => own.is_none_or(|own| server.seats < own),
        };
        if may {
            return Entered::Seat(self.seat(at, owner, asks, SeatId(number)));
        }
        let Asks::Caller { arrived, ticket } = asks else {
            self.tidy(at);
            return Entered::No;
        };
        let ticket = ticket.unwrap_or(Ticket::new(arrived, number));
        self.stand(at, owner, ticket, now);
        Entered::Waits(ticket)
    }

    fn seat(&mut self, at: A, owner: OwnerId, asks: Asks, id: SeatId) -> SeatId {
        if let Some(server) = self.servers.get_mut(&at) {
            server.seats += 1;
            *server.held.entry(owner).or_default() += 1;
            if let Asks::Caller { ticket: Some(ticket), .. } = asks {
                server.line.set(ticket, Step::Trying);
            }
        }
        self.seats.insert(id, Seat { at, owner, asks, state: State::Used, open: false });
        id
    }

    fn stand(&mut self, at: A, owner: OwnerId, ticket: Ticket, now: Instant) {
        if let Some(server) = self.servers.get_mut(&at) {
            server.line.stand(ticket, owner, now);
            let places = self.tickets.entry(ticket).or_default();
            if !places.contains(&at) {
                places.push(at);
            }
        }
    }

    /// The server has let the connection of this seat in.
    pub fn opened(&mut self, seat: SeatId, now: Instant) {
        let Some(found) = self.seats.get_mut(&seat) else { return };
        let is_news = !std::mem::replace(&mut found.open, true);
        let Some(server) = self.servers.get_mut(&found.at) else { return };
        server.open += usize::from(is_news);
        server.line.has_room();
        if found.asks == Asks::Look {
            // The room that it has found is for others.
            server.looks.let_in(now);
        } else if is_news {
            server.learn_of_room();
        }
    }

    /// The server has no room for the connection of this seat, which is given back. A
    /// caller stands in line then. True: it is news that the server is full.
    pub fn refused(&mut self, seat: SeatId, now: Instant) -> (Entered, bool) {
        let number = self.number();
        let Some(found) = self.remove(seat) else { return (Entered::No, false) };
        let Seat { at, owner, asks, .. } = found;
        let Some(server) = self.servers.get_mut(&at) else { return (Entered::No, false) };
        let known = server.learned(now);
        if asks != Asks::Check {
            server.line.turned_away(now);
        }
        let shed = server.looks.turned_away(asks == Asks::Look, server.resting(), now);
        server.learn_of_refusal(shed, now);
        let entered = match asks {
            Asks::Caller { arrived, ticket } => {
                let ticket = ticket.unwrap_or(Ticket::new(arrived, number));
                self.stand(at, owner, ticket, now);
                Entered::Waits(ticket)
            }
            Asks::Spare | Asks::Check | Asks::Look => Entered::No,
        };
        self.tidy(at);
        (entered, known.is_none())
    }

    /// A seat is given back. Returns where somebody may be waiting for it.
    pub fn free(&mut self, seat: SeatId, now: Instant) -> Option<A> {
        let Seat { at, asks, open, .. } = self.remove(seat)?;
        let server = self.servers.get_mut(&at)?;
        if open {
            server.closed(now);
            server.line.has_room();
        }
        if let Asks::Caller { ticket: Some(ticket), .. } = asks {
            server.line.set(ticket, Step::Waiting);
        }
        let waits = !server.line.is_empty();
        self.tidy(at);
        waits.then_some(at)
    }

    fn remove(&mut self, id: SeatId) -> Option<Seat<A>> {
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

    /// Forgets a server that nobody has to do with.
    fn tidy(&mut self, at: A) {
        if self.servers.get(&at).is_some_and(|one| one.seats == 0 && one.line.is_empty()) {
            self.servers.remove(&at);
        }
    }

    /// The connection of this seat has come to rest. Returns where somebody waits for it.
    pub fn rest(&mut self, id: SeatId, since: Instant) -> Option<A> {
        let seat = self.seats.get_mut(&id)?;
        let server = self.servers.get_mut(&seat.at)?;
        server.unrest(seat.owner, id, seat.state);
        seat.state = State::Resting(since);
        server.resting.entry(seat.owner).or_default().insert((since, id));
        (!server.line.is_empty()).then_some(seat.at)
    }

    /// The connection of this seat is no longer at rest.
    pub fn take(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let Some(server) = self.servers.get_mut(&seat.at) else { return };
        server.unrest(seat.owner, id, seat.state);
        seat.state = State::Used;
        // A ticket that it once had is spent.
        seat.asks = Asks::Spare;
    }

    /// A connection that was to give way does not: it is at rest as before.
    pub fn stays(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get(&id) else { return };
        if let State::Leaving(since) = seat.state {
            self.rest(id, since);
        }
    }

    /// True if a connection that has come back is to be closed instead of serving its own
    /// tenant again: somebody waits for its server for whom nothing else gives way, and
    /// whose tenant has fewer there.
    pub fn yields(&mut self, id: SeatId, now: Instant) -> bool {
        let own = self.limit;
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        let Some(server) = self.servers.get_mut(&seat.at) else { return false };
        let coming = server.room(own, now).saturating_add(server.leaving + server.resting());
        let Some(owner) = server.line.waiting().nth(coming).map(|(_, wait)| wait.owner) else {
            return false;
        };
        let yields =
            seat.state == State::Used && server.held_by(owner) < server.held_by(seat.owner);
        if yields {
            seat.state = State::Leaving(now);
            server.leaving += 1;
            server.gave_way = Some(now);
        }
        yields
    }
}

#[cfg(test)]
mod tests;
