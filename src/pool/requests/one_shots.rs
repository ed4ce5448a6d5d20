//! The one-shots that run, so that a stop can end them: they have no lease that it would find.

use std::sync::{Arc, Weak};

use crate::lock::Leaf;

/// What runs, and can be ended because the service stops.
pub trait Stoppable: Send + Sync {
    /// Ends it. Does not block.
    fn stop(self: Arc<Self>);
}

/// All one-shots that run. Cheap to clone.
#[derive(Clone, Default)]
pub struct OneShots(Arc<Leaf<Places>>);

#[derive(Default)]
struct Places {
    running: Vec<Option<Weak<dyn Stoppable>>>,
    free: Vec<usize>,
}

/// That a one-shot runs, until this is dropped.
#[must_use]
pub struct OneShotPlace {
    all: OneShots,
    at: usize,
}

impl OneShots {
    /// This one runs from now on.
    pub fn enter(&self, one: &Arc<impl Stoppable + 'static>) -> OneShotPlace {
        let one = Some(Arc::downgrade(one) as Weak<dyn Stoppable>);
        let mut places = self.0.lock();
        let at = match places.free.pop() {
            Some(at) => {
                places.running[at] = one;
                at
            }
            None => {
                places.running.push(one);
                places.running.len() - 1
            }
        };
        drop(places);
        OneShotPlace { all: self.clone(), at }
    }

    /// Ends all of them.
    pub fn stop_all(&self) {
        let running: Vec<_> = self.0.lock().running.iter().flatten().cloned().collect();
        running.iter().filter_map(Weak::upgrade).for_each(Stoppable::stop);
    }
}

impl Drop for OneShotPlace {
    fn drop(&mut self) {
        let mut places = self.all.0.lock();
        let gone = places.running[self.at].take();
        places.free.push(self.at);
        drop(places);
        drop(gone);
    }
}
