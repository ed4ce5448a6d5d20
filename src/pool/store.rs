//! The tenant's r2d2 pool, so that open backends never exceed permits.
//!
//! Who has a permit either takes an idle backend or, if there is none, opens one
//! and brings it in. r2d2 cannot be told "take in exactly this one": asked while
//! another is idle it would give that one, and the next permit holder would find
//! nothing and open one too many. So taking, bringing in and putting back happen
//! under one lock, and bringing in first lifts out whatever is idle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use scheduled_thread_pool::ScheduledThreadPool;

use crate::backend::session::Backend;
use crate::core::servers::SeatId;
use crate::pool::manager::{Manager, Slot, Stash};
use crate::pool::open_backends::{OpenBackend, OpenBackends, OpenCount};
use crate::pool::servers::{Seat, Servers};

/// A backend checked out of the pool.
pub type Taken = r2d2::PooledConnection<Manager>;

/// Taking in what lies ready is a matter of microseconds; more is a defect.
const TAKE_IN_LIMIT: Duration = Duration::from_secs(5);

/// One tenant's backends at rest.
pub struct Store {
    pool: r2d2::Pool<Manager>,
    stash: Stash,
    /// Guards the order of taking, bringing in and putting back. No I/O happens
    /// under it: r2d2's thread only moves a value that is ready.
    books: Mutex<()>,
    /// The tenant's backends in all of its pools.
    open: OpenBackends,
    /// Told under the books what rests, so that it knows neither more nor less.
    servers: Servers,
    /// Another has taken its place.
    replaced: Arc<AtomicBool>,
}

/// A backend as a list has it.
pub struct ListedBackend {
    /// What is known of it since it was opened.
    pub opened: OpenBackend,
    /// Since when it rests, and when it last answered; `None` while it is in use.
    pub rests: Option<(Instant, Instant)>,
}

/// What is there for a permit.
pub enum ForPermit {
    /// An idle backend.
    Idle(Taken),
    /// None is idle, and one may be opened.
    Open(OpenCount),
    /// None is idle, and as many are open as may be: some of them are being closed.
    Full,
}

impl Store {
    /// An empty store for at most `max` backends, which count in `open`.
    pub fn new(
        max: usize,
        threads: &Arc<ScheduledThreadPool>,
        servers: &Servers,
        open: &OpenBackends,
    ) -> Store {
        let stash = Stash::default();
        let pool = r2d2::Pool::builder()
            .max_size(u32::try_from(max).unwrap_or(u32::MAX))
            .min_idle(Some(0))
            .test_on_check_out(false)
            // Retiring by age and idleness is the keeper's work, by our clocks.
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_timeout(TAKE_IN_LIMIT)
            .thread_pool(Arc::clone(threads))
            .build_unchecked(Manager::new(Arc::clone(&stash)));
        let (servers, open) = (servers.clone(), open.clone());
        let replaced = Arc::default();
        Store { pool, stash, books: Mutex::new(()), open, servers, replaced }
    }

    /// Another takes its place: what is in use is closed when it comes back.
    pub fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Up to `limit` of the tenant's open backends, those of earlier pools included, behind the
    /// one of this number, in the order in which they were opened.
    pub fn list(&self, after: Option<u64>, limit: usize) -> Vec<(u64, ListedBackend)> {
        let opened = self.open.opened_after(after, limit);
        let books = self.books();
        let mut idle: Vec<Taken> = std::iter::from_fn(|| self.pool.try_get()).collect();
        let rest = |taken: &Taken| (taken.open.0.number(), (taken.idle_since, taken.answered_at));
        let rests: HashMap<u64, _> = idle.iter().map(rest).collect();
        while idle.pop().is_some() {}
        drop(books);
        let listed = |(n, opened)| (n, ListedBackend { opened, rests: rests.get(&n).copied() });
        opened.into_iter().map(listed).collect()
    }

    fn books(&self) -> MutexGuard<'_, ()> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an idle backend or, if there is none, counts the one that is to be
    /// opened instead, under the same lock: nobody else can take its room.
    pub fn take_or_reserve(&self) -> ForPermit {
        let _books = self.books();
        match self.pool.try_get() {
            Some(taken) => ForPermit::Idle(self.taken(taken)),
            None => self.open.reserve(usize::MAX).map_or(ForPermit::Full, ForPermit::Open),
        }
    }

    /// Takes an idle backend; it counts as dirty from now on.
    pub fn take(&self) -> Option<Taken> {
        let _books = self.books();
        Some(self.taken(self.pool.try_get()?))
    }

