//! What a statement is, read once from its text. It travels with the text, so that nobody reads
//! that again.

use super::copy_direction::{direction, Direction};
use super::words::{any_part, can_be_left, controls_transaction, words};

/// What a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlCommand {
    /// The word it begins with.
    verb: Verb,
    /// The direction of a COPY.
    pub direction: Option<Direction>,
    /// It begins or ends a transaction; ROLLBACK TO a savepoint does not.
    pub controls_transaction: bool,
    /// It may change settings, names or types.
    pub may_change_meanings: bool,
    /// It can be stopped after some of its rows: its command tag holds nothing but their number.
    pub can_be_left: bool,
    leaves: Leaves,
}

/// What a command can leave behind that fails outside a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Nothing,
    /// A part of its work, unless PostgreSQL refused its arguments before it began.
    PartOnceBegun,
    Part,
}

/// Makes an enum of the words, and what finds one.
macro_rules! verbs {
    ($($name:ident $text:literal,)*) => {
        /// The words that make a difference here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Verb {
            $($name,)*
            /// Any other word.
            Other,
            /// There is none.
            None,
        }

        impl Verb {
            const ALL: &'static [(Verb, &'static str)] = &[$((Verb::$name, $text),)*];
        }
    };
}

verbs! {
    Select "SELECT", Insert "INSERT", Update "UPDATE", Delete "DELETE", With "WITH",
    Begin "BEGIN", Commit "COMMIT", Rollback "ROLLBACK", Values "VALUES", Table "TABLE",
    Merge "MERGE", Set "SET", Reset "RESET", Copy "COPY", Start "START", End "END",
    Abort "ABORT", Savepoint "SAVEPOINT", Release "RELEASE", Prepare "PREPARE",
    Execute "EXECUTE", Deallocate "DEALLOCATE", Declare "DECLARE", Fetch "FETCH", Move "MOVE",
    Close "CLOSE", Show "SHOW", Lock "LOCK", Listen "LISTEN", Unlisten "UNLISTEN",
    Notify "NOTIFY", Analyze "ANALYZE", Explain "EXPLAIN", Create "CREATE", Drop "DROP",
    Alter "ALTER", Call "CALL", Do "DO", Vacuum "VACUUM", Reindex "REINDEX",
    Cluster "CLUSTER", Discard "DISCARD",
}

impl Verb {
    fn of(word: Option<&str>) -> Verb {
        let Some(word) = word else { return Verb::None };
        let mut all = Verb::ALL.iter();
        all.find(|(_, text)| word.eq_ignore_ascii_case(text)).map_or(Verb::Other, |(verb, _)| *verb)
    }
}

impl SqlCommand {
    /// Reads a text.
    pub fn of(sql: &str) -> SqlCommand {
        let verb = Verb::of(words(sql).next());
        SqlCommand {
            verb,
            direction: if verb == Verb::Copy { direction(sql) } else { None },
            controls_transaction: controls_transaction(sql),
            may_change_meanings: may_change_meanings(verb, sql),
            can_be_left: can_be_left(sql),
            leaves: Leaves::of(verb, sql),
        }
    }

