//! Callers, servers and other services do as a seed says.

use std::collections::BTreeMap;

use super::super::*;
use crate::core::testing::{ms, start, Xorshift};

const OWNERS: u64 = 5;

/// What a caller does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waits,
    Connects(SeatId),
}

/// A server with so many slots, of which others have some, and our callers.
struct Model {
    servers: ServerTable<u8>,
    limit: Option<usize>,
    now: Instant,
    slots: usize,
    others: usize,
    /// Ours that the server has let in, or that are in the middle of it.
    open: BTreeMap<SeatId, u64>,
    opening: BTreeMap<SeatId, u64>,
    resting: BTreeMap<SeatId, Instant>,
    /// When the last were closed.
    closed: Vec<Instant>,
    callers: BTreeMap<LineTicket, (u64, Phase)>,
    served: usize,
}

fn at() -> u8 {
    super::server(1)
}

impl Model {
    fn new(chance: &mut Xorshift) -> Model {
        let limit = (chance.below(2) > 0).then(|| 1 + chance.below(6) as usize);
        Model {
            servers: ServerTable::new(limit),
            limit,
            now: start(),
            slots: 1 + chance.below(8) as usize,
            others: 0,
            open: BTreeMap::new(),
            opening: BTreeMap::new(),
            resting: BTreeMap::new(),
            closed: Vec::new(),
            callers: BTreeMap::new(),
            served: 0,
        }
    }