    /// The same for a thread that must not wait: nor for the lock, under which r2d2's own thread
    /// has a turn.
    pub fn take_at_once(&self) -> Option<Taken> {
        let _books = self.try_books()?;
        Some(self.taken(self.pool.try_get()?))
    }

    fn try_books(&self) -> Option<MutexGuard<'_, ()>> {
        match self.books.try_lock() {
            Ok(books) => Some(books),
            Err(TryLockError::Poisoned(books)) => Some(books.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn taken(&self, mut taken: Taken) -> Taken {
        taken.clean = false;
        taken.seat.into_iter().for_each(|seat| self.servers.take(seat));
        taken
    }

    /// Counts a backend that is about to be opened, if fewer than `limit` are open.
    pub fn reserve_below(&self, limit: usize) -> Option<OpenCount> {
        let _books = self.books();
        self.open.reserve(limit)
    }

    /// Brings in a backend that was just opened and takes it out again. `None`:
    /// the pool did not take it; it is closed then.
    pub(super) fn bring_in(
        &self,
        backend: Box<dyn Backend>,
        (count, seat): (OpenCount, Option<Seat>),
        born: Instant,
        retire_at: Instant,
    ) -> Option<Taken> {
        let replaced = Arc::clone(&self.replaced);
        count.opened(OpenBackend { pid: backend.pid(), born, replaced });
        let _books = self.books();
        let mut idle: Vec<Taken> = std::iter::from_fn(|| self.pool.try_get()).collect();
        self.stash.lock().push_back(Box::new(Slot {
            backend,
            clean: false,
            retire_at,
            idle_since: born,
            answered_at: born,
            generation: 0,
            close_gracefully: false,
            seat: seat.as_ref().map(|seat| seat.id),
            open: (count, seat),
        }));
        let taken = self.pool.get_timeout(TAKE_IN_LIMIT).ok();
        if taken.is_none() {
            // It closes, and gives up its seat, without the lock.
            drop(std::mem::take(&mut *self.stash.lock()));
        }
        // The pool is a stack: the one lifted out last goes back first.
        while idle.pop().is_some() {}
        taken
    }

    /// Puts a backend back: to rest if it is clean, else it is closed.
    pub fn put(&self, taken: Taken, now: Instant) {
        if !taken.clean {
            return drop(taken);
        }
        self.put_under(self.books(), taken, now);
    }

    /// Puts a clean backend to rest, on a thread that must not wait. Returns it where it would
    /// have to.
    #[must_use]
    pub fn put_at_once(&self, taken: Taken, now: Instant) -> Option<Taken> {
        let Some(books) = self.try_books() else { return Some(taken) };
        self.put_under(books, taken, now);
        None
    }

    fn put_under(&self, books: MutexGuard<'_, ()>, mut taken: Taken, now: Instant) {
        taken.idle_since = now;
        taken.seat.into_iter().for_each(|seat| self.servers.rest(seat, now));
        drop(taken);
        drop(books);
        self.open.rests();
    }

    /// True if `old` is for one of the idle backends.
    pub fn any_idle(&self, old: impl Fn(&Slot) -> bool) -> bool {
        let _books = self.books();
        let mut idle: Vec<Taken> = std::iter::from_fn(|| self.pool.try_get()).collect();
        let found = idle.iter().any(|taken| old(taken));
        while idle.pop().is_some() {}
        found
    }

    /// Takes out one idle backend for which `old` is true.
    pub fn take_if(&self, old: impl Fn(&Slot) -> bool) -> Option<Taken> {
        let _books = self.books();
        let mut idle: Vec<Taken> = std::iter::from_fn(|| self.pool.try_get()).collect();
        // Least recently used first: those are at the end of what was popped.
        let position = idle.iter().rposition(|taken| old(taken));
        let found = position.map(|i| idle.remove(i));
        while idle.pop().is_some() {}
        found.map(|taken| self.taken(taken))
    }

    /// Takes out the idle backend that was told to give up its seat.
    pub fn take_seat(&self, seat: SeatId) -> Option<Taken> {
        let _books = self.books();
        let mut idle: Vec<Taken> = std::iter::from_fn(|| self.pool.try_get()).collect();
        let position = idle.iter().position(|taken| taken.seat == Some(seat));
        let mut found = position.map(|i| idle.remove(i));
        while idle.pop().is_some() {}
        if let Some(taken) = &mut found {
            taken.clean = false;
        }
        found
    }

    /// How many it can hold, those in use included.
    pub fn capacity(&self) -> usize {
        self.pool.max_size() as usize
    }

    /// Backends at rest.
    pub fn idle(&self) -> usize {
        self.pool.state().idle_connections as usize
    }
}
