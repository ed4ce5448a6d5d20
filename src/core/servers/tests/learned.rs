//! What is learned of a server's room from what it lets in and what it refuses.

use super::*;

impl At {
    /// So many callers who are on their way at one time.
    fn set_out(&mut self, count: u64) -> Vec<SeatId> {
        let enter = |owner: u64| match self.comes(owner) {
            Entered::Seat(seat) => seat,
            other => panic!("{owner} has no seat: {other:?}"),
        };
        (0..count).map(enter).collect()
    }

    fn is_told(&mut self, refused: SeatId) {
        assert!(matches!(self.servers.refused(refused, self.now).0, Entered::Waits(_)));
    }
}

#[test]
fn those_who_are_on_their_way_are_not_counted_as_room() {
    let mut at = At::new(None);
    let seats = at.set_out(154);
    let (in_time, too_late) = seats.split_at(27);
    in_time.iter().for_each(|seat| at.servers.opened(*seat, at.now));
    for seat in too_late {
        at.is_told(*seat);
        assert_eq!(at.limit(), Some(27));
    }
    let figures = at.servers.figures(at.now)[0];
    assert_eq!((figures.seats, figures.open, figures.waiting), (27, 27, 127));
}

#[test]
fn whoever_is_let_in_after_another_was_refused_counts_as_room_whatever_for() {
    for asks in [caller(start()), SeatUse::Spare, SeatUse::Check] {
        let mut at = At::new(None);
        let seats = [(); 4].map(|()| match at.servers.enter(server(1), OwnerId(1), asks, at.now) {
            Entered::Seat(seat) => seat,
            other => panic!("no seat: {other:?}"),
        });
        let _ = at.servers.refused(seats[3], at.now);
        let mut limits = vec![at.limit()];
        for seat in &seats[..3] {
            at.servers.opened(*seat, at.now);
            // Twice is once.
            at.servers.opened(*seat, at.now);
            limits.push(at.limit());
        }
        assert_eq!(limits, [Some(0), Some(1), Some(2), Some(3)], "{asks:?}");
    }
}

#[test]
fn what_is_closed_is_room_as_long_as_the_server_may_count_it_and_all_of_it_is() {
    let mut at = At::new(None);
    let seats: Vec<SeatId> = (0..5).map(|owner| at.gets(owner)).collect();
    let on_their_way = at.set_out(3);
    seats[..2].iter().for_each(|seat| assert_eq!(at.servers.free(*seat, at.now), None));
    at.is_told(on_their_way[0]);
    assert_eq!(at.limit(), Some(5), "it has just had five");
    at.now += CLOSING - ms(1);
    at.is_told(on_their_way[1]);
    assert_eq!(at.limit(), Some(5));
    at.now += ms(1);
    at.is_told(on_their_way[2]);
    assert_eq!(at.limit(), Some(3), "somebody else has them");
}

#[test]
fn what_goes_for_others_is_not_taken_back_by_a_refusal_or_by_one_that_is_let_in() {
    let mut at = At::new(None);
    let seats: Vec<SeatId> = (0..8).map(|_| at.gets(1)).collect();
    seats.iter().for_each(|seat| at.rests(*seat));
    let on_their_way = at.set_out(2);
    assert_eq!(at.is_refused(1, SeatUse::Look), Entered::No);
    assert_eq!(at.limit(), Some(7));
    // It is not closed yet.
    at.is_told(on_their_way[0]);
    assert_eq!(at.limit(), Some(7));
    at.servers.opened(on_their_way[1], at.now);
    assert_eq!(at.limit(), Some(8), "one more, not what still goes");
    assert_eq!(at.servers.figures(at.now)[0].open, 9);
}
