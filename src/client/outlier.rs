//! When an address is taken out because it answers worse than others, and for how long.
//!
//! Architecture Invariant: pure.

use std::time::{Duration, Instant};

/// When an address is left alone for a while because attempts at it fail, though it can be
/// connected to. Only of several addresses, and only as long as another one answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierConfig {
    /// After so many attempts in a row that failed: with UNAVAILABLE, or by their own time limit.
    /// Default 5.
    pub failures: u32,
    /// Or when so much of the attempts within `window` has failed. Above 0 to 1. Default `None`:
    /// not for that.
    pub error_ratio: Option<f64>,
    /// What `error_ratio` counts is forgotten so often. Default 10 s.
    pub window: Duration,
    /// Fewer attempts within `window` are no ratio. Default 20.
    pub min_calls: u32,
    /// So long, times how often it was taken out of late. Default 30 s.
    pub ejection_time: Duration,
    /// But no longer than this, and after so long without being taken out the first time is
    /// forgotten. Default 5 min.
    pub max_ejection_time: Duration,
    /// The largest part of the addresses that is out at the same time. 0 to 1, default 0.5; one
    /// always stays.
    pub max_ejected: f64,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        OutlierConfig {
            failures: 5,
            error_ratio: None,
            window: Duration::from_secs(10),
            min_calls: 20,
            ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
}

/// Why an address is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlying {
    /// Too many failures in a row.
    Failures,
    /// Too many of all.
    Ratio,
}

impl Outlying {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outlying::Failures => "failures",
            Outlying::Ratio => "error_ratio",
        }
    }
}

/// How many of `addresses` may be out.
pub(super) fn may_be_out(config: &OutlierConfig, addresses: usize) -> usize {
    let part = (addresses as f64 * config.max_ejected) as usize;
    part.min(addresses.saturating_sub(1))
}

/// How attempts at one address have ended.
///
/// States and their exits: *in*; exit to *out* by [`eject`](Self::eject), after
/// [`attempt`](Self::attempt) has found a fault. *Out*, in which attempts that were begun before
/// count for nothing; exit to *in* by [`restore`](Self::restore), which begins anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    in_a_row: u32,
    /// Since when it is counted, how many attempts, and how many failed.
    counted: Option<(Instant, u32, u32)>,
    /// How often it was taken out of late.
    times: u32,
    /// Until when it is out.
    until: Option<Instant>,
    /// Since when it is in again.
    back: Option<Instant>,
}

impl Track {
    /// An attempt has ended. Says why the address should be taken out.
    pub(super) fn attempt(
        &mut self,
        bad: bool,
        config: &OutlierConfig,
        now: Instant,
    ) -> Option<Outlying> {
        if self.is_out() {
            return None;
        }
        let fresh = |counted: &(Instant, u32, u32)| {
            now.saturating_duration_since(counted.0) < config.window
        };
        let (since, calls, failed) = self.counted.filter(fresh).unwrap_or((now, 0, 0));
        let (calls, failed) = (calls.saturating_add(1), failed.saturating_add(u32::from(bad)));
        self.counted = Some((since, calls, failed));
        if !bad {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let is_too_much = |ratio| f64::from(failed) >= ratio * f64::from(calls);
        match config.error_ratio {
            _ if self.in_a_row >= config.failures => Some(Outlying::Failures),
            Some(ratio) if calls >= config.min_calls && is_too_much(ratio) => Some(Outlying::Ratio),
            _ => None,
        }
    }

    /// Takes it out. Returns for how long.
    pub(super) fn eject(&mut self, config: &OutlierConfig, now: Instant) -> Duration {
        let longest = config.max_ejection_time;
        if self.back.is_some_and(|back| now.saturating_duration_since(back) >= longest) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        let time = config.ejection_time.saturating_mul(self.times).min(longest);
        self.until = Some(now + time);
        time
    }

    /// Takes it in again.
    pub(super) fn restore(&mut self, now: Instant) {
        (self.until, self.back) = (None, Some(now));
        (self.in_a_row, self.counted) = (0, None);
    }

    pub(super) fn is_out(&self) -> bool {
        self.until.is_some()
    }

    /// Until when it is out.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    /// What a series of attempts finds; `x` is a bad one.
    fn series(
        track: &mut Track,
        config: &OutlierConfig,
        text: &str,
        now: Instant,
    ) -> Option<Outlying> {
        text.chars().fold(None, |_, c| track.attempt(c == 'x', config, now))
    }

    #[test]
    fn failures_in_a_row_are_a_fault_and_one_good_answer_ends_the_row() {
        let (t0, config) = (start(), OutlierConfig { failures: 3, ..OutlierConfig::default() });
        let mut track = Track::default();
        assert_eq!(series(&mut track, &config, "xx.xx.xx", t0), None);
        assert_eq!(series(&mut track, &config, "x", t0), Some(Outlying::Failures));
        // As long as it may not be taken out, it stays one.
        assert_eq!(series(&mut track, &config, "x", t0), Some(Outlying::Failures));
    }

    #[test]
    fn a_ratio_is_a_fault_with_enough_attempts_within_its_window() {
        let (t0, config) = (
            start(),
            OutlierConfig { error_ratio: Some(0.5), min_calls: 6, ..OutlierConfig::default() },
        );
        let mut track = Track::default();
        assert_eq!(series(&mut track, &config, ".x.x.", t0), None, "they are too few");
        assert_eq!(series(&mut track, &config, "x", t0), Some(Outlying::Ratio));
        let mut track = Track::default();
        assert_eq!(series(&mut track, &config, ".x.x.", t0), None);
        assert_eq!(series(&mut track, &config, "x", t0 + ms(10_000)), None, "forgotten by now");
        let mut track = Track::default();
        assert_eq!(series(&mut track, &config, "..x.x..x", t0), None, "less than a half");
    }

    #[test]
    fn the_time_grows_with_each_time_and_is_forgotten_after_a_while() {
        let (t0, config) = (start(), OutlierConfig::default());
        let mut track = Track::default();
        let mut now = t0;
        for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            assert_eq!(series(&mut track, &config, "xxxxx", now), Some(Outlying::Failures));
            assert_eq!(track.eject(&config, now), ms(seconds * 1000));
            assert_eq!(track.until(), Some(now + ms(seconds * 1000)));
            assert_eq!(series(&mut track, &config, "xxxxxx", now), None, "it is out");
            now += ms(seconds * 1000);
            track.restore(now);
            assert_eq!(series(&mut track, &config, "xxxx", now), None, "it begins anew");
            let _ = series(&mut track, &config, ".", now);
        }
        assert_eq!(track.eject(&config, now + ms(299_999)), ms(300_000));
        now += ms(600_000);
        track.restore(now);
        assert_eq!(track.eject(&config, now + ms(300_000)), ms(30_000));
    }

    #[test]
    fn a_part_may_be_out_and_never_all() {
        let of = |max_ejected, addresses| {
            may_be_out(&OutlierConfig { max_ejected, ..OutlierConfig::default() }, addresses)
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(|n| of(0.5, n)), [0, 0, 1, 1, 2, 2]);
        assert_eq!([0, 1, 2, 5].map(|n| of(1.0, n)), [0, 0, 1, 4]);
        assert_eq!([0, 1, 2, 50].map(|n| of(0.0, n)), [0; 4]);
    }
}