    /// Asks, for somebody new or for one in line.
    fn ask(&mut self, owner: u64, ticket: Option<LineTicket>) {
        let asks = SeatUse::Caller { arrived: self.now, ticket };
        let before = ticket.map_or(usize::MAX, |own| {
            let waits = |(other, (_, phase)): &(&LineTicket, &(u64, Phase))| {
                **other < own && *phase == Phase::Waits
            };
            self.callers.iter().filter(waits).count()
        });
        let seats = self.open.len() + self.opening.len();
        match self.servers.enter(at(), OwnerId(owner), asks, self.now) {
            Entered::Seat(seat) => {
                if let Some(limit) = self.limit {
                    assert!(seats < limit, "a seat beyond the limit");
                }
                self.opening.insert(seat, owner);
                if let Some(ticket) = ticket {
                    // Those before it have room as well, if that is known to be scarce.
                    let limit = self.servers.servers[&at()].limit(self.limit, self.now);
                    let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(seats));
                    assert!(before == 0 || room > before, "it was not its turn");
                    self.callers.insert(ticket, (owner, Phase::Connects(seat)));
                }
            }
            Entered::Waits(ticket) => {
                self.callers.insert(ticket, (owner, Phase::Waits));
            }
            Entered::No => panic!("a caller stands in line"),
        }
    }

    /// A connect comes to its end.
    fn connected(&mut self, seat: SeatId) {
        let owner = self.opening.remove(&seat).expect("it is opening");
        let whose = self.callers.iter().find(|(_, (_, phase))| *phase == Phase::Connects(seat));
        let whose = whose.map(|(ticket, _)| *ticket);
        if self.open.len() + self.others < self.slots {
            self.open.insert(seat, owner);
            self.servers.opened(seat, self.now);
            self.served += 1;
            if let Some(ticket) = whose {
                self.callers.remove(&ticket);
                self.servers.leave(ticket);
            }
            return;
        }
        let (entered, _) = self.servers.refused(seat, self.now);
        let Entered::Waits(ticket) = entered else { panic!("a caller stands in line") };
        let still = self.closed.iter().filter(|closed| self.now < **closed + CLOSING).count();
        let learned = self.servers.servers[&at()].learned(self.now);
        assert!(learned <= Some(self.open.len() + still), "more than it has let in");
        assert!(whose.is_none_or(|own| own == ticket), "it has lost its place");
        self.callers.insert(ticket, (owner, Phase::Waits));
    }

    fn close(&mut self, seat: SeatId) {
        self.open.remove(&seat);
        self.resting.remove(&seat);
        self.closed.push(self.now);
        self.servers.free(seat, self.now);
    }

    /// Does what the line asks for.
    fn settle(&mut self, chance: &mut Xorshift) {
        let (todo, mut going) = (self.servers.settle(at(), self.now), Vec::new());
        for (_, seat) in todo.give_way {
            let since = self.resting.remove(&seat).expect("it was at rest");
            let own = self.open[&seat];
            let count = |owner: u64| self.resting.keys().filter(|s| self.open[s] == owner).count();
            assert!((0..OWNERS).all(|owner| count(owner) <= count(own) + 1), "another has more");
            let longer =
                |(seat, other): (&SeatId, &Instant)| self.open[seat] == own && *other < since;
            assert!(!self.resting.iter().any(|(s, t)| longer((s, t))), "another rests longer");
            going.push((seat, since));
        }
        for (seat, since) in going {
            if chance.below(4) > 0 {
                self.close(seat);
                continue;
            }
            self.servers.stays(seat);
            self.resting.insert(seat, since);
        }
        for (owner, ticket) in todo.call {
            assert!(self.callers.get(&ticket).is_some_and(|(_, p)| *p == Phase::Waits));
            self.ask(owner.0, Some(ticket));
        }
    }

    fn agrees(&self) {
        let Some(server) = self.servers.servers.get(&at()) else {
            assert_eq!((self.open.len(), self.callers.len()), (0, 0));
            return;
        };
        assert_eq!(server.seats, self.open.len() + self.opening.len());
        assert_eq!(server.open, self.open.len());
        let learned = server.learned(self.now);
        assert!(learned.is_none_or(|learned| learned >= server.open), "less than it has let in");
        assert_eq!((server.resting(), server.leaving), (self.resting.len(), 0));
        let waiting = self.callers.values().filter(|(_, phase)| *phase == Phase::Waits).count();
        assert_eq!(server.line.waiting().count(), waiting);
    }

    fn step(&mut self, chance: &mut Xorshift) {
        self.now += ms(chance.below(30));
        let pick = |map: &BTreeMap<SeatId, u64>, n: u64| {
            map.keys().nth((n % (map.len() as u64).max(1)) as usize).copied()
        };
        let n = chance.below(1000);
        match chance.below(9) {
            0 | 1 => self.ask(chance.below(OWNERS), None),
            2 | 3 => pick(&self.opening, n).into_iter().for_each(|seat| self.connected(seat)),
            4 | 5 => {
                let used = |seat: &SeatId| !self.resting.contains_key(seat);
                let seat = pick(&self.open, n).filter(used);
                if let Some(seat) = seat {
                    self.resting.insert(seat, self.now);
                    self.servers.rest(seat, self.now);
                }
            }
            6 => {
                let seat = self.resting.keys().nth((n % 3) as usize).copied();
                seat.into_iter().for_each(|seat| {
                    self.resting.remove(&seat);
                    self.servers.take(seat);
                });
            }
            7 => pick(&self.open, n).into_iter().for_each(|seat| self.close(seat)),
            _ => self.others = chance.below(self.slots as u64) as usize,
        }
        self.settle(chance);
        self.agrees();
    }
}

#[test]
fn whatever_comes_in_between_the_books_agree_and_at_last_everybody_is_served() {
    for seed in 0..300 {
        let mut chance = Xorshift::new(seed);
        let mut model = Model::new(&mut chance);
        (0..300).for_each(|_| model.step(&mut chance));
        // Whatever is open comes to rest, the others leave, and nobody new comes.
        model.others = 0;
        for round in 0.. {
            assert!(round < 2000, "seed {seed}: {} wait for ever", model.callers.len());
            model.now += ms(20);
            let opening: Vec<SeatId> = model.opening.keys().copied().collect();
            opening.into_iter().for_each(|seat| model.connected(seat));
            let used = |seat: &&SeatId| !model.resting.contains_key(*seat);
            let used: Vec<SeatId> = model.open.keys().filter(used).copied().collect();
            for seat in used {
                model.resting.insert(seat, model.now);
                model.servers.rest(seat, model.now);
            }
            model.settle(&mut chance);
            model.agrees();
            if model.callers.is_empty() && model.opening.is_empty() {
                break;
            }
        }
        assert!(model.served > 0, "seed {seed}");
    }
}
