//! How long to wait before the next attempt.

use std::time::Duration;

/// The pause after attempt number `attempt`, which counts from 0.
///
/// It is `min`, multiplied by `factor` for each attempt after the first, and lengthened by the
/// fraction `jitter` of itself. The caller draws `jitter` (0 to 1) anew each time, so that clients
/// that failed together do not retry together. Never more than `max`.
pub fn delay(attempt: u32, min: Duration, max: Duration, factor: f64, jitter: f64) -> Duration {
    let power = i32::try_from(attempt).unwrap_or(i32::MAX);
    let seconds = min.as_secs_f64() * factor.powi(power) * (1.0 + jitter.clamp(0.0, 1.0));
    // An overflow or NaN counts as infinite.
    Duration::try_from_secs_f64(seconds).map_or(max, |delay| delay.min(max))
}

#[cfg(test)]
mod tests {
    use super::delay;
    use crate::core::testing::ms;
    use std::time::Duration;

    #[test]
    fn pauses_grow_by_the_factor_up_to_the_maximum() {
        let pause = |attempt| delay(attempt, ms(100), ms(5000), 2.0, 0.0);
        assert_eq!([0, 1, 2, 5].map(pause), [ms(100), ms(200), ms(400), ms(3200)]);
        assert_eq!([6, 31, 5000, u32::MAX].map(pause), [ms(5000); 4]);
    }

    #[test]
    fn jitter_lengthens_and_never_beyond_the_maximum() {
        let pause = |attempt, jitter| delay(attempt, ms(100), ms(5000), 2.0, jitter);
        assert_eq!(pause(0, 0.1), ms(110));
        assert_eq!(pause(0, 1.0), ms(200));
        assert_eq!(pause(0, 7.0), ms(200));
        assert_eq!(pause(9, 0.5), ms(5000));
    }

    #[test]
    fn nonsense_is_bounded() {
        assert_eq!(delay(3, ms(1), ms(9), f64::NAN, 0.0), ms(9));
        assert_eq!(delay(3, ms(1), ms(9), f64::INFINITY, f64::NAN), ms(9));
        assert_eq!(delay(3, Duration::MAX, ms(9), 2.0, 0.0), ms(9));
    }
}
