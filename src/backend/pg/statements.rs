//! The prepared statements of one backend: kept to spare the round trip, dropped
//! when their text may mean something else by now.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::backend::pg::nature::Nature;

/// Longer texts are prepared each time, so that the cache's memory is bounded here
/// and in PostgreSQL.
const SQL_MAX: usize = 16 << 10;

/// All of one backend together have so much memory here, and none more than a quarter of
/// it: whoever may create tables, or has a server of his own, decides how wide a result is.
const BYTES_MAX: usize = 512 << 10;

/// Statements by their text, the least recently used of them to go first.
pub(super) struct Statements<S> {
    capacity: usize,
    by_sql: HashMap<String, Kept<S>>,
    clock: u64,
    /// Bytes of memory of all of them.
    bytes: usize,
    /// Something in this transaction changed what texts mean, and its end may
    /// change it back.
    unsettled: bool,
    /// Something in this session did, and its reset changes it back.
    touched: bool,
    /// The settings they were prepared under, by number of changes.
    settings: u64,
}

struct Kept<S> {
    statement: S,
    nature: Nature,
    used: u64,
    /// Bytes of memory, with its text.
    bytes: usize,
    /// When it was prepared.
    since: Instant,
}

/// Some things PostgreSQL never looks at again. The types of parameters stay, also when
/// the columns that they are for become others: a timestamp for what is a timestamptz
/// by now would lose its zone. And what a name stands for stays, also when another
/// session makes something of that name in a schema that comes first. So a statement is
/// prepared anew after a while.
const KEPT_FOR: Duration = Duration::from_secs(60);

impl<S: Clone> Statements<S> {
    /// A cache of so many statements; 0 keeps none.
    pub(super) fn new(capacity: usize) -> Statements<S> {
        let by_sql = HashMap::new();
        Statements {
            capacity,
            by_sql,
            clock: 0,
            bytes: 0,
            unsettled: false,
            touched: false,
            settings: 0,
        }
    }

    /// The statement of this text, if it was prepared before under the settings
    /// of now, and not too long ago.
    pub(super) fn get(&mut self, sql: &str, settings: u64, now: Instant) -> Option<S> {
        if settings != self.settings {
            self.settings = settings;
            self.clear();
        }
        self.clock += 1;
        let kept = self.by_sql.get_mut(sql)?;
        if now.saturating_duration_since(kept.since) >= KEPT_FOR {
            self.forget(sql);
            return None;
        }
        kept.used = self.clock;
        Some(kept.statement.clone())
    }

    /// The most that are kept.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// What this text says.
    pub(super) fn nature(&self, sql: &str) -> Nature {
        self.by_sql.get(sql).map_or_else(|| Nature::of(sql), |kept| kept.nature)
    }

    /// True if a statement of this text is kept once it is prepared.
    pub(super) fn keeps(&self, sql: &str, nature: Nature) -> bool {
        self.capacity > 0 && sql.len() <= SQL_MAX && !nature.is_another_each_time
    }

    /// Keeps a statement of so many bytes that was just prepared, if such are kept.
    pub(super) fn keep(&mut self, sql: &str, statement: &S, bytes: usize, since: Instant) {
        let (bytes, nature) = (bytes + sql.len(), Nature::of(sql));
        if !self.keeps(sql, nature) || bytes > BYTES_MAX / 4 {
            return;
        }
        self.forget(sql);
        self.make_room();
        while self.bytes + bytes > BYTES_MAX && self.drop_oldest() {}
        self.bytes += bytes;
        let (statement, used) = (statement.clone(), self.clock);
        let kept = Kept { statement, nature, used, bytes, since };
        self.by_sql.insert(sql.to_owned(), kept);
    }

    /// Drops what goes first, if there is no room for one more.
    pub(super) fn make_room(&mut self) {
        if self.by_sql.len() >= self.capacity {
            self.drop_oldest();
        }
    }

    /// False: there is none.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.by_sql.iter().min_by_key(|(_, kept)| kept.used);
        let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) else { return false };
        self.forget(&oldest);
        true
    }

    /// Drops one.
    pub(super) fn forget(&mut self, sql: &str) {
        if let Some(gone) = self.by_sql.remove(sql) {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.by_sql.clear();
        self.bytes = 0;
    }

    /// A statement was run, whatever came of it; `in_transaction` afterwards.
    pub(super) fn ran(&mut self, nature: Nature, in_transaction: bool) {
        if nature.may_change_meanings {
            self.unsettled = true;
            self.touched = true;
            self.clear();
        }
        // Back to a savepoint may be behind what changed it.
        if self.unsettled && (nature.goes_back || !in_transaction) {
            self.unsettled = in_transaction;
            self.clear();
        }
    }
}

