//! One transition after the other, then whatever a seed draws.

use super::*;
use crate::core::testing::{ms, start, Xorshift};

fn breaker() -> Breaker {
    Breaker::new(BreakerSettings::default())
}

/// A caller's try.
#[track_caller]
fn attempt(breaker: &mut Breaker, verdict: Verdict, now: Instant) -> Option<PhaseChange> {
    let ticket = breaker.try_open().expect("it is closed");
    breaker.settle(ticket, verdict, now, 0.0)
}

#[track_caller]
fn probe(breaker: &mut Breaker, verdict: Verdict, now: Instant) -> Option<PhaseChange> {
    let ticket = breaker.try_probe(now).expect("a probe is due");
    breaker.settle(ticket, verdict, now, 0.0)
}

fn opened(t0: Instant) -> Breaker {
    let mut breaker = breaker();
    for n in 0..5 {
        let change = attempt(&mut breaker, Verdict::Bad, t0);
        assert_eq!(change, (n == 4).then_some(PhaseChange::Opened));
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_and_a_success_starts_the_count_anew() {
    let (t0, mut breaker) = (start(), breaker());
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), None);
    }
    assert_eq!(attempt(&mut breaker, Verdict::Good, t0), None);
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), None);
    }
    assert_eq!(breaker.phase(), BreakerPhase::Closed);
    assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), Some(PhaseChange::Opened));
    assert_eq!((breaker.phase(), breaker.since()), (BreakerPhase::Open, Some(t0)));
    assert_eq!(breaker.try_open(), None);
}

#[test]
fn what_says_nothing_of_the_database_neither_counts_nor_starts_the_count_anew() {
    let (t0, mut breaker) = (start(), breaker());
    for _ in 0..4 {
        let _ = attempt(&mut breaker, Verdict::Bad, t0);
        let _ = attempt(&mut breaker, Verdict::Neither, t0);
    }
    assert_eq!(breaker.phase(), BreakerPhase::Closed);
    assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), Some(PhaseChange::Opened));
}

#[test]
fn while_open_one_probe_is_out_at_a_time_and_the_next_comes_a_second_later() {
    let t0 = start();
    let mut breaker = opened(t0);
    assert_eq!(breaker.try_probe(t0 + ms(999)), None);
    let ticket = breaker.try_probe(t0 + ms(1000)).expect("it is due");
    assert_eq!((breaker.try_probe(t0 + ms(9000)), breaker.next_probe()), (None, None));
    assert_eq!(breaker.settle(ticket, Verdict::Bad, t0 + ms(3000), 0.0), None);
    assert_eq!(breaker.next_probe(), Some(t0 + ms(4000)));
    assert_eq!(breaker.since(), Some(t0));
}

#[test]
fn two_good_probes_close_it_and_the_second_follows_at_once() {
    let t0 = start();
    let mut breaker = opened(t0);
    let t1 = t0 + ms(1000);
    assert_eq!(probe(&mut breaker, Verdict::Good, t1), None);
    assert_eq!((breaker.phase(), breaker.try_open()), (BreakerPhase::HalfOpen, None));
    assert_eq!(breaker.since(), Some(t0));
    assert_eq!(probe(&mut breaker, Verdict::Good, t1), Some(PhaseChange::Closed));
    assert_eq!((breaker.phase(), breaker.since()), (BreakerPhase::Closed, None));
    // It takes five failures again to open it.
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, Verdict::Bad, t1), None);
    }
    assert_eq!(attempt(&mut breaker, Verdict::Bad, t1), Some(PhaseChange::Opened));
}

#[test]
fn a_failure_while_half_open_opens_it_anew() {
    let t0 = start();
    let mut breaker = opened(t0);
    let t1 = t0 + ms(1000);
    let _ = probe(&mut breaker, Verdict::Good, t1);
    assert_eq!(probe(&mut breaker, Verdict::Bad, t1), None);
    assert_eq!((breaker.phase(), breaker.next_probe()), (BreakerPhase::Open, Some(t1 + ms(1000))));
    let _ = probe(&mut breaker, Verdict::Good, t1 + ms(1000));
    assert_eq!(breaker.phase(), BreakerPhase::HalfOpen);
}

