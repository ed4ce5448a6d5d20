//! Judges from the loss of one backend whether the others may be broken too.

use std::time::{Duration, Instant};

/// Two losses within this time are taken to have one cause.
const TOGETHER: Duration = Duration::from_secs(10);

/// Counts generations of backends. Backends of an older generation are suspect: each is checked
/// before it is used.
#[derive(Debug, Default)]
pub struct Losses {
    generation: u64,
    last: Option<Instant>,
}

/// How a backend was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Possibly alone: PostgreSQL reports the same whether one backend is terminated or the server
    /// stops.
    Single,
    /// In a way that usually affects the others too: silently, or by a crash.
    Common,
}

impl Losses {
    /// The present generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Notes the loss of a backend of this generation. True: all others are suspect from now on.
    pub fn lost(&mut self, loss: Loss, generation: u64, now: Instant) -> bool {
        if generation < self.generation {
            // It was suspect already.
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
    /// Judges by the SQLSTATE of the backend's last error; `None`: it sent none.
    pub fn of(sqlstate: Option<&str>) -> Loss {
        match sqlstate {
            // Terminated by an administrator, or by an idle timeout.
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