    /// The word it begins with, in upper case; empty if it is none that is known here.
    pub fn verb(&self) -> &'static str {
        let mut all = Verb::ALL.iter();
        all.find(|(verb, _)| *verb == self.verb).map_or("", |(_, text)| text)
    }

    /// Outside a transaction, it leaves none open.
    pub fn leaves_none_open(&self) -> bool {
        matches!(
            self.verb,
            Verb::Select
                | Verb::Values
                | Verb::Table
                | Verb::Insert
                | Verb::Update
                | Verb::Delete
                | Verb::Merge
                | Verb::With
        )
    }

    /// It ends a transaction, which may take effect.
    pub fn may_commit(&self) -> bool {
        matches!(self.verb, Verb::Commit | Verb::End | Verb::Prepare)
    }

    /// It rolls back a transaction or a part of one.
    pub fn goes_back(&self) -> bool {
        matches!(self.verb, Verb::Rollback | Verb::Abort)
    }

    /// It may replace one of the service's prepared statements.
    pub fn may_replace_ours(&self) -> bool {
        matches!(self.verb, Verb::Deallocate | Verb::Prepare | Verb::Do | Verb::Call)
    }

    /// It refers to a cursor or a statement of the user's, whose result columns PostgreSQL
    /// determines only when it prepares this one.
    pub fn is_another_each_time(&self) -> bool {
        matches!(self.verb, Verb::Fetch | Verb::Execute)
    }

    /// It can restore client_encoding to UTF8, and carries no text that depends on it.
    pub fn leaves_encoding(&self) -> bool {
        matches!(
            self.verb,
            Verb::Set
                | Verb::Reset
                | Verb::Discard
                | Verb::Rollback
                | Verb::Abort
                | Verb::Commit
                | Verb::End
        )
    }

    /// Outside a transaction, it can leave something behind when it fails: procedures and blocks
    /// with COMMIT inside, what works on several tables one by one or concurrently, and what
    /// changes files or other servers. `screened`: PostgreSQL refused its arguments, at which it
    /// looks before it does anything.
    pub fn leaves_a_part(&self, screened: bool) -> bool {
        match self.leaves {
            Leaves::Nothing => false,
            Leaves::PartOnceBegun => !screened,
            Leaves::Part => true,
        }
    }
}

impl Leaves {
    fn of(verb: Verb, sql: &str) -> Leaves {
        match verb {
            Verb::Call
            | Verb::Do
            | Verb::Vacuum
            | Verb::Analyze
            | Verb::Reindex
            | Verb::Cluster => Leaves::Part,
            Verb::Create | Verb::Drop | Verb::Alter => {
                let whole = ["DATABASE", "TABLESPACE", "SUBSCRIPTION", "SYSTEM"];
                let what = words(sql).nth(1).unwrap_or_default();
                let is_whole = whole.iter().any(|name| what.eq_ignore_ascii_case(name));
                match (any_part(sql, &["concurrently"]), is_whole) {
                    (true, _) => Leaves::Part,
                    (false, true) => Leaves::PartOnceBegun,
                    (false, false) => Leaves::Nothing,
                }
            }
            _ => Leaves::Nothing,
        }
    }
}

/// True unless this kind of statement leaves settings, names and types unchanged.
/// PostgreSQL notices many changes by itself, but not a temporary table that hides another,
/// nor a literal that a new TimeZone changes.
fn may_change_meanings(verb: Verb, sql: &str) -> bool {
    match verb {
        Verb::Begin
        | Verb::Start
        | Verb::Commit
        | Verb::End
        | Verb::Savepoint
        | Verb::Release
        | Verb::Declare
        | Verb::Fetch
        | Verb::Move
        | Verb::Close
        | Verb::Show
        | Verb::Lock
        | Verb::Listen
        | Verb::Unlisten
        | Verb::Notify
        | Verb::Analyze
        | Verb::None => false,
        // ROLLBACK only undoes changes that were already recorded as unsettled.
        Verb::Rollback | Verb::Abort => false,
        // SELECT INTO makes a table; INSERT INTO does not. A false match costs only a
        // round trip.
        Verb::Insert if sql.trim_start().get(..6).is_some_and(is_insert) => {
            any_part(sql, &["set_config"])
        }
        Verb::Select
        | Verb::Insert
        | Verb::Update
        | Verb::Delete
        | Verb::Merge
        | Verb::With
        | Verb::Values
        | Verb::Table
        | Verb::Copy => any_part(sql, &["into", "set_config"]),
        // EXPLAIN ANALYZE runs what it explains.
        Verb::Explain => any_part(sql, &["into", "create", "set_config"]),
        _ => true,
    }
}

fn is_insert(start: &str) -> bool {
    start.eq_ignore_ascii_case("insert")
}

#[cfg(test)]
mod tests;
