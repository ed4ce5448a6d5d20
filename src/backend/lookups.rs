//! Host name lookups in progress, each on a thread of its own because getaddrinfo cannot be
//! cancelled.
//!
//! Requests for one name share its lookup: an unresponsive name server must not cost a
//! thread for every connect attempt. But a lost packet would then delay all of them, so
//! after a while a second lookup is started.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::lookup_slots::{Asker, LookupSlots};
use crate::threads;

/// Time without an answer after which another lookup of the name is started.
const AGAIN: Duration = Duration::from_secs(1);
/// The most lookups of one name at a time.
const OF_ONE: usize = 4;

/// The lookups in progress. Its lock, and that of each answer, is a leaf.
pub(super) struct Lookups<T> {
    state: Mutex<Option<LookupsState<T>>>,
    /// One has ended.
    ended: Condvar,
}

struct LookupsState<T> {
    names: HashMap<String, NameLookups<T>>,
    slots: LookupSlots,
}

/// One name that is being looked up.
struct NameLookups<T> {
    /// Lookups in progress; never 0.
    running: usize,
    /// When the last one began.
    since: Instant,
    /// The answer that requests wait for; `None` once it was given.
    answer: Option<Arc<LookupAnswer<T>>>,
}

/// The answer of the first lookup to finish.
struct LookupAnswer<T> {
    found: Mutex<Option<Result<T, NoLookup>>>,
    told: Condvar,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLookup {
    /// It did not arrive in time.
    Late,
    /// The lookup ended without one, or could not start.
    Gone,
}

/// An answer to come.
pub(super) struct Pending<T>(Arc<LookupAnswer<T>>);

/// Why a lookup was not started.
#[derive(Debug)]
pub(super) enum Refused {
    /// The limit of lookups is reached.
    TooMany,
    /// No thread could be started.
    NoThread(std::io::Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The value is consistent after each step below, so a poisoned lock is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + 'static> Lookups<T> {
    /// None yet.
    pub(super) const fn new() -> Lookups<T> {
        Lookups { state: Mutex::new(None), ended: Condvar::new() }
    }

    /// Joins the lookup in progress, or starts `look_up`, which may wait for its turn until
    /// `patience` is over.
    ///
    /// # Errors
    /// No lookup is in progress and none can be started.
    pub(super) fn join(
        &'static self,
        name: &str,
        asker: &Asker,
        patience: Duration,
        now: Instant,
        look_up: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pending<T>, Refused> {
        let mut joined = None;
        let waited = self.ended.wait_timeout_while(lock(&self.state), patience, |state| {
            joined = state.get_or_insert_default().join(name, asker, now);
            joined.is_none()
        });
        drop(waited);
        let (begins, answer) = joined.ok_or(Refused::TooMany)?;
        if begins {
            let (name, asker) = (name.to_owned(), asker.clone());
            let running = RunningLookup { lookups: self, name, asker, over: false };
            let begun = threads::spawn(threads::RESOLVER, move || running.answer(look_up()));
            // Another lookup may still answer.
            if let (Err(error), Some(Err(NoLookup::Gone))) = (begun, &*lock(&answer.found)) {
                return Err(Refused::NoThread(error));
            }
        }
        Ok(Pending(answer))
    }
}

impl<T> LookupsState<T> {
    /// The answer of a lookup in progress, or with true of one that the caller must start,
    /// which is counted. `None`: neither is possible now.
    fn join(
        &mut self,
        name: &str,
        asker: &Asker,
        now: Instant,
    ) -> Option<(bool, Arc<LookupAnswer<T>>)> {
        let Some(known) = self.names.get_mut(name) else {
            if !self.slots.take(asker) {
                return None;
            }
            let answer = Arc::<LookupAnswer<T>>::default();
            let fresh = NameLookups { running: 1, since: now, answer: Some(Arc::clone(&answer)) };
            self.names.insert(name.to_owned(), fresh);
            return Some((true, answer));
        };
        let begins = known.wants_another(now) && self.slots.take(asker);
        if begins {
            (known.running, known.since) = (known.running + 1, now);
        }
        if !begins && known.answer.is_none() {
            return None;
        }
        Some((begins, Arc::clone(known.answer.get_or_insert_default())))
    }
}

impl<T> Default for LookupsState<T> {
    fn default() -> LookupsState<T> {
        LookupsState { names: HashMap::new(), slots: LookupSlots::default() }
    }
}

impl<T> NameLookups<T> {
    /// True if another lookup of the name is to be started.
    fn wants_another(&self, now: Instant) -> bool {
        let late = now.saturating_duration_since(self.since) >= AGAIN;
        self.running < OF_ONE && (late || self.answer.is_none())
    }
}

impl<T> Default for LookupAnswer<T> {
    fn default() -> LookupAnswer<T> {
        LookupAnswer { found: Mutex::new(None), told: Condvar::new() }
    }
}

impl<T: Clone> Pending<T> {
    /// Waits for the answer, at most `limit`.
    pub(super) fn wait(self, limit: Duration) -> Result<T, NoLookup> {
        let found = lock(&self.0.found);
        let waited = self.0.told.wait_timeout_while(found, limit, |found| found.is_none());
        let found = waited.unwrap_or_else(PoisonError::into_inner).0;
        found.clone().unwrap_or(Err(NoLookup::Late))
    }
}

impl<T> LookupAnswer<T> {
    fn tell(&self, found: Result<T, NoLookup>) {
        *lock(&self.found) = Some(found);
        self.told.notify_all();
    }
}

/// One lookup in progress. Its drop takes it out of the count.
struct RunningLookup<T: 'static> {
    lookups: &'static Lookups<T>,
    name: String,
    asker: Asker,
    over: bool,
}

impl<T> RunningLookup<T> {
    fn answer(mut self, found: T) {
        self.end(Ok(found));
    }

