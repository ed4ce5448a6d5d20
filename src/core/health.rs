//! Whether a tenant's connections work.

/// The health of a tenant or of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No connection works.
    Unhealthy,
    /// Some fail, or the last failure was too recent.
    Degraded,
    /// All connections work.
    Healthy,
}

/// The result of one round of checks of a tenant's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Connections that work.
    pub working: usize,
    /// Connections that failed.
    pub failed: usize,
}

/// A tenant's health. A round with a failure makes it `Degraded` at once; `tries` rounds in a row
/// in which nothing worked make it `Unhealthy`. It is `Healthy` again after `successes` rounds in a
/// row without a failure. A round without checks changes nothing.
#[derive(Debug)]
pub struct Health {
    tries: u32,
    successes: u32,
    level: Level,
    /// Rounds in a row in which nothing worked.
    bad: u32,
    /// Rounds in a row in which nothing failed.
    good: u32,
}

impl Default for Health {
    fn default() -> Self {
        Health { tries: 3, successes: 2, level: Level::Healthy, bad: 0, good: 0 }
    }
}

impl Health {
    /// Healthy, with other thresholds than the default's 3 and 2.
    pub fn new(tries: u32, successes: u32) -> Health {
        Health { tries, successes, ..Health::default() }
    }

    /// Takes in the result of a round. Returns the new level if it has changed.
    pub fn settle(&mut self, round: Round) -> Option<Level> {
        let next = match (round.working, round.failed) {
            (0, 0) => return None,
            (_, 0) => {
                (self.bad, self.good) = (0, self.good + 1);
                match self.level {
                    Level::Healthy => Level::Healthy,
                    _ if self.good >= self.successes => Level::Healthy,
                    _ => Level::Degraded,
                }
            }
            (0, _) => {
                (self.bad, self.good) = (self.bad + 1, 0);
                match self.bad >= self.tries {
                    true => Level::Unhealthy,
                    false => self.level.min(Level::Degraded),
                }
            }
            _ => {
                (self.bad, self.good) = (0, 0);
                Level::Degraded
            }
        };
        let changed = next != self.level;
        self.level = next;
        changed.then_some(next)
    }

    /// The present level.
    pub fn level(&self) -> Level {
        self.level
    }
}

impl Level {
    /// The service's health from that of its tenants: healthy without any, unhealthy if all are.
    pub fn of_all(levels: impl IntoIterator<Item = Level>) -> Level {
        let mut levels = levels.into_iter().peekable();
        if levels.peek().is_none() {
            return Level::Healthy;
        }
        let (worst, best) = levels
            .fold((Level::Healthy, Level::Unhealthy), |(worst, best), one| {
                (worst.min(one), best.max(one))
            });
        match (worst, best) {
            (Level::Healthy, _) => Level::Healthy,
            (_, Level::Unhealthy) => Level::Unhealthy,
            _ => Level::Degraded,
        }
    }

    /// The name in logs, pages and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Healthy => "healthy",
            Level::Degraded => "degraded",
            Level::Unhealthy => "unhealthy",
        }
    }

    /// A number for graphs; higher is better.
    pub fn as_number(self) -> usize {
        match self {
            Level::Unhealthy => 0,
            Level::Degraded => 1,
            Level::Healthy => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Degraded, Healthy, Unhealthy};
    use super::*;

    fn round(working: usize, failed: usize) -> Round {
        Round { working, failed }
    }

    #[test]
    fn three_rounds_in_a_row_without_a_working_connection_make_it_unhealthy() {
        let mut health = Health::default();
        assert_eq!(health.settle(round(0, 1)), Some(Degraded));
        assert_eq!(health.settle(round(0, 5)), None);
        assert_eq!(health.settle(round(1, 1)), None);
        assert_eq!(health.settle(round(0, 1)), None);
        assert_eq!(health.settle(round(0, 1)), None);
        assert_eq!(health.settle(round(0, 1)), Some(Unhealthy));
        assert_eq!(health.settle(round(0, 1)), None);
    }

    #[test]
    fn two_rounds_in_a_row_without_a_failure_make_it_healthy() {
        let mut health = Health::default();
        for _ in 0..3 {
            let _ = health.settle(round(0, 1));
        }
        assert_eq!(health.settle(round(1, 0)), Some(Degraded));
        assert_eq!(health.settle(round(1, 2)), None);
        assert_eq!(health.settle(round(2, 0)), None);
        assert_eq!(health.settle(round(1, 0)), Some(Healthy));
        assert_eq!(health.settle(round(9, 0)), None);
    }

    #[test]
    fn a_round_in_which_nothing_was_looked_at_changes_nothing() {
        let mut health = Health::default();
        let _ = health.settle(round(0, 1));
        let _ = health.settle(round(0, 1));
        assert_eq!((health.settle(round(0, 0)), health.level()), (None, Degraded));
        assert_eq!(health.settle(round(0, 1)), Some(Unhealthy));
        let _ = health.settle(round(1, 0));
        let _ = health.settle(round(0, 0));
        assert_eq!(health.settle(round(1, 0)), Some(Healthy));
    }

    #[test]
    fn the_service_is_as_well_as_its_tenants() {
        for (levels, service) in [
            (&[][..], Healthy),
            (&[Healthy, Healthy], Healthy),
            (&[Healthy, Unhealthy], Degraded),
            (&[Degraded], Degraded),
            (&[Degraded, Unhealthy], Degraded),
            (&[Unhealthy, Unhealthy], Unhealthy),
        ] {
            assert_eq!(Level::of_all(levels.iter().copied()), service, "{levels:?}");
        }
    }
}