#[test]
fn a_probe_that_is_given_up_gives_its_place_back_in_both_states() {
    let t0 = start();
    let mut breaker = opened(t0);
    let t1 = t0 + ms(1000);
    let _ = probe(&mut breaker, Verdict::Neither, t1);
    assert_eq!((breaker.phase(), breaker.next_probe()), (BreakerPhase::Open, Some(t1 + ms(1000))));
    let t2 = t0 + ms(2000);
    let _ = probe(&mut breaker, Verdict::Good, t2);
    let _ = probe(&mut breaker, Verdict::Neither, t2);
    assert_eq!(
        (breaker.phase(), breaker.next_probe()),
        (BreakerPhase::HalfOpen, Some(t2 + ms(1000)))
    );
    assert_eq!(probe(&mut breaker, Verdict::Good, t2 + ms(1000)), Some(PhaseChange::Closed));
}

#[test]
fn tickets_from_before_it_opened_or_closed_say_nothing_any_more() {
    let (t0, mut breaker) = (start(), breaker());
    let old: Vec<BreakerTicket> = (0..3).filter_map(|_| breaker.try_open()).collect();
    for _ in 0..5 {
        let _ = attempt(&mut breaker, Verdict::Bad, t0);
    }
    for (ticket, verdict) in old.into_iter().zip([Verdict::Good, Verdict::Bad, Verdict::Neither]) {
        assert_eq!(breaker.settle(ticket, verdict, t0, 0.0), None);
    }
    assert_eq!((breaker.phase(), breaker.next_probe()), (BreakerPhase::Open, Some(t0 + ms(1000))));
}

#[test]
fn one_that_is_renewed_probes_at_once_and_closes_by_the_same_count() {
    let t0 = start();
    let mut breaker = opened(t0);
    breaker.renew(t0 + ms(10));
    assert_eq!((breaker.phase(), breaker.since()), (BreakerPhase::HalfOpen, Some(t0)));
    assert_eq!(breaker.try_open(), None);
    assert_eq!(probe(&mut breaker, Verdict::Good, t0 + ms(10)), None);
    breaker.renew(t0 + ms(20));
    assert_eq!(probe(&mut breaker, Verdict::Good, t0 + ms(20)), Some(PhaseChange::Closed));

    let mut breaker = opened(t0);
    breaker.renew(t0 + ms(10));
    assert_eq!(probe(&mut breaker, Verdict::Bad, t0 + ms(20)), None);
    assert_eq!((breaker.phase(), breaker.next_probe()), (BreakerPhase::Open, Some(t0 + ms(1020))));
}

#[test]
fn what_was_begun_before_it_was_renewed_says_nothing_any_more() {
    let (t0, mut breaker) = (start(), breaker());
    for _ in 0..4 {
        assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), None);
    }
    let old = breaker.try_open().expect("it is closed");
    breaker.renew(t0);
    assert_eq!(breaker.settle(old, Verdict::Bad, t0, 0.0), None);
    assert_eq!(attempt(&mut breaker, Verdict::Bad, t0), Some(PhaseChange::Opened));
    // A probe that is out does not hold up the next.
    let old = breaker.try_probe(t0 + ms(1000)).expect("it is due");
    breaker.renew(t0 + ms(1000));
    let new = breaker.try_probe(t0 + ms(1000)).expect("it is due again");
    assert_eq!(breaker.settle(old, Verdict::Bad, t0 + ms(1000), 0.0), None);
    assert_eq!(breaker.settle(new, Verdict::Good, t0 + ms(1000), 0.0), None);
    assert_eq!(breaker.phase(), BreakerPhase::HalfOpen);
}

