//! What the loss of one backend says of the others.

use std::time::{Duration, Instant};

/// Two losses within so long have one cause.
const TOGETHER: Duration = Duration::from_secs(10);

/// Counts generations of backends. Those of an older one than the present are in doubt: they are
/// looked at before anybody gets them.
#[derive(Debug, Default)]
pub struct Losses {
    generation: u64,
    last: Option<Instant>,
}

/// How a backend was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// In a way that may concern it alone: PostgreSQL says the same when somebody ends one backend
    /// and when it stops.
    Single,
    /// In a way that others rarely escape: without a word, or by a crash.
    Common,
}

impl Losses {
    /// The present generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A backend of this generation is lost. True: all others are in doubt from now on.
    pub fn lost(&mut self, loss: Loss, generation: u64, now: Instant) -> bool {
        if generation < self.generation {
            // It was in doubt already.
            return false;
        }
        let recent = |last| now.saturating_duration_since(last) <= TOGETHER;
        let common = loss == Loss::Common || self.last.is_some_and(recent);
        self.last = if common { None } else { Some(now) };
        self.generation += u64::from(common);
        common
    }
}

impl Loss {
    /// What the SQLSTATE of a backend's last words says; `None`: there were none.
    pub fn of(sqlstate: Option<&str>) -> Loss {
        match sqlstate {
            // Ended by an administrator, or idle for too long.
            Some("57P01" | "57P05") => Loss::Single,
            _ => Loss::Common,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn a_single_loss_puts_no_other_in_doubt_but_a_second_one_soon_after_does() {
        let (t0, mut losses) = (start(), Losses::default());
        assert!(!losses.lost(Loss::Single, 0, t0));
        assert!(!losses.lost(Loss::Single, 0, t0 + ms(10_001)));
        assert!(losses.lost(Loss::Single, 0, t0 + ms(20_001)));
        assert_eq!(losses.generation(), 1);
        // The count starts anew.
        assert!(!losses.lost(Loss::Single, 1, t0 + ms(20_002)));
    }

    #[test]
    fn a_common_loss_is_enough_and_those_in_doubt_say_nothing_new() {
        let (t0, mut losses) = (start(), Losses::default());
        assert!(losses.lost(Loss::Common, 0, t0));
        for _ in 0..5 {
            assert!(!losses.lost(Loss::Common, 0, t0));
        }
        assert_eq!(losses.generation(), 1);
        assert!(losses.lost(Loss::Common, 1, t0));
        assert_eq!(losses.generation(), 2);
    }

    #[test]
    fn last_words_tell_one_from_many() {
        assert_eq!(Loss::of(Some("57P01")), Loss::Single);
        assert_eq!(Loss::of(Some("57P05")), Loss::Single);
        for words in [Some("57P02"), Some("57P03"), Some("57P04"), None] {
            assert_eq!(Loss::of(words), Loss::Common, "{words:?}");
        }
    }
}
