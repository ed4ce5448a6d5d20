//! One deadline for each key, and the next one due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A set of keys, each with the moment at which it falls due.
///
/// Every operation takes logarithmic time. Invariant: both fields hold the same pairs.
#[derive(Clone, Debug)]
pub struct Deadlines<K: Clone + Ord> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Clone + Ord> Deadlines<K> {
    /// An empty set.
    pub fn new() -> Self {
        Deadlines { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, replacing its old one.
    pub fn set(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key) == Some(&at) {
            return;
        }
        self.clear(&key);
        self.by_key.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    /// Removes the deadline of `key`; false if it had none.
    pub fn clear(&mut self, key: &K) -> bool {
        match self.by_key.remove_entry(key) {
            Some((key, at)) => self.by_time.remove(&(at, key)),
            None => false,
        }
    }

    /// The deadline of `key`.
    pub fn of(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out up to `limit` keys that are due at `now`, a deadline of exactly `now` included.
    ///
    /// The earliest come first; those of the same moment in the order of their keys.
    pub fn pop_due(&mut self, now: Instant, limit: usize) -> Vec<K> {
        let mut due = Vec::new();
        while due.len() < limit && self.next().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.by_time.pop_first() else { break };
            self.by_key.remove(&key);
            due.push(key);
        }
        due
    }

    /// How many keys have a deadline.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key has one.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Clone + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ms, start, Xorshift};
    use super::*;

    #[test]
    fn keys_come_out_earliest_first_and_not_before_their_time() {
        let t0 = start();
        let mut deadlines = Deadlines::new();
        deadlines.set("late", t0 + ms(20));
        deadlines.set("early", t0 + ms(10));
        assert_eq!(deadlines.next(), Some(t0 + ms(10)));
        assert!(deadlines.pop_due(t0 + ms(9), 10).is_empty());
        assert_eq!(deadlines.pop_due(t0 + ms(10), 10), ["early"]);
        assert_eq!(deadlines.pop_due(t0 + ms(99), 10), ["late"]);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let t0 = start();
        let mut deadlines = Deadlines::new();
        deadlines.set('a', t0 + ms(10));
        deadlines.set('a', t0 + ms(30));
        assert_eq!(deadlines.len(), 1);
        assert!(deadlines.pop_due(t0 + ms(20), 10).is_empty());
        assert!(deadlines.clear(&'a'));
        assert!(!deadlines.clear(&'a'));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn no_more_than_the_limit_comes_out_at_once() {
        let t0 = start();
        let mut deadlines = Deadlines::default();
        for key in 0..5 {
            deadlines.set(key, t0);
        }
        assert_eq!(deadlines.pop_due(t0, 0), []);
        assert_eq!(deadlines.pop_due(t0, 3), [0, 1, 2]);
        assert_eq!(deadlines.pop_due(t0, 3), [3, 4]);
    }

    #[test]
    fn random_runs_agree_with_a_plain_list() {
        let t0 = start();
        for seed in 1..=5 {
            let mut random = Xorshift::new(seed);
            let mut deadlines = Deadlines::new();
            let mut list: Vec<(Instant, u64)> = Vec::new();
            for _ in 0..3_000 {
                let (key, at) = (random.below(20), t0 + ms(random.below(50)));
                match random.below(3) {
                    0 => {
                        let known = list.iter().any(|(_, k)| *k == key);
                        assert_eq!(deadlines.clear(&key), known);
                        list.retain(|(_, k)| *k != key);
                    }
                    1 => {
                        deadlines.set(key, at);
                        list.retain(|(_, k)| *k != key);
                        list.push((at, key));
                    }
                    _ => {
                        let limit = random.below(4) as usize;
                        list.sort();
                        let due: Vec<_> =
                            list.iter().filter(|(t, _)| *t <= at).take(limit).copied().collect();
                        list.retain(|pair| !due.contains(pair));
                        let due: Vec<u64> = due.into_iter().map(|(_, k)| k).collect();
                        assert_eq!(deadlines.pop_due(at, limit), due);
                    }
                }
                assert_eq!(deadlines.next(), list.iter().map(|(t, _)| *t).min());
                let first = list.iter().find(|(_, k)| *k == 0).map(|(t, _)| *t);
                assert_eq!(deadlines.of(&0), first);
                assert_eq!(deadlines.len(), list.len());
                assert_eq!(deadlines.is_empty(), list.is_empty());
            }
        }
    }
}