impl<S> Statements<S> {
    /// The session was reset. True if something in it may have changed what texts
    /// mean.
    pub(super) fn session_reset(&mut self) -> bool {
        self.unsettled = false;
        let touched = std::mem::take(&mut self.touched);
        if touched {
            self.by_sql.clear();
            self.bytes = 0;
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn kept(statements: &mut Statements<u32>, sql: &str) -> bool {
        statements.get(sql, 0, clock::now()).is_some()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut statements = Statements::new(2);
        for (n, sql) in ["a", "b"].into_iter().enumerate() {
            assert!(!kept(&mut statements, sql));
            statements.keep(sql, &(n as u32), 0, clock::now());
        }
        assert!(kept(&mut statements, "a"));
        assert!(!kept(&mut statements, "c"));
        statements.keep("c", &2, 0, clock::now());
        assert!(kept(&mut statements, "a") && kept(&mut statements, "c"));
        assert!(!kept(&mut statements, "b"));
        statements.forget("a");
        assert!(!kept(&mut statements, "a"));
    }

    #[test]
    fn none_are_kept_without_capacity_and_no_long_ones() {
        let mut statements = Statements::new(0);
        statements.keep("a", &0, 0, clock::now());
        assert!(!kept(&mut statements, "a"));
        let mut statements = Statements::new(1);
        let long = "x".repeat(SQL_MAX + 1);
        statements.keep(&long, &0, 0, clock::now());
        assert!(!kept(&mut statements, &long));
    }

    #[test]
    fn what_stands_for_something_else_is_not_kept() {
        let mut statements = Statements::new(9);
        for sql in ["fetch c", "/* x */ FETCH ALL c", "execute p", "move c"] {
            statements.keep(sql, &0, 0, clock::now());
            assert_eq!(kept(&mut statements, sql), sql.starts_with("move"), "{sql}");
        }
    }

    #[test]
    fn all_are_prepared_anew_after_a_while() {
        let (mut statements, t0) = (Statements::new(9), clock::now());
        statements.keep("a", &0, 0, t0);
        let just_before = t0 + KEPT_FOR - Duration::from_millis(1);
        assert!(statements.get("a", 0, just_before).is_some());
        assert!(statements.get("a", 0, t0 + KEPT_FOR).is_none());
        assert!(statements.get("a", 0, t0).is_none());
    }

    #[test]
    fn a_change_of_settings_drops_all() {
        let mut statements = Statements::new(9);
        statements.keep("a", &0, 0, clock::now());
        assert!(statements.get("a", 1, clock::now()).is_none());
        statements.keep("a", &0, 0, clock::now());
        assert!(statements.get("a", 1, clock::now()).is_some());
    }

    #[test]
    fn what_may_change_meanings_drops_all_now_and_at_the_end_of_its_transaction() {
        let mut statements = Statements::new(9);
        for (sql, drops) in [
            ("select 1", false),
            ("with x as (select 1) select * from x", false),
            ("insert into t values (1)", false),
            ("begin", false),
            ("fetch c", false),
            ("copy t from stdin", false),
            ("copy (select set_config('a.b', 'c', true)) to stdout", true),
            ("select 1 into t", true),
            ("select set_config('a.b', 'c', true)", true),
            ("/* x */ SET x = 1", true),
            ("create temp table t (n int)", true),
            ("do $$ begin end $$", true),
            ("call p()", true),
            ("discard all", true),
            ("explain analyze create table t as select 1", true),
            ("explain select 1", false),
        ] {
            statements.keep("a", &0, 0, clock::now());
            statements.ran(Nature::of(sql), false);
            assert_eq!(!kept(&mut statements, "a"), drops, "{sql}");
        }
        statements.ran(Nature::of("set local x = 1"), true);
        statements.keep("a", &0, 0, clock::now());
        statements.ran(Nature::of("select 1"), true);
        assert!(kept(&mut statements, "a"));
        statements.ran(Nature::of("rollback to x"), true);
        assert!(!kept(&mut statements, "a"));
        statements.keep("a", &0, 0, clock::now());
        statements.ran(Nature::of("rollback"), false);
        assert!(!kept(&mut statements, "a"));
        statements.keep("a", &0, 0, clock::now());
        statements.ran(Nature::of("rollback"), false);
        assert!(kept(&mut statements, "a"));
        // The reset takes back what a session has set, once.
        for kept_after in [false, true] {
            statements.keep("a", &0, 0, clock::now());
            assert_eq!(statements.session_reset(), !kept_after);
            assert_eq!(kept(&mut statements, "a"), kept_after);
        }
    }

    #[test]
    fn all_together_have_so_much_memory_and_wide_ones_are_not_kept() {
        let mut statements = Statements::new(100);
        let size = BYTES_MAX / 4 - 1;
        for sql in ["a", "b", "c", "d", "e"] {
            statements.keep(sql, &0, size, clock::now());
            assert!(kept(&mut statements, sql));
            assert!(statements.bytes <= BYTES_MAX);
        }
        assert!(!kept(&mut statements, "a") && kept(&mut statements, "b"));
        statements.keep("wide", &0, size + 4, clock::now());
        assert!(!kept(&mut statements, "wide"));
        // The same again takes no more.
        (0..9).for_each(|_| statements.keep("e", &0, size, clock::now()));
        assert!(kept(&mut statements, "b"));
        statements.clear();
        assert_eq!(statements.bytes, 0);
    }
}
