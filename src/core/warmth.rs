//! Limits how fast the keeper opens backends to keep a pool at its minimum.

use std::time::{Duration, Instant};

/// The pause between openings beyond the initial burst. A pool of the largest minimum whose
/// backends live for two minutes needs no more.
pub const EVERY: Duration = Duration::from_secs(1);

/// A token bucket of openings: twice the minimum at once, as all may be lost, then one in each
/// [`EVERY`]. If backends die young, because of the settings of the tenant or its database, the
/// pool stays below its minimum; callers still open their own.
#[derive(Debug)]
pub struct Warmth {
    /// The size of the burst, as the time it takes to refill.
    at_once: Duration,
    /// When the bucket is full again.
    full_at: Instant,
    not_before: Instant,
}

impl Warmth {
    /// A full bucket for a pool with this minimum.
    pub fn of(minimum: usize, now: Instant) -> Warmth {
        let at_once = u32::try_from(2 * minimum).unwrap_or(u32::MAX);
        Warmth { at_once: EVERY * at_once, full_at: now, not_before: now }
    }

    /// When one may be opened; `None`: now.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let owed = (self.full_at.max(now) + EVERY).saturating_duration_since(now);
        let next = self.not_before.max(now + owed.saturating_sub(self.at_once));
        (next > now).then_some(next)
    }

    /// Counts one opening now. False: it is not allowed yet.
    #[must_use]
    pub fn take(&mut self, now: Instant) -> bool {
        let may = self.next(now).is_none();
        if may {
            self.full_at = self.full_at.max(now) + EVERY;
        }
        may
    }

    /// Allows no opening before `until`.
    pub fn pause(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ms, start, Xorshift};
    use super::*;

    fn take_all(warmth: &mut Warmth, now: Instant) -> usize {
        (0..).take_while(|_| warmth.take(now)).count()
    }

    #[test]
    fn a_pool_is_filled_twice_at_once_and_then_slowly() {
        let t0 = start();
        let mut warmth = Warmth::of(5, t0);
        assert_eq!(take_all(&mut warmth, t0), 10);
        assert_eq!(warmth.next(t0), Some(t0 + EVERY));
        assert_eq!(take_all(&mut warmth, t0 + EVERY - ms(1)), 0);
        assert_eq!(take_all(&mut warmth, t0 + EVERY), 1);
        assert_eq!(take_all(&mut warmth, t0 + 4 * EVERY), 3);
        // Nothing is saved up beyond that.
        assert_eq!(take_all(&mut warmth, t0 + 100 * EVERY), 10);
    }

    #[test]
    fn a_pause_is_kept_and_a_shorter_one_does_not_end_it() {
        let t0 = start();
        let mut warmth = Warmth::of(5, t0);
        warmth.pause(t0 + ms(500));
        warmth.pause(t0 + ms(100));
        assert_eq!(warmth.next(t0), Some(t0 + ms(500)));
        assert_eq!(take_all(&mut warmth, t0 + ms(499)), 0);
        assert_eq!(take_all(&mut warmth, t0 + ms(500)), 10);
    }

    #[test]
    fn in_no_time_are_more_opened_than_it_allows() {
        for seed in 0..200 {
            let (mut chance, t0) = (Xorshift::new(seed), start());
            let minimum = 1 + chance.below(9) as usize;
            let mut warmth = Warmth::of(minimum, t0);
            let (mut now, mut opened) = (t0, Vec::new());
            for _ in 0..300 {
                now += ms(chance.below(900));
                if warmth.take(now) {
                    opened.push(now);
                }
                let allowed = |since: Instant| {
                    2 * minimum + ((now - since).as_millis() / EVERY.as_millis()) as usize
                };
                for (place, since) in opened.iter().enumerate() {
                    assert!(opened.len() - place <= allowed(*since), "seed {seed}");
                }
            }
        }
    }
}
