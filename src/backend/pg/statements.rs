//! The cache of one backend's prepared statements. A statement is dropped when its text may
//! have changed its meaning.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::backend::statement::Statement;
use crate::core::sql::command::SqlCommand;

/// Longer texts are not cached, which bounds the cache's memory here and in PostgreSQL.
const SQL_MAX: usize = 16 << 10;

/// Limit on the memory of one backend's statements; one statement may have a quarter of it.
/// A client that can create tables, or runs its own server, decides how wide a result is.
const BYTES_MAX: usize = 512 << 10;

/// Statements by their text; the least recently used is dropped first.
pub(super) struct Statements<S> {
    capacity: usize,
    by_sql: HashMap<String, KeptStatement<S>>,
    clock: u64,
    /// Bytes of memory of all statements.
    bytes: usize,
    /// A statement of this transaction may have changed the meaning of texts; a rollback
    /// may restore it.
    unsettled: bool,
    /// A statement of this session may have changed it; the reset restores it.
    touched: bool,
    /// The number of setting changes when they were prepared.
    settings: u64,
}

struct KeptStatement<S> {
    statement: S,
    used: u64,
    /// Bytes of memory, including its text.
    bytes: usize,
    /// When it was prepared.
    since: Instant,
}

/// How long a statement is used. PostgreSQL never re-examines some things. The types of
/// parameters stay, even if their columns change: a timestamp for a column that is a
/// timestamptz by now would lose its zone. And a name keeps its meaning, even if another
/// session creates something of that name in an earlier schema.
const KEPT_FOR: Duration = Duration::from_secs(60);

impl<S: Clone> Statements<S> {
    /// A cache for so many statements; 0 disables it.
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

    /// The statement of this text, if it was prepared under the current settings and
    /// recently enough.
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

    /// The most statements that are cached.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// True if this statement is cached once it is prepared.
    pub(super) fn keeps(&self, Statement { sql, command, .. }: &Statement) -> bool {
        self.capacity > 0 && sql.len() <= SQL_MAX && !command.is_another_each_time()
    }

    /// Caches a statement of so many bytes that was just prepared, if it qualifies.
    pub(super) fn keep(&mut self, of: &Statement, statement: &S, bytes: usize, since: Instant) {
        let sql = &of.sql;
        let bytes = bytes + sql.len();
        if !self.keeps(of) || bytes > BYTES_MAX / 4 {
            return;
        }
        self.forget(sql);
        self.make_room();
        while self.bytes + bytes > BYTES_MAX && self.drop_oldest() {}
        self.bytes += bytes;
        let (statement, used) = (statement.clone(), self.clock);
        let kept = KeptStatement { statement, used, bytes, since };
        self.by_sql.insert(sql.clone(), kept);
    }

    /// Drops the least recently used statement if the cache is full.
    pub(super) fn make_room(&mut self) {
        if self.by_sql.len() >= self.capacity {
            self.drop_oldest();
        }
    }

    /// False: the cache is empty.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.by_sql.iter().min_by_key(|(_, kept)| kept.used);
        let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) else { return false };
        self.forget(&oldest);
        true
    }

    /// Drops the statement of this text.
    pub(super) fn forget(&mut self, sql: &str) {
        if let Some(gone) = self.by_sql.remove(sql) {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }

    /// Drops all statements.
    pub(super) fn clear(&mut self) {
        self.by_sql.clear();
        self.bytes = 0;
    }

    /// Records that a statement was run, successfully or not; `in_transaction` afterwards.
    pub(super) fn ran(&mut self, command: &SqlCommand, in_transaction: bool) {
        if command.may_change_meanings {
            self.unsettled = true;
            self.touched = true;
            self.clear();
        }
        // The savepoint may precede the change.
        if self.unsettled && (command.goes_back() || !in_transaction) {
            self.unsettled = in_transaction;
            self.clear();
        }
    }
}

impl<S> Statements<S> {
    /// Records a reset of the session. True if the session may have changed the meaning of
    /// texts.
    pub(super) fn session_reset(&mut self) -> bool {
        self.unsettled = false;
        let touched = std::mem::take(&mut self.touched);
        if touched {
            self.by_sql.clear();
            self.bytes = 0;
        }
        touched
    }

