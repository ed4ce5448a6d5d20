//! Polls from time to time what happens without waking anybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lock::Leaf;
use crate::threads;
use crate::threads::bell::Bell;

/// The time between two rounds.
const BETWEEN: Duration = Duration::from_millis(20);
/// The most that are asked in a round, which bounds the work: 12 500 a second. With more of
/// them, each is asked less often.
const ROUND: usize = 250;

/// Who comes asks those that came so many before, for what happens soon after they came: gRPC
/// may have some thousand events to handle first.
const BEHIND: [u64; 4] = [16, 128, 1024, 4096];

/// Something that happens once.
pub trait Polled: Send + Sync {
    /// True once it has happened; then it is not asked again. It must not block.
    fn has_happened(&self) -> bool;
}

/// All that are asked.
#[derive(Clone)]
pub struct Polls {
    set: Arc<Leaf<PollSet>>,
    bell: Bell,
}

#[derive(Default)]
struct PollSet {
    asked: BTreeMap<u64, Arc<dyn Polled>>,
    next: u64,
    /// Where the next round begins.
    from: u64,
    /// When; `None` = nobody is to be asked.
    due: Option<Instant>,
}

/// It is asked until this is dropped.
#[must_use]
pub struct PollGuard {
    key: u64,
    set: Arc<Leaf<PollSet>>,
}

impl Polls {
    /// Nobody is asked yet; `bell` wakes the thread that makes the rounds.
    pub fn new(bell: Bell) -> Polls {
        Polls { set: Arc::default(), bell }
    }

    /// Asks it from now on.
    ///
    /// Some others are asked at once: a few that came not long ago, and the next in turn. So
    /// those of which it has happened do not pile up, however many come a second.
    pub fn add(&self, now: Instant, polled: Arc<dyn Polled>) -> PollGuard {
        let mut set = self.set.lock();
        let key = set.next;
        set.next += 1;
        let mut others = set.turn(1);
        let recent = BEHIND.iter().filter_map(|behind| key.checked_sub(*behind));
        others.extend(recent.filter_map(|key| Some((key, Arc::clone(set.asked.get(&key)?)))));
        set.asked.insert(key, polled);
        let first = set.due.is_none();
        let due = *set.due.get_or_insert(now + BETWEEN);
        drop(set);
        if first {
            self.bell.due(due);
        }
        self.ask(others);
        PollGuard { key, set: Arc::clone(&self.set) }
    }

    /// Makes a round if one is due. Returns when the next is.
    pub fn round(&self, now: Instant) -> Option<Instant> {
        let mut set = self.set.lock();
        if set.due? > now {
            return set.due;
        }
        let turn = set.turn(ROUND);
        set.due = (!turn.is_empty()).then_some(now + BETWEEN);
        let due = set.due;
        drop(set);
        self.ask(turn);
        due
    }

    fn ask(&self, some: Vec<(u64, Arc<dyn Polled>)>) {
        // One that panics is not asked again.
        let is_over = |polled: &Arc<dyn Polled>| {
            threads::survive(threads::REAPER, || polled.has_happened()).unwrap_or(true)
        };
        for (key, _) in some.iter().filter(|(_, polled)| is_over(polled)) {
            self.set.lock().asked.remove(key);
        }
    }
}

impl PollSet {
    /// So many, in turn.
    fn turn(&mut self, count: usize) -> Vec<(u64, Arc<dyn Polled>)> {
        let asked = &self.asked;
        let turn = asked.range(self.from..).chain(asked.range(..self.from)).take(count);
        let turn: Vec<(u64, Arc<dyn Polled>)> =
            turn.map(|(key, polled)| (*key, Arc::clone(polled))).collect();
        self.from = turn.last().map_or(0, |(key, _)| key + 1);
        turn
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        let removed = self.set.lock().asked.remove(&self.key);
        // Its own values are dropped without the lock.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::clock;

    #[derive(Default)]
    struct Asked {
        times: AtomicUsize,
        happened: AtomicBool,
        panics: bool,
    }

    impl Polled for Asked {
        fn has_happened(&self) -> bool {
            self.times.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "injected");
            self.happened.load(Ordering::SeqCst)
        }
    }

    impl Asked {
        fn times(&self) -> usize {
            self.times.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn each_is_asked_once_a_round_until_it_has_happened_or_is_dropped() {
        let (bell, t0) = (Bell::default(), clock::now());
        let polls = Polls::new(bell.clone());
        assert_eq!(polls.round(t0), None);
        let all: [Arc<Asked>; 2] = Default::default();
        let times = || all.each_ref().map(|one| one.times());
        let kept: Vec<PollGuard> =
            all.iter().map(|one| polls.add(t0, Arc::clone(one) as Arc<dyn Polled>)).collect();
        assert_eq!((bell.heard().len(), polls.round(t0)), (1, Some(t0 + BETWEEN)));
        // The second has asked the first.
        assert_eq!(times(), [1, 0]);
        assert_eq!(polls.round(t0 + BETWEEN), Some(t0 + 2 * BETWEEN));
        all[0].happened.store(true, Ordering::SeqCst);
        polls.round(t0 + 2 * BETWEEN);
        polls.round(t0 + 3 * BETWEEN);
        assert_eq!(times(), [3, 3]);
        drop(kept);
        assert_eq!(polls.round(t0 + 4 * BETWEEN), None);
        assert_eq!(all[1].times(), 3);
        // And it begins anew.
        let _one = polls.add(t0 + 9 * BETWEEN, Arc::clone(&all[1]) as Arc<dyn Polled>);
        assert_eq!(polls.round(t0 + 9 * BETWEEN), Some(t0 + 10 * BETWEEN));
    }

    #[test]
    fn many_take_turns_and_a_panic_costs_nobody_else_a_turn() {
        let (polls, t0) = (Polls::new(Bell::default()), clock::now());
        let many: Vec<Arc<Asked>> = (0..2 * ROUND + 1)
            .map(|n| Arc::new(Asked { panics: n == 1, ..Asked::default() }))
            .collect();
        let _kept: Vec<PollGuard> =
            many.iter().map(|one| polls.add(t0, Arc::clone(one) as Arc<dyn Polled>)).collect();
        let before: Vec<usize> = many.iter().map(|one| one.times()).collect();
        for round in 1..=3 {
            polls.round(t0 + round * BETWEEN);
        }
        let rounds = many.iter().zip(before).map(|(one, before)| one.times() - before);
        assert_eq!(rounds.sum::<usize>(), 3 * ROUND);
        assert!(many.iter().all(|one| one.times() > 0));
        assert_eq!(many[1].times(), 1);
    }

    #[test]
    fn what_happens_soon_does_not_pile_up_however_many_come_between_two_rounds() {
        let (polls, t0) = (Polls::new(Bell::default()), clock::now());
        let _kept: Vec<PollGuard> = (0..10_000)
            .map(|_| {
                let one = Arc::new(Asked::default());
                let guard = polls.add(t0, Arc::clone(&one) as Arc<dyn Polled>);
                one.happened.store(true, Ordering::SeqCst);
                assert!(polls.set.lock().asked.len() as u64 <= BEHIND[0]);
                guard
            })
            .collect();
    }
}
