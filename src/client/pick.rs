//! A program's own choice among free connections.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

/// A connection that may be lent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// The address that it is connected to, as a status shows it.
    pub address: String,
    /// To how many it is lent.
    pub lent: usize,
    /// How often it was lent.
    pub served: u64,
    /// For how long it stands.
    pub age: Duration,
}

/// Chooses which of the free connections is lent.
pub trait Pick: Send + Sync {
    /// The place of the one to lend, from 0. `None`, or a place that there is not: as
    /// [`PoolConfig::balance`](super::PoolConfig) says.
    ///
    /// Called by the thread that asks for a connection, under no lock, with a copy of what was
    /// free just now, at least two; if what it chooses is lent to somebody else meanwhile, that
    /// rule holds, too. It must not block. A panic is caught and logged, and counts as `None`.
    fn pick(&self, offers: &[Offer]) -> Option<usize>;
}

impl<F: Fn(&[Offer]) -> Option<usize> + Send + Sync> Pick for F {
    fn pick(&self, offers: &[Offer]) -> Option<usize> {
        self(offers)
    }
}

/// Whoever chooses for a pool.
#[derive(Clone)]
pub struct Picker(Arc<dyn Pick>);

/// The picker has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

impl Picker {
    /// Lets this one choose.
    pub fn new(pick: impl Pick + 'static) -> Picker {
        Picker(Arc::new(pick))
    }

    pub(super) fn choose(&self, offers: &[Offer]) -> Result<Option<usize>, Panicked> {
        catch_unwind(AssertUnwindSafe(|| self.0.pick(offers))).map_err(|_| Panicked)
    }
}

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picker")
    }
}

/// The same if the same chooses.
impl PartialEq for Picker {
    fn eq(&self, other: &Picker) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Picker {}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(lent: usize) -> Offer {
        Offer { address: "a:1".to_owned(), lent, served: 0, age: Duration::ZERO }
    }

    #[test]
    fn a_closure_chooses_and_a_panic_is_no_choice() {
        let busiest = Picker::new(|offers: &[Offer]| {
            offers.iter().enumerate().max_by_key(|(_, offer)| offer.lent).map(|(place, _)| place)
        });
        assert_eq!(busiest.choose(&[offer(1), offer(3), offer(2)]), Ok(Some(1)));
        let panics = Picker::new(|offers: &[Offer]| Some(offers[9].lent));
        assert_eq!(panics.choose(&[offer(1)]), Err(Panicked));
        assert!(busiest != panics && panics == panics.clone());
    }
}
