//! Limits on the cost of building values.

use super::DecodeError;

/// Counts the size of a result while it is built: 14 bytes of a numeric can become 147 kB
/// of text.
pub struct Meter<'a> {
    limit: usize,
    made: usize,
    /// The size at the last check.
    looked: usize,
    is_wanted: &'a dyn Fn() -> bool,
}

/// Why a value is not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its bytes do not fit its type.
    Malformed(DecodeError),
    /// The limit would be exceeded.
    TooLarge,
    /// It is no longer wanted.
    Unwanted,
}

/// The bytes between two checks whether the result is still wanted: well below a
/// millisecond's work, however small the values are.
const LOOK_BYTES: usize = 64 << 10;

impl<'a> Meter<'a> {
    /// A meter for `limit` bytes, as the caller counts them, as long as `is_wanted`.
    pub fn new(limit: usize, is_wanted: &'a dyn Fn() -> bool) -> Meter<'a> {
        Meter { limit, made: 0, looked: 0, is_wanted }
    }

    /// Counts so many bytes more.
    ///
    /// # Errors
    /// The limit is exceeded, or the result no longer wanted.
    pub fn add(&mut self, bytes: usize) -> Result<(), Stop> {
        self.reach(self.made.saturating_add(bytes))
    }

    /// Raises the count to so many bytes.
    ///
    /// # Errors
    /// As for `add`.
    #[inline]
    pub fn reach(&mut self, made: usize) -> Result<(), Stop> {
        if made > self.limit {
            return Err(Stop::TooLarge);
        }
        self.made = made;
        if made.saturating_sub(self.looked) >= LOOK_BYTES {
            self.looked = made;
            if !(self.is_wanted)() {
                return Err(Stop::Unwanted);
            }
        }
        Ok(())
    }

    /// Checks that so many bytes more would fit.
    ///
    /// # Errors
    /// They would not.
    pub(super) fn require(&self, bytes: usize) -> Result<(), Stop> {
        if bytes > self.limit - self.made {
            return Err(Stop::TooLarge);
        }
        Ok(())
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Stop {
        Stop::Malformed(error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_byte_too_many_is_refused_and_not_counted() {
        let mut meter = Meter::new(10, &|| true);
        assert_eq!(meter.add(4), Ok(()));
        assert_eq!(meter.add(7), Err(Stop::TooLarge));
        assert_eq!(meter.add(usize::MAX), Err(Stop::TooLarge));
        assert_eq!((meter.require(6), meter.require(7)), (Ok(()), Err(Stop::TooLarge)));
        assert_eq!(
            (meter.add(6), meter.add(0), meter.reach(11)),
            (Ok(()), Ok(()), Err(Stop::TooLarge))
        );
    }

    #[test]
    fn it_looks_now_and_then_whether_more_is_wanted() {
        let looks = Cell::new(0);
        let is_wanted = || {
            looks.set(looks.get() + 1);
            looks.get() < 3
        };
        let mut meter = Meter::new(usize::MAX, &is_wanted);
        let added = (0..1000).take_while(|_| meter.add(LOOK_BYTES / 10).is_ok()).count();
        assert_eq!(looks.get(), 3);
        assert!((29..35).contains(&added), "{added}");
    }
}
