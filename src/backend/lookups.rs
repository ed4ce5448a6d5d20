//! Lookups of host names that are under way, each on a thread of its own because
//! none can be broken off.
//!
//! Whoever wants a name that is being looked up waits for that: a name server that
//! says nothing must not cost a thread for every attempt to connect. But what was lost
//! on its way would hold everybody up, so after a while a lookup is begun beside it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::threads;

/// After so long without an answer a name is looked up once more.
const AGAIN: Duration = Duration::from_secs(1);
/// Lookups of one name at a time, and of all.
const OF_ONE: usize = 4;
const OF_ALL: usize = if cfg!(test) { 32 } else { 512 };

/// The lookups that are under way. Its lock, and that of each answer, is a leaf.
pub(super) struct Lookups<T>(Mutex<Option<HashMap<String, Name<T>>>>);

/// One name that is being looked up.
struct Name<T> {
    /// Lookups under way; never 0.
    running: usize,
    /// When the last one began.
    since: Instant,
    /// For those who wait; `None` once they were told.
    answer: Option<Arc<Answer<T>>>,
}

/// What the first of several lookups says.
struct Answer<T> {
    found: Mutex<Option<Result<T, NoAnswer>>>,
    told: Condvar,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It has not come in time.
    Late,
    /// The lookup has ended without one, or could not begin.
    Gone,
}

/// An answer to come.
pub(super) struct Pending<T>(Arc<Answer<T>>);

/// Why a name is not looked up.
#[derive(Debug)]
pub(super) enum Refused {
    /// As many are under way as may be.
    TooMany,
    /// There is no thread for it.
    NoThread(std::io::Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole between the steps below, which do not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + 'static> Lookups<T> {
    /// None yet.
    pub(super) const fn new() -> Lookups<T> {
        Lookups(Mutex::new(None))
    }

    /// The answer to come: of a lookup that is under way, or of `look_up`.
    ///
    /// # Errors
    /// If that cannot be begun, and none is under way.
    pub(super) fn join(
        &'static self,
        name: &str,
        now: Instant,
        look_up: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pending<T>, Refused> {
        let mut guard = lock(&self.0);
        let names = guard.get_or_insert_default();
        let room = names.values().map(|name| name.running).sum::<usize>() < OF_ALL;
        let (begins, answer) = match names.get_mut(name) {
            Some(known) => {
                let begins = room && known.begins(now);
                if !begins && known.answer.is_none() {
                    return Err(Refused::TooMany);
                }
                (begins, Arc::clone(known.answer.get_or_insert_default()))
            }
            None if !room => return Err(Refused::TooMany),
            None => {
                let answer = Arc::<Answer<T>>::default();
                let fresh = Name { running: 1, since: now, answer: Some(Arc::clone(&answer)) };
                names.insert(name.to_owned(), fresh);
                (true, answer)
            }
        };
        drop(guard);
        if begins {
            let running = Running { lookups: self, name: name.to_owned(), ended: false };
            let begun = threads::spawn(threads::RESOLVER, move || running.answer(look_up()));
            // Another one may still answer.
            if let (Err(error), Some(Err(NoAnswer::Gone))) = (begun, &*lock(&answer.found)) {
                return Err(Refused::NoThread(error));
            }
        }
        Ok(Pending(answer))
    }
}

impl<T> Name<T> {
    /// True, and counted, if one more lookup is to begin.
    fn begins(&mut self, now: Instant) -> bool {
        let late = now.saturating_duration_since(self.since) >= AGAIN;
        let begins = self.running < OF_ONE && (late || self.answer.is_none());
        if begins {
            (self.running, self.since) = (self.running + 1, now);
        }
        begins
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Answer<T> {
        Answer { found: Mutex::new(None), told: Condvar::new() }
    }
}

impl<T: Clone> Pending<T> {
    /// The answer, if it comes within `limit`.
    pub(super) fn wait(self, limit: Duration) -> Result<T, NoAnswer> {
        let found = lock(&self.0.found);
        let waited = self.0.told.wait_timeout_while(found, limit, |found| found.is_none());
        let found = waited.unwrap_or_else(PoisonError::into_inner).0;
        found.clone().unwrap_or(Err(NoAnswer::Late))
    }
}

impl<T> Answer<T> {
    fn tell(&self, found: Result<T, NoAnswer>) {
        *lock(&self.found) = Some(found);
        self.told.notify_all();
    }
}

/// One lookup. However it ends, it no longer counts.
struct Running<T: 'static> {
    lookups: &'static Lookups<T>,
    name: String,
    ended: bool,
}

impl<T> Running<T> {
    fn answer(mut self, found: T) {
        self.end(Ok(found));
    }

    /// Tells those who wait. Without an answer they may still get one of another.
    fn end(&mut self, found: Result<T, NoAnswer>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut guard = lock(&self.lookups.0);
        let Some(names) = guard.as_mut() else { return };
        let Some(known) = names.get_mut(&self.name) else { return };
        known.running -= 1;
        let is_last = known.running == 0;
        let answer = if is_last || found.is_ok() { known.answer.take() } else { None };
        if is_last {
            names.remove(&self.name);
        }
        drop(guard);
        if let Some(answer) = answer {
            answer.tell(found);
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.end(Err(NoAnswer::Gone));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{unbounded, Receiver, Sender};

    use super::*;
    use crate::clock;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A resolver that says what it is told, and no sooner.
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
            let said = self.said.clone();
            self.lookups.join(name, self.t0 + after, move || said.recv().expect("it is told"))
        }

        fn running(&self) -> usize {
            let names = lock(&self.lookups.0);
            names.iter().flat_map(HashMap::values).map(|name| name.running).sum()
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
        assert_eq!(again(100).wait(Duration::ZERO), Err(NoAnswer::Late));
        resolver.say.send(7).expect("somebody waits");
        assert_eq!(just_before.expect("it joined").wait(PATIENCE), Ok(7));
        let all = later.into_iter().chain([first]);
        assert!(all.into_iter().all(|pending| pending.wait(PATIENCE) == Ok(7)));
        // Whoever comes now is not given that one, and need not wait for those that
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
        let join = |n: usize| resolver.join(&format!("host{n}:1"), Duration::ZERO);
        let pending: Vec<_> = (0..OF_ALL).map(join).collect();
        assert!(pending.iter().all(Result::is_ok));
        assert!(matches!(join(OF_ALL), Err(Refused::TooMany)));
        // Who joins costs nothing.
        assert!(join(0).is_ok());
        // Those that panic end as well, and are not waited for.
        let Resolver { lookups, say, said, t0 } = resolver;
        drop(say);
        for pending in pending.into_iter().flatten() {
            assert_eq!(pending.wait(PATIENCE), Err(NoAnswer::Gone));
        }
        Resolver { lookups, say: unbounded().0, said, t0 }.wait_for(0);
    }
}
