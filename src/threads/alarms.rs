//! Runs actions at given times, on one thread. Dropping the guard of an alarm before its time
//! cancels it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::lock::Leaf;
use crate::threads;
use crate::threads::bell::Bell;

type Action = Box<dyn FnOnce() + Send>;

/// All alarms that are set. In one piece, as each call has its clones.
#[derive(Clone)]
pub struct Alarms(Arc<SharedAlarms>);

struct SharedAlarms {
    set: Leaf<AlarmSet>,
    bell: Bell,
}

#[derive(Default)]
struct AlarmSet {
    next: u64,
    /// By their times; those of the same moment in the order in which they were set.
    actions: BTreeMap<(Instant, u64), Action>,
}

impl AlarmSet {
    fn add(&mut self, at: Instant, action: Action) -> (Instant, u64) {
        let key = (at, self.next);
        self.next += 1;
        self.actions.insert(key, action);
        key
    }
}

/// Clears its alarm when dropped.
#[must_use]
pub struct Alarm {
    key: (Instant, u64),
    alarms: Alarms,
}

impl Alarms {
    /// No alarms yet; `bell` wakes the thread that runs them.
    pub fn new(bell: Bell) -> Alarms {
        Alarms(Arc::new(SharedAlarms { set: Leaf::default(), bell }))
    }

    /// Runs `action` on that thread at `at`, unless the guard is dropped before.
    /// Actions must not block.
    pub fn set(&self, at: Instant, action: impl FnOnce() + Send + 'static) -> Alarm {
        let key = self.0.set.lock().add(at, Box::new(action));
        self.0.bell.due(at);
        Alarm { key, alarms: self.clone() }
    }

    /// Runs `action` on that thread as soon as it comes round.
    pub fn soon(&self, now: Instant, action: impl FnOnce() + Send + 'static) {
        self.0.set.lock().add(now, Box::new(action));
        self.0.bell.due(now);
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.set.lock().actions.first_key_value().map(|((at, _), _)| *at)
    }

    /// Runs up to `limit` that are due. Returns how many.
    pub fn run_due(&self, now: Instant, limit: usize) -> usize {
        let mut due = Vec::new();
        let mut set = self.0.set.lock();
        while due.len() < limit {
            let first = set.actions.first_entry().filter(|first| first.key().0 <= now);
            let Some(first) = first else { break };
            due.push(first.remove());
        }
        drop(set);
        let count = due.len();
        // A panic in one costs that one.
        for action in due {
            threads::survive(threads::REAPER, action);
        }
        count
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let action = self.alarms.0.set.lock().actions.remove(&self.key);
        // The action's own values are dropped without the lock.
        drop(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_alarm_runs_once_when_due_and_never_after_its_guard_is_gone() {
        let alarms = Alarms::new(Bell::default());
        let t0 = crate::clock::now();
        let (tell, told) = crossbeam_channel::unbounded();
        let other = tell.clone();
        let kept = alarms.set(t0 + Duration::from_secs(1), move || {
            let _ = tell.send("kept");
        });
        let dropped = alarms.set(t0 + Duration::from_secs(1), move || {
            let _ = other.send("dropped");
        });
        drop(dropped);
        assert_eq!(alarms.run_due(t0, 10), 0);
        assert_eq!(alarms.run_due(t0 + Duration::from_secs(1), 10), 1);
        assert_eq!(alarms.run_due(t0 + Duration::from_secs(2), 10), 0);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["kept"]);
        drop(kept);
        assert!(alarms.next().is_none());
    }

    #[test]
    fn no_more_than_the_limit_run_at_once_and_the_earliest_first() {
        let alarms = Alarms::new(Bell::default());
        let (t0, (tell, told)) = (crate::clock::now(), crossbeam_channel::unbounded());
        for (name, after) in [("c", 2), ("a", 1), ("d", 2), ("b", 1), ("e", 9)] {
            let tell = tell.clone();
            let guard = alarms.set(t0 + Duration::from_secs(after), move || {
                let _ = tell.send(name);
            });
            std::mem::forget(guard);
        }
        assert_eq!(alarms.run_due(t0 + Duration::from_secs(2), 3), 3);
        assert_eq!(alarms.next(), Some(t0 + Duration::from_secs(2)));
        assert_eq!(alarms.run_due(t0 + Duration::from_secs(2), 3), 1);
        assert_eq!(told.try_iter().collect::<String>(), "abcd");
    }

    #[test]
    fn a_panic_in_one_costs_no_other_that_is_due_with_it() {
        let alarms = Alarms::new(Bell::default());
        let (t0, (tell, told)) = (crate::clock::now(), crossbeam_channel::unbounded());
        alarms.soon(t0, || panic!("injected"));
        alarms.soon(t0, move || {
            let _ = tell.send(());
        });
        alarms.run_due(t0, 10);
        assert_eq!(told.len(), 1);
    }
}
