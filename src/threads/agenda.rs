//! When each of many sources falls due, so that a round of the reaper visits those that are
//! due, and no others.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::core::deadlines::Deadlines;
use crate::lock::Leaf;
use crate::threads;
use crate::threads::bell::Bell;

/// A source that panicked is visited again after this.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Something with deadlines of its own.
pub trait DueSource: Send + Sync {
    /// Acts on up to `limit` deadlines that are over at `now`. Returns the next one. It must
    /// not block.
    fn act(&self, now: Instant, limit: usize) -> Option<Instant>;
}

/// The next deadline of each source.
///
/// A deadline may be noted that does not hold any more: the visit then finds nothing, and
/// notes the source's next one. So a source needs to note only what comes earlier.
pub struct Agenda {
    entries: Leaf<Entries>,
    bell: Bell,
}

/// Both have the same keys: the addresses of the sources, which nothing else gets while the
/// `Weak` is here.
#[derive(Default)]
struct Entries {
    deadlines: Deadlines<usize>,
    sources: HashMap<usize, Weak<dyn DueSource>>,
}

impl Agenda {
    /// No deadlines yet; `bell` wakes the reaper for earlier ones.
    pub fn new(bell: Bell) -> Agenda {
        Agenda { entries: Leaf::default(), bell }
    }

    /// The source has something that falls due at `at`.
    pub fn note(&self, source: Weak<dyn DueSource>, at: Instant) {
        let key = source.as_ptr().cast::<()>() as usize;
        let mut entries = self.entries.lock();
        if entries.deadlines.of(&key).is_some_and(|noted| noted <= at) {
            return;
        }
        entries.deadlines.set(key, at);
        let replaced = entries.sources.insert(key, source);
        drop(entries);
        drop(replaced);
        self.bell.due(at);
    }

    /// Visits up to `limit` sources that are due, each for up to `limit` deadlines. Returns
    /// when the next is due.
    pub fn visit_due(&self, now: Instant, limit: usize) -> Option<Instant> {
        for source in self.take_due(now, limit) {
            let visit = || source.upgrade().and_then(|source| source.act(now, limit));
            // A panic in one costs that one a moment, and no other anything.
            let next = threads::survive(threads::REAPER, visit);
            if let Some(next) = next.unwrap_or(Some(now + AFTER_PANIC)) {
                self.note(source, next);
            }
        }
        self.entries.lock().deadlines.next()
    }

    fn take_due(&self, now: Instant, limit: usize) -> Vec<Weak<dyn DueSource>> {
        let mut entries = self.entries.lock();
        let due = entries.deadlines.pop_due(now, limit);
        due.iter().filter_map(|key| entries.sources.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts its visits, and is due again after as many seconds as the test sets.
    #[derive(Default)]
    struct Counted {
        visits: AtomicUsize,
        again: Mutex<Option<Duration>>,
        panics: bool,
    }

    impl DueSource for Counted {
        fn act(&self, now: Instant, _: usize) -> Option<Instant> {
            self.visits.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "injected");
            self.again.lock().expect("no panic").map(|again| now + again)
        }
    }

    impl Counted {
        fn weak(self: &Arc<Self>) -> Weak<dyn DueSource> {
            Arc::downgrade(self) as Weak<dyn DueSource>
        }

        fn visits(&self) -> usize {
            self.visits.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn a_round_visits_those_that_are_due_and_no_others() {
        let (agenda, t0) = (Agenda::new(Bell::default()), clock::now());
        let [soon, late] = [Arc::<Counted>::default(), Arc::<Counted>::default()];
        agenda.note(late.weak(), t0 + 9 * SECOND);
        agenda.note(soon.weak(), t0 + 2 * SECOND);
        agenda.note(soon.weak(), t0 + SECOND);
        agenda.note(soon.weak(), t0 + 3 * SECOND);
        assert_eq!(agenda.visit_due(t0, 10), Some(t0 + SECOND));
        assert_eq!(agenda.visit_due(t0 + SECOND, 10), Some(t0 + 9 * SECOND));
        assert_eq!((soon.visits(), late.visits()), (1, 0));
        assert_eq!(agenda.visit_due(t0 + 9 * SECOND, 10), None);
        assert_eq!((soon.visits(), late.visits()), (1, 1));
    }

    #[test]
    fn a_source_is_visited_again_when_it_says_so() {
        let (agenda, t0) = (Agenda::new(Bell::default()), clock::now());
        let again = Mutex::new(Some(SECOND));
        let source = Arc::new(Counted { again, ..Counted::default() });
        agenda.note(source.weak(), t0);
        assert_eq!(agenda.visit_due(t0, 10), Some(t0 + SECOND));
        *source.again.lock().expect("no panic") = None;
        assert_eq!(agenda.visit_due(t0 + SECOND, 10), None);
        assert_eq!(source.visits(), 2);
    }

    #[test]
    fn one_that_panics_is_visited_again_and_costs_no_other() {
        let (agenda, t0) = (Agenda::new(Bell::default()), clock::now());
        let panics = Arc::new(Counted { panics: true, ..Counted::default() });
        let other = Arc::<Counted>::default();
        agenda.note(panics.weak(), t0);
        agenda.note(other.weak(), t0);
        assert_eq!(agenda.visit_due(t0, 10), Some(t0 + AFTER_PANIC));
        assert_eq!((panics.visits(), other.visits()), (1, 1));
    }

    #[test]
    fn a_source_that_is_gone_leaves_nothing() {
        let (agenda, t0) = (Agenda::new(Bell::default()), clock::now());
        let gone = Arc::<Counted>::default();
        agenda.note(gone.weak(), t0);
        drop(gone);
        assert_eq!(agenda.visit_due(t0, 10), None);
        assert!(agenda.entries.lock().sources.is_empty());
    }

    #[test]
    fn the_reaper_is_woken_for_an_earlier_deadline_only() {
        let (bell, t0) = (Bell::default(), clock::now());
        let (agenda, source) = (Agenda::new(bell.clone()), Arc::<Counted>::default());
        bell.sleep_until(t0 + 10 * SECOND);
        agenda.note(source.weak(), t0 + 11 * SECOND);
        assert!(bell.heard().is_empty());
        agenda.note(source.weak(), t0 + 9 * SECOND);
        assert_eq!(bell.heard().len(), 1);
    }
}
