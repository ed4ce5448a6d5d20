//! What others get who do not say that they wait.

use super::super::looks::{LOOK_AGAIN, LOOK_EVERY};
use super::*;

#[test]
fn what_gave_way_is_not_opened_again_for_a_minute_to_keep_a_pool_warm() {
    let mut at = At::new(None);
    let seats = [at.gets(1), at.gets(1), at.gets(1)];
    seats.iter().for_each(|seat| at.rests(*seat));
    let spare = |at: &mut At| at.servers.enter(server(1), OwnerId(1), SeatUse::Spare, at.now);
    at.now += LOOK_EVERY;
    assert_eq!(at.is_refused(1, SeatUse::Look), Entered::No);
    assert_eq!(at.goes(), [seats[0]]);
    let gave = at.now;
    at.servers.free(seats[0], at.now);
    // There is room for whom it went for, and neither a look nor time fills it up.
    at.now += LOOK_AGAIN;
    let look = at.servers.enter(server(1), OwnerId(1), SeatUse::Look, at.now);
    let Entered::Seat(look) = look else { panic!("no look") };
    at.servers.opened(look, at.now);
    at.servers.free(look, at.now);
    // Nor does it take what its own tenant has given back.
    at.servers.free(seats[1], at.now);
    assert_eq!((at.limit(), at.servers.figures(at.now)[0].seats), (Some(2), 1));
    assert_eq!(spare(&mut at), Entered::No);
    at.now = gave + BELIEVED - ms(1);
    assert_eq!(spare(&mut at), Entered::No);
    at.now += ms(1);
    assert!(matches!(spare(&mut at), Entered::Seat(_)));
}

#[test]
fn a_pool_is_not_filled_again_either_after_something_gave_way_to_one_of_ours() {
    let mut at = At::new(Some(2));
    let seats = [at.gets(1), at.gets(1)];
    at.rests(seats[0]);
    let ticket = at.waits(2);
    assert_eq!(at.goes(), [seats[0]]);
    at.servers.free(seats[0], at.now);
    at.servers.leave(ticket);
    let spare = at.servers.enter(server(1), OwnerId(1), SeatUse::Spare, at.now);
    assert_eq!(spare, Entered::No);
}

#[test]
fn neither_what_is_opened_nor_who_is_refused_puts_off_a_look() {
    for asks in [SeatUse::Spare, caller(start())] {
        let mut at = At::new(None);
        let seat = at.gets(1);
        at.rests(seat);
        at.now = start() + LOOK_EVERY - ms(1);
        assert_eq!(at.servers.look(at.now).0, []);
        let opened = at.servers.enter(server(1), OwnerId(1), asks, at.now);
        let Entered::Seat(opened) = opened else { panic!("no seat") };
        at.servers.opened(opened, at.now);
        assert_eq!(at.is_refused(1, SeatUse::Spare), Entered::No);
        at.now += ms(1);
        assert_eq!(at.servers.look(at.now).0.len(), 1);
    }
}

#[test]
fn a_look_is_made_while_more_rests_than_ours_wait_for() {
    let mut at = At::new(None);
    let seats = [at.gets(1), at.gets(1)];
    seats.iter().for_each(|seat| at.rests(*seat));
    let Entered::Waits(_) = at.is_refused(2, caller(at.now)) else { panic!("no ticket") };
    at.now += LOOK_EVERY;
    assert_eq!(at.servers.look(at.now).0.len(), 1);
    at.waits(3);
    at.now += LOOK_EVERY;
    assert_eq!(at.servers.look(at.now), (vec![], None), "they are to have them");
}
