use super::line::Todo;
use super::*;
use crate::core::testing::{ms, start};

mod learned;
mod looks;
mod random;

fn server(n: u8) -> u8 {
    n
}

fn caller(arrived: Instant) -> SeatUse {
    SeatUse::Caller { arrived, ticket: None }
}

/// Servers at which everything happens at one time, which a test moves on.
struct At {
    servers: ServerTable<u8>,
    now: Instant,
}

impl At {
    fn new(limit: Option<usize>) -> At {
        At { servers: ServerTable::new(limit), now: start() }
    }

    /// A caller of this tenant comes.
    fn comes(&mut self, owner: u64) -> Entered {
        self.now += ms(1);
        self.servers.enter(server(1), OwnerId(owner), caller(self.now), self.now)
    }

    /// The same for one who must get in.
    fn gets(&mut self, owner: u64) -> SeatId {
        let Entered::Seat(seat) = self.comes(owner) else { panic!("no seat") };
        self.servers.opened(seat, self.now);
        seat
    }

    fn waits(&mut self, owner: u64) -> LineTicket {
        let Entered::Waits(ticket) = self.comes(owner) else { panic!("a seat") };
        ticket
    }

    fn again(&mut self, owner: u64, ticket: LineTicket) -> Entered {
        let asks = SeatUse::Caller { arrived: self.now, ticket: Some(ticket) };
        self.servers.enter(server(1), OwnerId(owner), asks, self.now)
    }

    fn rests(&mut self, seat: SeatId) {
        self.now += ms(1);
        self.servers.rest(seat, self.now);
    }

    /// A login at a server that is full.
    fn is_refused(&mut self, owner: u64, asks: SeatUse) -> Entered {
        match self.servers.enter(server(1), OwnerId(owner), asks, self.now) {
            Entered::Seat(seat) => self.servers.refused(seat, self.now).0,
            other => panic!("not tried: {other:?}"),
        }
    }

    fn settle(&mut self) -> Todo {
        self.servers.settle(server(1), self.now)
    }

    fn goes(&mut self) -> Vec<SeatId> {
        self.settle().give_way.into_iter().map(|(_, seat)| seat).collect()
    }

    fn called(&mut self) -> Vec<LineTicket> {
        self.settle().call.into_iter().map(|(_, ticket)| ticket).collect()
    }

    fn limit(&self) -> Option<usize> {
        self.servers.figures(self.now)[0].limit
    }
}

#[test]
fn whoever_has_most_at_rest_gives_way_with_what_rests_longest() {
    let mut at = At::new(Some(6));
    let seats: Vec<SeatId> = [1, 1, 2, 2, 2, 2].map(|owner| at.gets(owner)).to_vec();
    [0, 4, 3, 5].iter().for_each(|n| at.rests(seats[*n]));
    assert_eq!(at.goes(), []);
    let ticket = at.waits(3);
    assert_eq!(at.goes(), [seats[4]]);
    // One is enough for one.
    assert_eq!((at.goes(), at.called()), (vec![], vec![]));
    at.servers.free(seats[4], at.now);
    assert_eq!(at.called(), [ticket]);
    assert!(at.servers.is_called(ticket));
    assert!(matches!(at.again(3, ticket), Entered::Seat(_)));
    at.servers.leave(ticket);
    // Two each and one: then what rests longest of all.
    at.waits(3);
    at.waits(4);
    at.waits(4);
    assert_eq!(at.goes(), [seats[3], seats[0], seats[5]]);
    // What is in use stays.
    at.waits(5);
    assert_eq!(at.goes(), []);
}

#[test]
fn the_first_to_come_is_the_first_to_be_served_whatever_tenant_it_is_of() {
    let mut at = At::new(Some(2));
    let (one, two) = (at.gets(1), at.gets(1));
    let (first, second) = (at.waits(2), at.waits(3));
    at.servers.free(one, at.now);
    // It is free, but not for somebody who has just come.
    let third = at.waits(4);
    assert_eq!(at.called(), [first]);
    assert!(matches!(at.again(3, second), Entered::Waits(_)));
    assert!(matches!(at.again(2, first), Entered::Seat(_)));
    at.servers.free(two, at.now);
    at.servers.leave(second);
    assert_eq!(at.called(), [third]);
    assert_eq!(at.servers.leave(first), [server(1)]);
    assert!(matches!(at.again(4, third), Entered::Seat(_)));
}

#[test]
fn a_refusal_is_believed_for_a_minute_by_all_but_whoever_stands_in_front() {
    let mut at = At::new(None);
    let seats = [at.gets(1), at.gets(1)];
    let Entered::Waits(ticket) = at.is_refused(2, caller(at.now)) else { panic!("no ticket") };
    assert_eq!(at.limit(), Some(2));
    let later = at.waits(3);
    // Not at once again.
    assert_eq!(at.settle(), Todo { due: Some(at.now + ms(19)), ..Todo::default() });
    at.now += ms(20);
    assert_eq!(at.called(), [ticket]);
    let asks = SeatUse::Caller { arrived: at.now, ticket: Some(ticket) };
    assert_eq!(at.is_refused(2, asks), Entered::Waits(ticket));
    assert!(matches!(at.again(3, later), Entered::Waits(_)));
    at.now += ms(40);
    // Others have left there.
    let Entered::Seat(seat) = at.again(2, ticket) else { panic!("not tried") };
    at.servers.opened(seat, at.now);
    at.servers.leave(ticket);
    assert_eq!(at.limit(), Some(3));
    assert_eq!(at.called(), [later], "there may be more");
    at.servers.leave(later);
    assert_eq!(at.servers.enter(server(1), OwnerId(1), SeatUse::Spare, at.now), Entered::No);
    at.now += BELIEVED;
    assert_eq!(at.limit(), None);
    let spare = at.servers.enter(server(1), OwnerId(1), SeatUse::Spare, at.now);
    assert!(matches!(spare, Entered::Seat(_)));
    assert_eq!(seats.map(|seat| at.servers.free(seat, at.now)), [None, None]);
}

