//! How many requests a second somebody may make.

use std::time::{Duration, Instant};

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRate {
    /// Tokens a second, at least 1.
    pub per_second: u32,
    /// The most tokens that a bucket holds, at least 1: so many requests may come at once.
    pub burst: u32,
}

impl TokenRate {
    /// The time in which one token comes. Rounded up, so that there are never more a second.
    fn interval(&self) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(u64::from(self.per_second.max(1))))
    }

    /// The time in which an empty bucket fills.
    fn whole(&self) -> Duration {
        self.interval() * self.burst.max(1)
    }
}

/// A bucket of tokens, of which each request takes one. It begins full.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// When it is full again. All that is known of it: the tokens that are missing come one an
    /// interval.
    full_at: Instant,
    /// The rate by which that holds.
    rate: TokenRate,
}

impl TokenBucket {
    /// A full one.
    pub fn new(rate: TokenRate, now: Instant) -> TokenBucket {
        TokenBucket { full_at: now, rate }
    }

    /// Takes a token. The rate may be another one each time: by a new one the bucket is empty at
    /// worst.
    ///
    /// # Errors
    /// There is none: the time until there is one. Nothing is taken then, so that somebody who asks
    /// too often gets no less than the rate.
    pub fn take(&mut self, rate: TokenRate, now: Instant) -> Result<(), Duration> {
        if rate != self.rate {
            (self.full_at, self.rate) = (self.full_at.min(now + rate.whole()), rate);
        }
        let after = self.full_at.saturating_duration_since(now) + rate.interval();
        match after.checked_sub(rate.whole()) {
            None | Some(Duration::ZERO) => {
                self.full_at = now + after;
                Ok(())
            }
            Some(until) => Err(until),
        }
    }

    /// Whether it is full, as a new one is.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start, Xorshift};

    const fn rate(per_second: u32, burst: u32) -> TokenRate {
        TokenRate { per_second, burst }
    }

    #[test]
    fn a_burst_goes_through_and_then_one_request_an_interval() {
        let (t0, ten) = (start(), rate(10, 3));
        let mut bucket = TokenBucket::new(ten, t0);
        let took = |bucket: &mut TokenBucket, at| bucket.take(ten, t0 + ms(at));
        assert_eq!([0, 0, 0].map(|at| took(&mut bucket, at)), [Ok(()); 3]);
        assert_eq!(took(&mut bucket, 0), Err(ms(100)));
        assert_eq!(took(&mut bucket, 99), Err(ms(1)), "those refused have taken nothing");
        assert_eq!(took(&mut bucket, 100), Ok(()));
        assert_eq!(took(&mut bucket, 100), Err(ms(100)));
        assert!(!bucket.is_full(t0 + ms(399)) && bucket.is_full(t0 + ms(400)));
        // However long it rests, it holds no more than its burst.
        assert_eq!([9000; 3].map(|at| took(&mut bucket, at)), [Ok(()); 3]);
        assert_eq!(took(&mut bucket, 9000), Err(ms(100)));
    }

    #[test]
    fn another_rate_holds_at_once() {
        let (t0, slow) = (start(), rate(1, 100));
        let mut bucket = TokenBucket::new(slow, t0);
        assert!((0..100).all(|_| bucket.take(slow, t0).is_ok()));
        assert_eq!(bucket.take(slow, t0), Err(ms(1000)));
        // It does not wait for what the old rate was owed.
        let fast = rate(1000, 10);
        assert_eq!(bucket.take(fast, t0), Err(ms(1)));
        assert_eq!(bucket.take(fast, t0 + ms(1)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_read_a_little_late_neither_panics_nor_gives_tokens() {
        let (t0, one) = (start() + ms(1000), rate(1, 1));
        let mut bucket = TokenBucket::new(one, t0);
        assert_eq!(bucket.take(one, t0), Ok(()));
        assert!(bucket.take(one, t0 - ms(10)).is_err());
        assert!(bucket.take(one, t0 + ms(999)).is_err());
        assert_eq!(bucket.take(one, t0 + ms(1000)), Ok(()));
    }

    /// The same rule in the simplest way: a number of billionths of a token that grows with time.
    struct NaiveBucket {
        parts: u64,
        at: u64,
    }

    const TOKEN: u64 = 1_000_000_000;

    impl NaiveBucket {
        fn take(&mut self, rate: TokenRate, nanos: u64) -> bool {
            let came = (nanos - self.at) * u64::from(rate.per_second);
            self.parts = (self.parts + came).min(u64::from(rate.burst) * TOKEN);
            self.at = nanos;
            let has_one = self.parts >= TOKEN;
            if has_one {
                self.parts -= TOKEN;
            }
            has_one
        }
    }

    #[test]
    fn random_requests_are_admitted_as_a_counted_bucket_admits_them() {
        for seed in 0..200 {
            let mut random = Xorshift::new(seed);
            // Rates whose interval is a whole number of nanoseconds, so that both agree exactly.
            let per_second = [1, 2, 5, 8, 10, 100, 1000, 1_000_000][random.below(8) as usize];
            let rate = rate(per_second, 1 + random.below(20) as u32);
            let (t0, interval) = (start(), TOKEN / u64::from(per_second));
            let mut bucket = TokenBucket::new(rate, t0);
            let mut naive = NaiveBucket { parts: u64::from(rate.burst) * TOKEN, at: 0 };
            let (mut nanos, mut admitted) = (0, Vec::new());
            for _ in 0..500 {
                let pause = match random.below(4) {
                    0 => 0,
                    1 => random.below(interval),
                    2 => interval,
                    _ => random.below(interval * 30),
                };
                nanos += if random.below(3) == 0 { pause } else { 0 };
                let now = t0 + Duration::from_nanos(nanos);
                let taken = bucket.take(rate, now);
                assert_eq!(taken.is_ok(), naive.take(rate, nanos), "seed {seed} {rate:?} {nanos}");
                match taken {
                    Ok(()) => admitted.push(nanos),
                    // It says exactly when to come again.
                    Err(until) => {
                        let early = until - Duration::from_nanos(1);
                        assert!(bucket.clone().take(rate, now + early).is_err(), "seed {seed}");
                        assert!(bucket.clone().take(rate, now + until).is_ok(), "seed {seed}");
                    }
                }
            }
            // In no stretch of time come more than the burst and what the rate gives.
            for (i, from) in admitted.iter().enumerate() {
                for (n, to) in admitted[i..].iter().enumerate() {
                    let most = u64::from(rate.burst) + (to - from) / interval;
                    assert!((n as u64) < most, "seed {seed}: {n} before it, {most} at most");
                }
            }
        }
    }
}
