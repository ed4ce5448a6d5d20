//! Which lines of the log may be written, of those that others can cause at will.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Lines are counted for so long; then they count anew.
pub const WINDOW: Duration = Duration::from_secs(10);
/// So many lines of one event about one tenant are written in that time: enough to see
/// what is wrong, and that it goes on.
pub const PER_TENANT: u32 = 5;
/// So many lines of one event in all.
pub const IN_ALL: u32 = 50;

/// Counts the lines of each event. What it remembers is bounded: the names of events are
/// constants, and of the tenants it knows those of whom a line was written, at most
/// [`IN_ALL`] an event.
#[derive(Debug, Default)]
pub struct Repeats<K>(Vec<Event<K>>);

#[derive(Debug)]
struct Event<K> {
    name: &'static str,
    since: Instant,
    written: u32,
    by_tenant: HashMap<K, u32>,
    left_out: u64,
    /// When to say how many were left out.
    tell_at: Option<Instant>,
}

/// Lines that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Of which event.
    pub event: &'static str,
    /// How many.
    pub count: u64,
}

impl<K> Repeats<K> {
    /// Nothing was written yet.
    pub const fn new() -> Self {
        Repeats(Vec::new())
    }
}

impl<K: Clone + Eq + Hash> Repeats<K> {
    /// Whether a line of this event, about this tenant, may be written; if not, it counts
    /// as left out.
    pub fn admit(&mut self, event: &'static str, tenant: Option<&K>, now: Instant) -> bool {
        let event = self.event(event, now);
        if now.saturating_duration_since(event.since) >= WINDOW {
            (event.since, event.written) = (now, 0);
            event.by_tenant.clear();
        }
        let written = tenant.map_or(0, |tenant| event.by_tenant.get(tenant).copied().unwrap_or(0));
        if event.written >= IN_ALL || written >= PER_TENANT {
            event.left_out += 1;
            event.tell_at.get_or_insert(event.since + WINDOW);
            return false;
        }
        event.written += 1;
        if let Some(tenant) = tenant {
            event.by_tenant.insert(tenant.clone(), written + 1);
        }
        true
    }

    /// What was left out in windows that are over. Each line is told of once.
    pub fn due(&mut self, now: Instant) -> Vec<LeftOut> {
        self.take(|at| at <= now)
    }

    /// What was left out so far, also in windows that are not over.
    pub fn all(&mut self) -> Vec<LeftOut> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(Instant) -> bool) -> Vec<LeftOut> {
        let due = self.0.iter_mut().filter(|event| event.tell_at.is_some_and(&which));
        let told = due.map(|event| {
            event.tell_at = None;
            LeftOut { event: event.name, count: std::mem::take(&mut event.left_out) }
        });
        told.collect()
    }

    fn event(&mut self, name: &'static str, now: Instant) -> &mut Event<K> {
        let at = self.0.iter().position(|event| event.name == name).unwrap_or_else(|| {
            self.0.push(Event {
                name,
                since: now,
                written: 0,
                by_tenant: HashMap::new(),
                left_out: 0,
                tell_at: None,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::start;

    fn left_out(count: u64) -> Vec<LeftOut> {
        vec![LeftOut { event: "x", count }]
    }

    #[test]
    fn a_tenant_has_a_few_lines_a_window_and_the_rest_is_told_of_once_after_it() {
        let (t0, mut repeats) = (start(), Repeats::new());
        let written = (0..20).filter(|_| repeats.admit("x", Some(&"a"), t0)).count();
        assert_eq!(written, PER_TENANT as usize);
        assert!(repeats.admit("x", Some(&"b"), t0), "another tenant has lines of its own");
        assert!(repeats.admit("y", Some(&"a"), t0), "another event has lines of its own");
        assert_eq!(repeats.due(t0 + WINDOW / 2), []);
        assert_eq!(repeats.due(t0 + WINDOW), left_out(15));
        assert_eq!(repeats.due(t0 + WINDOW), []);
        assert!(repeats.admit("x", Some(&"a"), t0 + WINDOW), "it may speak again");
    }

    #[test]
    fn all_tenants_together_have_a_bounded_number_of_lines_and_of_places_in_memory() {
        let (t0, mut repeats) = (start(), Repeats::new());
        let written = (0..10_000).filter(|n| repeats.admit("x", Some(n), t0)).count();
        assert_eq!(written, IN_ALL as usize);
        assert_eq!(repeats.0[0].by_tenant.len(), IN_ALL as usize);
        assert_eq!(repeats.all(), left_out(9950));
        let nobody = (0..100).filter(|_| repeats.admit("z", None, t0)).count();
        assert_eq!(nobody, IN_ALL as usize, "lines of no tenant count in all");
    }

    #[test]
    fn what_was_left_out_is_not_forgotten_when_the_next_window_begins() {
        let (t0, mut repeats) = (start(), Repeats::new());
        (0..9).for_each(|_| _ = repeats.admit("x", Some(&"a"), t0));
        (0..9).for_each(|_| _ = repeats.admit("x", Some(&"a"), t0 + WINDOW));
        assert_eq!(repeats.due(t0 + WINDOW), left_out(8));
        assert_eq!(repeats.due(t0 + 2 * WINDOW), []);
    }
}
