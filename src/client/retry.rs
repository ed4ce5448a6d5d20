//! Whether a call that failed is made again, and when.
//!
//! Architecture Invariant: pure.

use std::time::Duration;

use super::call_error::{Code, Delivery};
use super::config::RetryConfig;
use crate::core::backoff;

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    pub code: Code,
    pub delivery: Delivery,
    /// The server's word on when to come again.
    pub asked: Option<Duration>,
}

/// The pause before the next attempt; `None` if there is none. `chance` is any number.
///
/// What was never sent may be repeated whatever it is, the first time at once; what may have
/// been sent only if it does no harm twice.
pub(super) fn pause(
    config: &RetryConfig,
    idempotent: bool,
    failure: Failure,
    chance: u64,
) -> Option<Duration> {
    let Failure { attempt, code, delivery, asked } = failure;
    let is_safe = match delivery {
        Delivery::NotSent => config.not_sent || config.unsafe_all || idempotent,
        Delivery::Unknown => config.unsafe_all || idempotent,
    };
    if attempt >= config.max_attempts || !config.codes.contains(&code) || !is_safe {
        return None;
    }
    if delivery == Delivery::NotSent && attempt == 1 && asked.is_none() {
        return Some(Duration::ZERO);
    }
    let jitter = config.jitter * (chance % 1024) as f64 / 1024.0;
    let RetryConfig { initial_backoff, max_backoff, multiplier, .. } = *config;
    let own = backoff::delay(attempt - 1, initial_backoff, max_backoff, multiplier, jitter);
    Some(own.max(asked.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::ms;

    fn failure(attempt: u32, code: Code, delivery: Delivery) -> Failure {
        Failure { attempt, code, delivery, asked: None }
    }

    #[test]
    fn what_may_have_been_sent_is_repeated_only_if_that_does_no_harm() {
        let config = RetryConfig::default();
        let sent = failure(1, Code::Unavailable, Delivery::Unknown);
        assert_eq!(pause(&config, false, sent, 0), None);
        assert_eq!(pause(&config, true, sent, 0), Some(ms(100)));
        assert_eq!(pause(&config, true, Failure { attempt: 2, ..sent }, 0), Some(ms(200)));
        assert_eq!(pause(&config, true, Failure { attempt: 3, ..sent }, 0), None);
        let all = RetryConfig { unsafe_all: true, ..config };
        assert_eq!(pause(&all, false, sent, 0), Some(ms(100)));
    }

    #[test]
    fn what_was_never_sent_is_repeated_at_once_and_then_with_pauses() {
        let config = RetryConfig::default();
        let unsent = failure(1, Code::Unavailable, Delivery::NotSent);
        assert_eq!(pause(&config, false, unsent, 0), Some(ms(0)));
        assert_eq!(pause(&config, false, Failure { attempt: 2, ..unsent }, 0), Some(ms(200)));
        let never = RetryConfig { not_sent: false, ..config };
        assert_eq!(pause(&never, false, unsent, 0), None);
    }

    #[test]
    fn only_some_codes_are_repeated_and_the_server_may_ask_for_longer() {
        let config = RetryConfig::default();
        for code in [Code::InvalidArgument, Code::Internal, Code::Cancelled, Code::Other(99)] {
            assert_eq!(pause(&config, true, failure(1, code, Delivery::Unknown), 0), None);
        }
        let mut aborted = failure(1, Code::Aborted, Delivery::Unknown);
        aborted.asked = Some(ms(700));
        assert_eq!(pause(&config, true, aborted, 0), Some(ms(700)));
        aborted.asked = Some(ms(7));
        let longest = pause(&config, true, aborted, 1023).unwrap();
        assert!(longest > ms(119) && longest < ms(120));
    }
}
