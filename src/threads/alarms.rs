//! Runs actions at given times, on one thread. Dropping the guard of an alarm before its time
//! cancels it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::core::deadlines::Deadlines;
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
    deadlines: Deadlines<u64>,
    actions: HashMap<u64, Action>,
}

/// Clears its alarm when dropped.
#[must_use]
pub struct Alarm {
    id: u64,
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
        let mut set = self.0.set.lock();
        let id = set.next;
        set.next += 1;
        set.deadlines.set(id, at);
        set.actions.insert(id, Box::new(action));
        drop(set);
        self.0.bell.due(at);
        Alarm { id, alarms: self.clone() }
    }

    /// Runs `action` on that thread as soon as it comes round.
    pub fn soon(&self, now: Instant, action: impl FnOnce() + Send + 'static) {
        let mut set = self.0.set.lock();
        let id = set.next;
        set.next += 1;
        set.deadlines.set(id, now);
        set.actions.insert(id, Box::new(action));
        drop(set);
        self.0.bell.due(now);
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.set.lock().deadlines.next()
    }

    /// Runs up to `limit` that are due. Returns how many.
    pub fn run_due(&self, now: Instant, limit: usize) -> usize {
        let mut set = self.0.set.lock();
        let due = set.deadlines.pop_due(now, limit);
        let actions: Vec<Action> = due.iter().filter_map(|id| set.actions.remove(id)).collect();
        drop(set);
        let count = actions.len();
        // A panic in one costs that one.
        for action in actions {
            threads::survive(threads::REAPER, action);
        }
        count
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut set = self.alarms.0.set.lock();
        set.deadlines.clear(&self.id);
        let action = set.actions.remove(&self.id);
        drop(set);
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
