//! Rate limits for log lines that clients or servers can cause at will.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The window in which lines are counted.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one event about one tenant in a window: enough to see what is wrong, and that it
/// continues.
pub const PER_TENANT: u32 = 5;
/// Lines of one event in a window, over all tenants.
pub const IN_ALL: u32 = 50;
/// A line about a lasting state is repeated after this time.
pub const AGAIN: Duration = Duration::from_secs(60);

/// Counts the lines of each event. Its memory is bounded: the names of events are constants, and it
/// keeps only tenants and states of which a line was written, at most [`IN_ALL`] a window, for
/// twice [`AGAIN`].
#[derive(Debug, Default)]
pub struct Repeats<K>(Vec<RepeatedEvent<K>>);

#[derive(Debug)]
struct RepeatedEvent<K> {
    name: &'static str,
    since: Instant,
    written: u32,
    by_tenant: HashMap<K, u32>,
    left_out: u64,
    /// When to report how many were left out.
    report_at: Option<Instant>,
    states: HashMap<(K, &'static str), RepeatedState>,
}

#[derive(Debug)]
struct RepeatedState {
    written_at: Instant,
    left_out: u64,
}

/// Lines that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut<K> {
    /// Of which event.
    pub event: &'static str,
    /// The tenant and its state, for a line about a state.
    pub of: Option<(K, &'static str)>,
    /// How many.
    pub count: u64,
}

/// How many lines like this one were left out since the last one written. Displayed as the end of a
/// log line: ` repeated=7`, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated(pub u64);

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " repeated={count}"),
        }
    }
}

impl<K> Repeats<K> {
    /// Without any event.
    pub const fn new() -> Self {
        Repeats(Vec::new())
    }
}

impl<K: Clone + Eq + Hash> Repeats<K> {
    /// Whether a line of this event about this tenant may be written; if not, it is counted as left
    /// out.
    pub fn admit(&mut self, event: &'static str, tenant: Option<&K>, now: Instant) -> bool {
        let event = self.event(event, now);
        let admitted = event.has_room(tenant, now);
        if !admitted {
            event.leave_out();
        }
        admitted
    }

    /// Whether a line about a lasting state of the tenant may be written: the first, and then one
    /// in each [`AGAIN`], with the number left out between.
    pub fn admit_state(
        &mut self,
        event: &'static str,
        tenant: &K,
        state: &'static str,
        now: Instant,
    ) -> Option<Repeated> {
        let event = self.event(event, now);
        let key = (tenant.clone(), state);
        if let Some(known) = event.states.get_mut(&key) {
            if now.saturating_duration_since(known.written_at) < AGAIN {
                known.left_out += 1;
                return None;
            }
        }
        if !event.has_room(Some(tenant), now) {
            match event.states.get_mut(&key) {
                Some(known) => known.left_out += 1,
                None => event.leave_out(),
            }
            return None;
        }
        let before = event.states.insert(key, RepeatedState { written_at: now, left_out: 0 });
        Some(Repeated(before.map_or(0, |before| before.left_out)))
    }

    /// What was left out in windows that are over, and of states that have not occurred again
    /// since. Each line is reported once.
    pub fn due(&mut self, now: Instant) -> Vec<LeftOut<K>> {
        self.take(|at| at <= now, |written_at| written_at + 2 * AGAIN <= now)
    }

    /// All that was left out so far, also in windows that are not over.
    pub fn all(&mut self) -> Vec<LeftOut<K>> {
        self.take(|_| true, |_| true)
    }

    fn take(
        &mut self,
        which: impl Fn(Instant) -> bool,
        which_state: impl Fn(Instant) -> bool,
    ) -> Vec<LeftOut<K>> {
        let mut lines = Vec::new();
        for event in &mut self.0 {
            let name = event.name;
            if event.report_at.is_some_and(&which) {
                event.report_at = None;
                let count = std::mem::take(&mut event.left_out);
                lines.push(LeftOut { event: name, of: None, count });
            }
            event.states.retain(|key, state| {
                let over = which_state(state.written_at);
                if over && state.left_out > 0 {
                    let (of, count) = (Some(key.clone()), state.left_out);
                    lines.push(LeftOut { event: name, of, count });
                }
                !over
            });
        }
        lines
    }