#[test]
fn pauses_stay_a_second_for_two_minutes_and_then_double_up_to_thirty() {
    let t0 = start();
    let mut breaker = opened(t0);
    let mut pauses = Vec::new();
    let mut now = t0;
    while pauses.len() < 130 {
        let at = breaker.next_probe().expect("it is open");
        pauses.push((at - now).as_secs());
        now = at;
        let _ = probe(&mut breaker, Verdict::Bad, now);
    }
    assert!(pauses[..120].iter().all(|pause| *pause == 1), "{pauses:?}");
    assert_eq!(pauses[120..], [2, 4, 8, 16, 30, 30, 30, 30, 30, 30]);
}

/// The same in the simplest words: what has been settled since the last change, and no more.
#[derive(Default)]
struct Model {
    closed_with: Vec<Verdict>,
    /// `None` while closed.
    probed_with: Option<Vec<Verdict>>,
}

impl Model {
    fn settle(&mut self, verdict: Verdict) -> Option<PhaseChange> {
        let counted = |verdicts: &[Verdict], what| {
            let telling = verdicts.iter().rev().filter(|verdict| **verdict != Verdict::Neither);
            telling.take_while(|verdict| **verdict == what).count()
        };
        match &mut self.probed_with {
            None => {
                self.closed_with.push(verdict);
                let opens = counted(&self.closed_with, Verdict::Bad) == 5;
                opens.then(|| self.probed_with = Some(Vec::new()))?;
                Some(PhaseChange::Opened)
            }
            Some(probed_with) => {
                probed_with.push(verdict);
                (counted(probed_with, Verdict::Good) == 2).then(|| *self = Model::default())?;
                Some(PhaseChange::Closed)
            }
        }
    }
}

#[test]
fn whatever_happens_it_does_what_the_model_does_and_never_gets_stuck() {
    let mut changes = [0; 2];
    for seed in 1..=300 {
        let mut random = Xorshift::new(seed);
        let (mut breaker, mut model, mut now) = (breaker(), Model::default(), start());
        // Each with the number of changes before it was given out.
        let (mut out, mut count, mut last_probe) = (Vec::new(), 0, None);
        // Times of trouble and times of health, so that it opens and closes.
        let mut mood = 0;
        for step in 0..400 {
            if step % 25 == 0 {
                mood = random.below(5);
            }
            now += ms(random.below(700));
            let closed = model.probed_with.is_none();
            assert_eq!(breaker.phase() == BreakerPhase::Closed, closed, "seed {seed}");
            assert_eq!(breaker.try_open().is_some(), closed, "seed {seed}");
            let probes = out
                .iter()
                .filter(|(ticket, of): &&(BreakerTicket, u32)| ticket.probe && *of == count);
            assert_eq!(
                breaker.next_probe().is_some(),
                !closed && probes.count() == 0,
                "seed {seed}"
            );
            if random.below(2) == 0 {
                let ticket = match closed {
                    true => breaker.try_open(),
                    false => breaker.try_probe(now),
                };
                if let Some(ticket) = ticket {
                    if let Some(last) = last_probe.filter(|_| ticket.probe) {
                        assert!(now - last >= ms(1000), "seed {seed}");
                    }
                    out.push((ticket, count));
                }
            } else if !out.is_empty() {
                let (ticket, of) = out.swap_remove(random.below(out.len() as u64) as usize);
                let verdict = match random.below(5) {
                    0 => Verdict::Neither,
                    n if n <= mood => Verdict::Bad,
                    _ => Verdict::Good,
                };
                let expected = if of == count { model.settle(verdict) } else { None };
                let pauses = ticket.probe && verdict != Verdict::Good;
                last_probe = pauses.then_some(now).filter(|_| of == count);
                assert_eq!(breaker.settle(ticket, verdict, now, 0.0), expected, "seed {seed}");
                if let Some(change) = expected {
                    changes[change as usize] += 1;
                    count += 1;
                }
            }
        }
    }
    assert!(changes.iter().all(|count| *count > 100), "{changes:?}");
}
