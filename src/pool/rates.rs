//! How many requests a second each identity makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::core::access::CallerIdentity;
use crate::core::callers::CallerId;
use crate::core::token_bucket::{TokenBucket, TokenRate};
use crate::error::Error;
use crate::lock::Leaf;

/// From so many on, those of identities that rest are dropped: a full bucket is as good as none.
const KEPT: usize = 1024;

/// The buckets of the identities that call.
#[derive(Default)]
pub struct RequestRates(Leaf<HashMap<CallerId, TokenBucket>>);

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
    ) -> Result<(), Error> {
        let mut buckets = self.0.lock();
        if buckets.len() >= KEPT && !buckets.contains_key(identity.id()) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket =
            buckets.entry(identity.id().clone()).or_insert_with(|| TokenBucket::new(rate, now));
        let taken = bucket.take(rate, now);
        drop(buckets);
        taken.map_err(|retry| Error::RateLimited { identity: Arc::clone(identity), rate, retry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

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
        assert!(rates.0.lock().len() <= KEPT);
    }
}