    /// Gives the answer to the waiting requests. Without one they may still get that of
    /// another lookup.
    fn end(&mut self, found: Result<T, NoLookup>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let mut guard = lock(&self.lookups.state);
        let Some(state) = guard.as_mut() else { return };
        state.slots.give_back(&self.asker);
        let Some(known) = state.names.get_mut(&self.name) else { return };
        known.running -= 1;
        let is_last = known.running == 0;
        let answer = if is_last || found.is_ok() { known.answer.take() } else { None };
        if is_last {
            state.names.remove(&self.name);
        }
        drop(guard);
        self.lookups.ended.notify_all();
        if let Some(answer) = answer {
            answer.tell(found);
        }
    }
}

impl<T> Drop for RunningLookup<T> {
    fn drop(&mut self) {
        self.end(Err(NoLookup::Gone));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{unbounded, Receiver, Sender};

    use super::*;
    use crate::clock;
    use crate::core::callers::CallerId;
    use crate::core::ids::TenantId;
    use crate::core::lookup_slots::{OF_ALL, OF_TENANT};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn asker(n: usize) -> Asker {
        let tenant = TenantId::parse(&format!("t{n}")).expect("a good name");
        Asker { tenant, caller: CallerId::new(&format!("c{n}")) }
    }

    /// A resolver that answers what the test sends, and no sooner.
    struct Resolver {
        lookups: &'static Lookups<u32>,
        say: Sender<u32>,
        said: Receiver<u32>,
        t0: Instant,
    }

    impl Resolver {
        fn new() -> Resolver {
            let (say, said) = unbounded();
            let lookups = Box::leak(Box::new(Lookups::new()));
            Resolver { lookups, say, said, t0: clock::now() }
        }

        fn join(&self, name: &str, after: Duration) -> Result<Pending<u32>, Refused> {
            self.join_for(1, Duration::ZERO, name, after)
        }

        /// The same for another tenant and connection, with patience.
        fn join_for(
            &self,
            who: usize,
            patience: Duration,
            name: &str,
            after: Duration,
        ) -> Result<Pending<u32>, Refused> {
            let (said, now) = (self.said.clone(), self.t0 + after);
            let tell = move || said.recv().expect("it is told");
            self.lookups.join(name, &asker(who), patience, now, tell)
        }

        fn running(&self) -> usize {
            let state = lock(&self.lookups.state);
            let names = state.iter().flat_map(|state| state.names.values());
            let running = names.map(|name| name.running).sum();
            assert_eq!(state.as_ref().map_or(0, |state| state.slots.running()), running);
            running
        }

        /// Until so many run.
        fn wait_for(&self, running: usize) {
            let until = clock::now() + PATIENCE;
            while self.running() != running {
                assert!(clock::now() < until, "{} run", self.running());
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn all_who_want_a_name_at_once_share_one_lookup() {
        let resolver = Resolver::new();
        let pending: Vec<_> =
            (0..100).map(|_| resolver.join("a:1", Duration::ZERO).expect("it joins")).collect();
        assert_eq!(resolver.running(), 1);
        let other = resolver.join("b:1", Duration::ZERO).expect("it begins");
        assert_eq!(resolver.running(), 2);
        resolver.say.send(7).expect("somebody waits");
        resolver.say.send(7).expect("somebody waits");
        assert!(pending.into_iter().all(|pending| pending.wait(PATIENCE) == Ok(7)));
        assert_eq!(other.wait(PATIENCE), Ok(7));
        resolver.wait_for(0);
        // Nothing is remembered.
        let again = resolver.join("a:1", Duration::ZERO).expect("it begins");
        resolver.say.send(8).expect("somebody waits");
        assert_eq!(again.wait(PATIENCE), Ok(8));
    }

    #[test]
    fn one_that_says_nothing_gets_company_after_a_while_and_no_more_than_that() {
        let resolver = Resolver::new();
        let first = resolver.join("a:1", Duration::ZERO).expect("it begins");
        let again = |times: u32| resolver.join("a:1", times * AGAIN).expect("it joins");
        let just_before = resolver.join("a:1", AGAIN - Duration::from_millis(1));
        assert_eq!(resolver.running(), 1);
        let later: Vec<_> = (1..100).map(again).collect();
        assert_eq!(resolver.running(), OF_ONE);
        // Who asks for a moment only is not kept.
        assert_eq!(again(100).wait(Duration::ZERO), Err(NoLookup::Late));
        resolver.say.send(7).expect("somebody waits");
        assert_eq!(just_before.expect("it joined").wait(PATIENCE), Ok(7));
        let all = later.into_iter().chain([first]);
        assert!(all.into_iter().all(|pending| pending.wait(PATIENCE) == Ok(7)));
        // A later request does not get that answer, and need not wait for those that
        // still run.
        resolver.wait_for(OF_ONE - 1);
        let fresh = resolver.join("a:1", 100 * AGAIN).expect("it begins");
        assert_eq!(resolver.running(), OF_ONE);
        (0..4).for_each(|_| resolver.say.send(8).expect("somebody waits"));
        assert_eq!(fresh.wait(PATIENCE), Ok(8));
        resolver.wait_for(0);
    }

    #[test]
    fn all_together_have_a_limit_and_none_is_lost_by_a_panic() {
        let resolver = Resolver::new();
        let join =
            |n: usize| resolver.join_for(n, Duration::ZERO, &format!("host{n}:1"), Duration::ZERO);
        let pending: Vec<_> = (0..OF_ALL).map(join).collect();
        assert!(pending.iter().all(Result::is_ok));
        assert!(matches!(join(OF_ALL), Err(Refused::TooMany)));
        // Who joins costs nothing.
        assert!(join(0).is_ok());
        // Those that panic end as well, and are not waited for.
        let Resolver { lookups, say, said, t0 } = resolver;
        drop(say);
        for pending in pending.into_iter().flatten() {
            assert_eq!(pending.wait(PATIENCE), Err(NoLookup::Gone));
        }
        Resolver { lookups, say: unbounded().0, said, t0 }.wait_for(0);
    }

    #[test]
    fn one_tenant_waits_for_its_own_and_nobody_else_for_them() {
        let resolver = Resolver::new();
        let join = |name: &str| resolver.join(name, Duration::ZERO);
        let own: Vec<_> = (0..OF_TENANT).map(|n| join(&format!("host{n}:1"))).collect();
        assert!(own.iter().all(Result::is_ok));
        assert!(matches!(join("fifth:1"), Err(Refused::TooMany)));
        let other = resolver.join_for(2, Duration::ZERO, "fifth:1", Duration::ZERO);
        assert!(other.is_ok());
        // It has its turn as soon as one of its own has ended.
        std::thread::scope(|scope| {
            let sixth = scope.spawn(|| {
                let sixth = resolver.join_for(1, PATIENCE, "sixth:1", Duration::ZERO);
                sixth.expect("it begins").wait(PATIENCE)
            });
            (0..=OF_TENANT + 1).for_each(|_| resolver.say.send(7).expect("somebody waits"));
            assert_eq!(sixth.join().expect("no panic"), Ok(7));
        });
        resolver.wait_for(0);
    }
}
