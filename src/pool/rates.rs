//! How many requests a second each identity makes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::access::CallerIdentity;
use crate::core::callers::CallerId;
use crate::core::token_bucket::{TokenBucket, TokenRate};
use crate::error::RequestError;
use crate::lock::Leaf;

/// From so many on, those of identities that rest are dropped: a full bucket is as good as none.
const KEPT: usize = 1024;
/// How many buckets each newcomer looks at then. With two the buckets that are kept are at most
/// about twice those in use, however many identities call, and no call waits for a look at all.
const LOOKED_AT: usize = 2;

/// The buckets of the identities that call.
#[derive(Default)]
pub struct RequestRates(Leaf<RateBuckets>);

#[derive(Default)]
struct RateBuckets {
    by_identity: HashMap<CallerId, TokenBucket>,
    /// Who is looked at next comes first. Invariant: the same identities as in `by_identity`.
    turns: VecDeque<CallerId>,
}

impl RateBuckets {
    /// Drops the buckets of some identities that rest.
    fn make_room(&mut self, now: Instant) {
        for _ in 0..LOOKED_AT {
            let Some(next) = self.turns.pop_front() else { return };
            match self.by_identity.get(&next).is_some_and(|bucket| bucket.is_full(now)) {
                true => drop(self.by_identity.remove(&next)),
                false => self.turns.push_back(next),
            }
        }
    }

    fn take(&mut self, of: &CallerId, rate: TokenRate, now: Instant) -> Result<(), Duration> {
        if let Some(bucket) = self.by_identity.get_mut(of) {
            return bucket.take(rate, now);
        }
        if self.by_identity.len() >= KEPT {
            self.make_room(now);
        }
        self.turns.push_back(of.clone());
        let bucket = self.by_identity.entry(of.clone());
        bucket.or_insert_with(|| TokenBucket::new(rate, now)).take(rate, now)
    }
}

impl RequestRates {
    /// Counts a request of this identity.
    ///
    /// # Errors
    /// It makes more than it may; then the request is not counted.
    pub fn admit(
        &self,
        identity: &Arc<CallerIdentity>,
        rate: TokenRate,
        now: Instant,
    ) -> Result<(), RequestError> {
        let taken = self.0.lock().take(identity.id(), rate, now);
        taken.map_err(|retry| RequestError::RateLimited {
            identity: Arc::clone(identity),
            rate,
            retry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start, Xorshift};

    fn identity(name: &str) -> Arc<CallerIdentity> {
        Arc::new(CallerIdentity::new(name, None).expect("a good name"))
    }

    #[test]
    fn each_identity_has_a_rate_of_its_own_and_is_told_when_to_come_again() {
        let (rates, t0) = (RequestRates::default(), start());
        let rate = TokenRate { per_second: 2, burst: 1 };
        let (shop, ops) = (identity("shop"), identity("ops"));
        assert!(rates.admit(&shop, rate, t0).is_ok());
        let refused = rates.admit(&shop, rate, t0).map_err(|error| error.to_string());
        let told = "identity shop may make 2 requests a second, 1 at once \
                    (requests_per_second, request_burst): the next one in 500 ms";
        assert_eq!(refused, Err(told.to_owned()));
        assert!(rates.admit(&ops, rate, t0).is_ok());
        assert!(rates.admit(&shop, rate, t0 + ms(500)).is_ok());
    }

    #[test]
    fn identities_that_rest_take_no_memory_for_ever() {
        let (rates, t0) = (RequestRates::default(), start());
        let rate = TokenRate { per_second: 1, burst: 1 };
        for n in 0..5000 {
            let now = t0 + ms(n * 100);
            assert!(rates.admit(&identity(&n.to_string()), rate, now).is_ok());
        }
        assert!(rates.0.lock().by_identity.len() <= KEPT);
    }

    #[test]
    fn however_many_call_each_is_judged_as_if_all_buckets_were_kept() {
        let mut numbers = Xorshift::new(7);
        let rate = TokenRate { per_second: 2, burst: 3 };
        let (mut now, mut rates, mut naive) = (start(), RateBuckets::default(), HashMap::new());
        let (mut refused, mut most) = (0, 0);
        for _ in 0..200_000 {
            now += Duration::from_micros(numbers.below(200));
            // Some call often, many once in a while.
            let who = if numbers.below(4) == 0 { numbers.below(50) } else { numbers.below(20_000) };
            let id = CallerId::new(&who.to_string());
            let taken = rates.take(&id, rate, now);
            let bucket = naive.entry(who).or_insert_with(|| TokenBucket::new(rate, now));
            assert_eq!(taken, bucket.take(rate, now), "{who}");
            refused += u32::from(taken.is_err());
            most = most.max(rates.by_identity.len());
            assert_eq!(rates.turns.len(), rates.by_identity.len());
        }
        // A bucket fills up in 1.5 s, in which at most some 12 000 identities call.
        assert!(refused > 1000 && (KEPT..19_000).contains(&most), "{refused} {most}");
        // A newcomer looks at two, not at all.
        let (before, later) = (rates.by_identity.len(), now + ms(60_000));
        rates.take(&CallerId::new("newcomer"), rate, later).expect("its first");
        assert_eq!(rates.by_identity.len(), before + 1 - LOOKED_AT);
    }
}