#[test]
fn a_server_that_has_yet_to_see_what_was_closed_costs_nobody_else_his_connection() {
    let mut at = At::new(None);
    let seats = [at.gets(1), at.gets(1), at.gets(1)];
    seats.iter().for_each(|seat| at.rests(*seat));
    let Entered::Waits(ticket) = at.is_refused(2, caller(at.now)) else { panic!("no ticket") };
    assert_eq!(at.goes(), [seats[0]]);
    assert_eq!(at.called(), [], "it is refused at this moment");
    at.servers.free(seats[0], at.now);
    assert_eq!(at.called(), [ticket]);
    let asks = SeatUse::Caller { arrived: at.now, ticket: Some(ticket) };
    assert_eq!(at.is_refused(2, asks), Entered::Waits(ticket));
    assert_eq!(at.goes(), []);
    at.now += CLOSING;
    let asks = SeatUse::Caller { arrived: at.now, ticket: Some(ticket) };
    assert_eq!(at.is_refused(2, asks), Entered::Waits(ticket));
    assert_eq!(at.goes(), [seats[1]], "somebody else has it");
}

#[test]
fn a_connection_that_comes_back_goes_to_a_tenant_that_has_fewer() {
    let mut at = At::new(Some(3));
    let seats = [at.gets(1), at.gets(1), at.gets(2)];
    assert!(!at.servers.yields(seats[0], at.now), "nobody waits");
    let own = at.waits(1);
    assert!(!at.servers.yields(seats[0], at.now), "the first in line is its own");
    assert!(!at.servers.yields(seats[2], at.now), "the first in line has more");
    at.servers.leave(own);
    at.waits(3);
    at.waits(2);
    assert!(at.servers.yields(seats[0], at.now));
    assert!(at.servers.yields(seats[1], at.now), "for the second in line");
    assert!(!at.servers.yields(seats[2], at.now));
}

#[test]
fn what_does_not_go_rests_as_before_and_is_chosen_again() {
    let mut at = At::new(Some(2));
    let seats = [at.gets(1), at.gets(1)];
    seats.iter().for_each(|seat| at.rests(*seat));
    at.waits(2);
    assert_eq!(at.goes(), [seats[0]]);
    at.servers.stays(seats[0]);
    assert_eq!(at.goes(), [seats[0]]);
    // Its own tenant was quicker.
    at.servers.take(seats[0]);
    at.servers.stays(seats[0]);
    assert_eq!(at.goes(), [seats[1]]);
}

#[test]
fn who_has_connections_at_rest_at_a_full_server_gives_up_more_and_more_until_there_is_room() {
    let mut at = At::new(None);
    let seats: Vec<SeatId> = (0..20).map(|owner| at.gets(owner)).collect();
    assert_eq!(
        at.servers.look(at.now + 9 * super::looks::LOOK_EVERY),
        (vec![], None),
        "nothing rests"
    );
    seats.iter().for_each(|seat| at.rests(*seat));
    let heard = at.now;
    at.now = heard + super::looks::LOOK_EVERY;
    let mut gone = Vec::new();
    for _ in 0..3 {
        let (due, next) = at.servers.look(at.now);
        assert_eq!((due.len(), next.is_some()), (1, true));
        assert_eq!(at.is_refused(0, SeatUse::Look), Entered::No);
        let going = at.goes();
        gone.push(going.len());
        for seat in going {
            at.servers.free(seat, at.now);
        }
        assert_eq!(at.servers.look(at.now).0, [], "not yet");
        // They are not for us.
        assert_eq!(at.servers.enter(server(1), OwnerId(9), SeatUse::Spare, at.now), Entered::No);
        at.now += super::looks::LOOK_AGAIN;
    }
    assert_eq!((gone, at.limit()), (vec![1, 2, 4], Some(13)));
    let Entered::Seat(seat) = at.servers.enter(server(1), OwnerId(0), SeatUse::Look, at.now) else {
        panic!("a look is made all the same")
    };
    at.servers.opened(seat, at.now);
    at.servers.free(seat, at.now);
    assert_eq!(at.servers.look(at.now + super::looks::LOOK_AGAIN).0, [], "it is well");
    at.now += super::looks::LOOK_OFTEN;
    assert_eq!(at.servers.look(at.now).0.len(), 1, "as long as it may be full");
    // It may have been let in while somebody else changed places.
    assert_eq!(at.is_refused(0, SeatUse::Look), Entered::No);
    assert_eq!(at.goes().len(), 4);
}

#[test]
fn nothing_is_left_of_a_server_that_nobody_has_to_do_with() {
    let mut at = At::new(None);
    let seat = at.gets(1);
    let Entered::Waits(ticket) = at.is_refused(2, caller(at.now)) else { panic!("no ticket") };
    let other = at.servers.enter(server(2), OwnerId(2), SeatUse::Spare, at.now);
    let Entered::Seat(other) = other else { panic!("no seat") };
    at.servers.free(other, at.now);
    at.servers.free(seat, at.now);
    at.servers.leave(ticket);
    let ServerTable { servers, seats, tickets, .. } = &at.servers;
    assert_eq!((servers.len(), seats.len(), tickets.len()), (0, 0, 0));
}
