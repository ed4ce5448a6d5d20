//! What holds for some methods of a service only.

use std::time::Duration;

use super::{BreakerConfig, RetryConfig};

/// A call that has several attempts at the same time, of which the first good answer wins. Only
/// for methods that are idempotent; there is no retry beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// Attempts of a call, the first one included. 2 to 5, default 2.
    pub max_attempts: u32,
    /// How long an attempt is waited for before the next one starts. Default 100 ms.
    pub delay: Duration,
}

impl Default for Hedge {
    fn default() -> Self {
        Hedge { max_attempts: 2, delay: Duration::from_millis(100) }
    }
}

/// What is different for some methods; `None` is what the service says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodPolicy {
    /// Making a call twice does no harm.
    pub idempotent: bool,
    /// The time limit of a call.
    pub timeout: Option<Duration>,
    /// The time limit of one attempt.
    pub attempt_timeout: Option<Duration>,
    /// How failed calls are repeated; one attempt means not at all.
    pub retry: Option<RetryConfig>,
    /// Several attempts at the same time.
    pub hedge: Option<Hedge>,
    /// When calls are refused because the last ones have failed.
    pub breaker: Option<BreakerConfig>,
}

impl MethodPolicy {
    /// As the service says.
    pub fn new() -> MethodPolicy {
        MethodPolicy::default()
    }

    /// Making a call twice does no harm.
    #[must_use]
    pub fn idempotent(mut self) -> MethodPolicy {
        self.idempotent = true;
        self
    }

    /// A call takes at most so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> MethodPolicy {
        self.timeout = Some(timeout);
        self
    }

    /// An attempt takes at most so long.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> MethodPolicy {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Failed calls are repeated so.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> MethodPolicy {
        self.retry = Some(retry);
        self
    }

    /// Calls have several attempts at the same time.
    #[must_use]
    pub fn hedge(mut self, hedge: Hedge) -> MethodPolicy {
        self.hedge = Some(hedge);
        self
    }

    /// Calls are refused so.
    #[must_use]
    pub fn breaker(mut self, breaker: BreakerConfig) -> MethodPolicy {
        self.breaker = Some(breaker);
        self
    }
}

/// Policies by method: `/shop.Users/Get`, or with a star at the end for all that begin so. The
/// longest that fits wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Methods(Vec<(String, MethodPolicy)>);

impl Methods {
    /// Sets the policy of a method, or of all whose name begins with what stands before a star.
    pub fn set(&mut self, pattern: &str, policy: MethodPolicy) {
        self.0.retain(|(known, _)| known != pattern);
        self.0.push((pattern.to_owned(), policy));
    }

    /// All of them, with their patterns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MethodPolicy)> {
        self.0.iter().map(|(pattern, policy)| (pattern.as_str(), policy))
    }

    /// What holds for this method.
    pub(in crate::client) fn find(&self, method: &str) -> Option<&MethodPolicy> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => method.starts_with(start),
            None => method == pattern,
        };
        // A full name wins over a star behind the same name.
        let rank = |pattern: &str| (pattern.trim_end_matches('*').len(), !pattern.ends_with('*'));
        self.iter()
            .filter(|(pattern, _)| fits(pattern))
            .max_by_key(|(pattern, _)| rank(pattern))
            .map(|(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_that_fits_wins() {
        let mut methods = Methods::default();
        let of = |millis| MethodPolicy::new().timeout(Duration::from_millis(millis));
        for (pattern, millis) in
            [("*", 1), ("/shop.Users/*", 2), ("/shop.Users/Get*", 3), ("/shop.Users/Get", 4)]
        {
            methods.set(pattern, of(millis));
        }
        let found = |method| methods.find(method).unwrap().timeout.unwrap().as_millis();
        assert_eq!(found("/shop.Users/Get"), 4);
        assert_eq!(found("/shop.Users/GetAll"), 3);
        assert_eq!(found("/shop.Users/List"), 2);
        assert_eq!(found("/other.S/M"), 1);
        methods.set("*", of(9));
        assert_eq!(methods.find("/other.S/M").unwrap(), &of(9));
        assert_eq!(Methods::default().find("/a.B/C"), None);
    }
}
