//! A bounded map whose entries expire.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Values by key. Each expires `life` after it was last put; beyond `max` entries, a new one
/// replaces the oldest. So a client can fill it with rubbish only up to a bound and for a while.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    kept: HashMap<K, (V, Instant)>,
    max: usize,
    life: Duration,
}

impl<K: Clone + Eq + Hash, V> ExpiringMap<K, V> {
    /// An empty map.
    pub fn new(max: usize, life: Duration) -> Self {
        ExpiringMap { kept: HashMap::new(), max, life }
    }

    /// The value, unless it has expired.
    pub fn find(&self, key: &K, now: Instant) -> Option<&V> {
        let (value, since) = self.kept.get(key)?;
        (now.saturating_duration_since(*since) < self.life).then_some(value)
    }

    /// All entries that have not expired.
    pub fn alive(&self, now: Instant) -> impl Iterator<Item = (&K, &V)> {
        let lives = move |since: &Instant| now.saturating_duration_since(*since) < self.life;
        let kept = self.kept.iter().filter(move |(_, (_, since))| lives(since));
        kept.map(|(key, (value, _))| (key, value))
    }

    /// Inserts or replaces a value; its life starts over.
    pub fn put(&mut self, key: K, value: V, now: Instant) {
        if self.kept.len() >= self.max && !self.kept.contains_key(&key) {
            let life = self.life;
            self.kept.retain(|_, (_, since)| now.saturating_duration_since(*since) < life);
        }
        if self.kept.len() >= self.max && !self.kept.contains_key(&key) {
            let oldest = self.kept.iter().min_by_key(|(_, (_, since))| *since);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| self.kept.remove(&key));
        }
        self.kept.insert(key, (value, now));
    }

    /// Removes a value.
    pub fn remove(&mut self, key: &K) {
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn a_value_lives_from_when_it_was_last_put() {
        let (t0, mut map) = (start(), ExpiringMap::new(9, ms(100)));
        map.put('a', 1, t0);
        assert_eq!(map.find(&'a', t0 + ms(99)), Some(&1));
        assert_eq!(map.find(&'a', t0 + ms(100)), None);
        assert_eq!(map.alive(t0 + ms(99)).collect::<Vec<_>>(), [(&'a', &1)]);
        assert_eq!(map.alive(t0 + ms(100)).count(), 0);
        map.put('a', 2, t0 + ms(100));
        assert_eq!(map.find(&'a', t0 + ms(199)), Some(&2));
        map.remove(&'a');
        assert_eq!(map.find(&'a', t0 + ms(199)), None);
    }

    #[test]
    fn the_oldest_makes_room_and_what_is_put_again_needs_none() {
        let (t0, mut map) = (start(), ExpiringMap::new(3, ms(100)));
        for (n, key) in ['a', 'b', 'c', 'a', 'd'].into_iter().enumerate() {
            map.put(key, n, t0 + ms(n as u64));
        }
        let found: Vec<_> = "abcd".chars().map(|key| map.find(&key, t0 + ms(9))).collect();
        assert_eq!(found, [Some(&3), None, Some(&2), Some(&4)]);
        // All expired entries are removed first.
        map.put('e', 5, t0 + ms(103));
        let found: Vec<_> = "acde".chars().map(|key| map.find(&key, t0 + ms(103))).collect();
        assert_eq!(found, [None, None, Some(&4), Some(&5)]);
        assert_eq!(map.kept.len(), 2);
    }
}