    fn event(&mut self, name: &'static str, now: Instant) -> &mut RepeatedEvent<K> {
        let at = self.0.iter().position(|event| event.name == name).unwrap_or_else(|| {
            self.0.push(RepeatedEvent {
                name,
                since: now,
                written: 0,
                by_tenant: HashMap::new(),
                left_out: 0,
                report_at: None,
                states: HashMap::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

impl<K: Clone + Eq + Hash> RepeatedEvent<K> {
    /// Whether one more line may be written now; if so, it is counted.
    fn has_room(&mut self, tenant: Option<&K>, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.written) = (now, 0);
            self.by_tenant.clear();
        }
        let written = tenant.map_or(0, |tenant| self.by_tenant.get(tenant).copied().unwrap_or(0));
        if self.written >= IN_ALL || written >= PER_TENANT {
            return false;
        }
        self.written += 1;
        if let Some(tenant) = tenant {
            self.by_tenant.insert(tenant.clone(), written + 1);
        }
        true
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        self.report_at.get_or_insert(self.since + WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::start;

    fn left_out<K>(count: u64) -> Vec<LeftOut<K>> {
        vec![LeftOut { event: "x", of: None, count }]
    }

    #[test]
    fn a_tenant_has_a_few_lines_a_window_and_the_rest_is_reported_once_after_it() {
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

    #[test]
    fn a_state_is_written_when_it_begins_and_then_once_a_minute_with_a_count() {
        let (t0, mut repeats) = (start(), Repeats::new());
        let second = Duration::from_secs(1);
        let mut written = |n: u32| repeats.admit_state("x", &"a", "away", t0 + n * second);
        let lines: Vec<_> = (0..=120).filter_map(&mut written).collect();
        assert_eq!(lines, [Repeated(0), Repeated(59), Repeated(59)]);
        assert_eq!(format!("a{}b{}", Repeated(0), Repeated(7)), "ab repeated=7");
    }

    #[test]
    fn another_state_and_another_tenant_are_written_at_once_and_going_to_and_fro_is_not() {
        let (t0, mut repeats) = (start(), Repeats::new());
        let mut written = |tenant, state| repeats.admit_state("x", &tenant, state, t0).is_some();
        assert!(written("a", "away") && written("a", "full") && written("b", "away"));
        assert!(!written("a", "away") && !written("a", "full") && !written("b", "away"));
    }

    #[test]
    fn a_state_that_does_not_come_again_is_reported_after_a_while_and_forgotten() {
        let (t0, mut repeats) = (start(), Repeats::new());
        (0..8).for_each(|_| _ = repeats.admit_state("x", &"a", "away", t0));
        assert_eq!(repeats.due(t0 + AGAIN), []);
        let lines = vec![LeftOut { event: "x", of: Some(("a", "away")), count: 7 }];
        assert_eq!(repeats.due(t0 + 2 * AGAIN), lines);
        assert_eq!(repeats.due(t0 + 2 * AGAIN), []);
        assert!(repeats.0[0].states.is_empty());
    }

    #[test]
    fn states_of_all_tenants_have_a_bounded_number_of_lines_and_places_too() {
        let (t0, mut repeats) = (start(), Repeats::new());
        let written = |n: &u32| repeats.admit_state("x", n, "away", t0).is_some();
        assert_eq!((0..10_000).filter(written).count(), IN_ALL as usize);
        assert_eq!(repeats.0[0].states.len(), IN_ALL as usize);
        assert_eq!(repeats.due(t0 + WINDOW), left_out(9950));
    }
}