    /// Records that the reset did not come about.
    pub(super) fn was_not_reset(&mut self) {
        self.touched = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn kept(statements: &mut Statements<u32>, sql: &str) -> bool {
        statements.get(sql, 0, clock::now()).is_some()
    }

    fn of(sql: &str) -> Statement {
        Statement::new(sql, Vec::new())
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut statements = Statements::new(2);
        for (n, sql) in ["a", "b"].into_iter().enumerate() {
            assert!(!kept(&mut statements, sql));
            statements.keep(&of(sql), &(n as u32), 0, clock::now());
        }
        assert!(kept(&mut statements, "a"));
        assert!(!kept(&mut statements, "c"));
        statements.keep(&of("c"), &2, 0, clock::now());
        assert!(kept(&mut statements, "a") && kept(&mut statements, "c"));
        assert!(!kept(&mut statements, "b"));
        statements.forget("a");
        assert!(!kept(&mut statements, "a"));
    }

    #[test]
    fn none_are_kept_without_capacity_and_no_long_ones() {
        let mut statements = Statements::new(0);
        statements.keep(&of("a"), &0, 0, clock::now());
        assert!(!kept(&mut statements, "a"));
        let mut statements = Statements::new(1);
        let long = "x".repeat(SQL_MAX + 1);
        statements.keep(&of(&long), &0, 0, clock::now());
        assert!(!kept(&mut statements, &long));
    }

    #[test]
    fn what_stands_for_something_else_is_not_kept() {
        let mut statements = Statements::new(9);
        for sql in ["fetch c", "/* x */ FETCH ALL c", "execute p", "move c"] {
            statements.keep(&of(sql), &0, 0, clock::now());
            assert_eq!(kept(&mut statements, sql), sql.starts_with("move"), "{sql}");
        }
    }

    #[test]
    fn all_are_prepared_anew_after_a_while() {
        let (mut statements, t0) = (Statements::new(9), clock::now());
        statements.keep(&of("a"), &0, 0, t0);
        let just_before = t0 + KEPT_FOR - Duration::from_millis(1);
        assert!(statements.get("a", 0, just_before).is_some());
        assert!(statements.get("a", 0, t0 + KEPT_FOR).is_none());
        assert!(statements.get("a", 0, t0).is_none());
    }

    #[test]
    fn a_change_of_settings_drops_all() {
        let mut statements = Statements::new(9);
        statements.keep(&of("a"), &0, 0, clock::now());
        assert!(statements.get("a", 1, clock::now()).is_none());
        statements.keep(&of("a"), &0, 0, clock::now());
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
            statements.keep(&of("a"), &0, 0, clock::now());
            statements.ran(&SqlCommand::of(sql), false);
            assert_eq!(!kept(&mut statements, "a"), drops, "{sql}");
        }
        statements.ran(&SqlCommand::of("set local x = 1"), true);
        statements.keep(&of("a"), &0, 0, clock::now());
        statements.ran(&SqlCommand::of("select 1"), true);
        assert!(kept(&mut statements, "a"));
        statements.ran(&SqlCommand::of("rollback to x"), true);
        assert!(!kept(&mut statements, "a"));
        statements.keep(&of("a"), &0, 0, clock::now());
        statements.ran(&SqlCommand::of("rollback"), false);
        assert!(!kept(&mut statements, "a"));
        statements.keep(&of("a"), &0, 0, clock::now());
        statements.ran(&SqlCommand::of("rollback"), false);
        assert!(kept(&mut statements, "a"));
        // The reset takes back what a session has set, once.
        for kept_after in [false, true] {
            statements.keep(&of("a"), &0, 0, clock::now());
            assert_eq!(statements.session_reset(), !kept_after);
            assert_eq!(kept(&mut statements, "a"), kept_after);
        }
    }

    #[test]
    fn all_together_have_so_much_memory_and_wide_ones_are_not_kept() {
        let mut statements = Statements::new(100);
        let size = BYTES_MAX / 4 - 1;
        for sql in ["a", "b", "c", "d", "e"] {
            statements.keep(&of(sql), &0, size, clock::now());
            assert!(kept(&mut statements, sql));
            assert!(statements.bytes <= BYTES_MAX);
        }
        assert!(!kept(&mut statements, "a") && kept(&mut statements, "b"));
        statements.keep(&of("wide"), &0, size + 4, clock::now());
        assert!(!kept(&mut statements, "wide"));
        // The same again takes no more.
        (0..9).for_each(|_| statements.keep(&of("e"), &0, size, clock::now()));
        assert!(kept(&mut statements, "b"));
        statements.clear();
        assert_eq!(statements.bytes, 0);
    }
}
