//! The steps of a reset, and what is remembered from one reset to the next.

use crate::backend::pg::found::Found;

/// One command of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetStep {
    /// Restores what functions can restore, and reports what else is needed.
    Look,
    ResetAll,
    Plans,
    Temporary,
    /// PostgreSQL does not show whether a session has used a sequence.
    Sequences,
    /// Reports the settings that plans depend on.
    Settings,
}

/// Settings that a plan can depend on: how a literal of money, of an array or of a time was
/// read, how a text was parsed, how a value was written as text, what a name refers to.
/// PostgreSQL reports the first of them by itself, but since version 14 only with ReadyForQuery:
/// not at all if the reset has restored it by then.
macro_rules! settings {
    () => {
        "pg_catalog.concat_ws('|', pg_catalog.current_setting('TimeZone', true), \
         pg_catalog.current_setting('DateStyle', true), \
         pg_catalog.current_setting('IntervalStyle', true), \
         pg_catalog.current_setting('standard_conforming_strings', true), \
         pg_catalog.current_setting('lc_monetary', true), \
         pg_catalog.current_setting('array_nulls', true), \
         pg_catalog.current_setting('xmloption', true), \
         pg_catalog.current_setting('transform_null_equals', true), \
         pg_catalog.current_setting('backslash_quote', true), \
         pg_catalog.current_setting('timezone_abbreviations', true), \
         pg_catalog.current_setting('extra_float_digits', true), \
         pg_catalog.current_setting('bytea_output', true), \
         pg_catalog.current_setting('quote_all_identifiers', true), \
         pg_catalog.current_setting('xmlbinary', true), \
         pg_catalog.current_setting('lc_numeric', true), \
         pg_catalog.current_setting('lc_time', true), \
         pg_catalog.current_setting('default_text_search_config', true), \
         pg_catalog.current_setting('search_path', true))"
    };
}

/// A setting that is set to NULL returns to its value after login. Other state is looked up
/// where PostgreSQL shows it, which costs less than the command that clears it; the command
/// is run only if there is something to clear. Functions are schema-qualified, because a
/// database may have a search_path of its own that shadows them, and there are no
/// operators.
const LOOK: &str = concat!(
    "SELECT pg_catalog.set_config('session_authorization', NULL, false), \
     pg_catalog.set_config('role', NULL, false), \
     pg_catalog.pg_advisory_unlock_all(), pg_catalog.setseed($1), ",
    settings!(),
    ", pg_catalog.pg_my_temp_schema(), \
     EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), \
     EXISTS (SELECT FROM pg_catalog.pg_cursor() WHERE is_holdable), \
     EXISTS (SELECT FROM pg_catalog.pg_prepared_statement() WHERE from_sql)"
);

/// Deallocates the statements of the user's PREPARE. Run each time, it would cost
/// PostgreSQL more than all other commands of a reset.
pub(super) const DEALLOCATE: &str = "SELECT pg_catalog.string_agg( \
     pg_catalog.concat('DEALLOCATE ', pg_catalog.quote_ident(name), '; '), '') \
     FROM pg_catalog.pg_prepared_statement() WHERE from_sql";

impl ResetStep {
    /// The steps in order.
    pub(super) const ALL: [ResetStep; 6] = [
        ResetStep::Look,
        ResetStep::ResetAll,
        ResetStep::Plans,
        ResetStep::Temporary,
        ResetStep::Sequences,
        ResetStep::Settings,
    ];

    /// The command tag of the step. A user's PREPAREd statement in its place has another
    /// tag.
    pub(super) fn tag(self) -> &'static [u8] {
        match self {
            ResetStep::Look | ResetStep::Settings => b"SELECT 1",
            ResetStep::ResetAll => b"RESET",
            ResetStep::Plans => b"DISCARD PLANS",
            ResetStep::Temporary => b"DISCARD TEMP",
            ResetStep::Sequences => b"DISCARD SEQUENCES",
        }
    }

    /// Its name as a prepared statement, and its text.
    pub(super) fn statement(self) -> (&'static str, &'static str) {
        match self {
            ResetStep::Look => ("connpool.look", LOOK),
            ResetStep::ResetAll => ("connpool.reset", "RESET ALL"),
            ResetStep::Plans => ("connpool.plans", "DISCARD PLANS"),
            ResetStep::Temporary => ("connpool.temporary", "DISCARD TEMP"),
            ResetStep::Sequences => ("connpool.sequences", "DISCARD SEQUENCES"),
            ResetStep::Settings => ("connpool.settings", SETTINGS),
        }
    }
}

/// The name of the statement that is BEGIN.
pub(super) const BEGIN: &str = "connpool.begin";

/// A reset that was sent.
#[derive(Debug)]
pub(super) struct SentReset {
    pub(super) steps: Vec<ResetStep>,
    /// The statements that were closed with it.
    pub(super) closed: Vec<String>,
    pub(super) place: ResetBehind,
}

/// What stands before a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetBehind {
    /// Nothing, or a statement with a Sync of its own.
    Sync,
    /// A COMMIT. One Sync follows both.
    Commit,
    /// A statement between BEGIN and COMMIT. One Sync follows all of them.
    Transaction,
}

/// State that is remembered from one reset to the next.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// PostgreSQL has the steps as prepared statements.
    pub(super) prepared: bool,
    /// The settings that plans depend on, in a session that was reset.
    pub(super) settings: Option<String>,
    /// How many settings the server had reported by then.
    pub(super) reported: u64,
    /// The session has a schema for temporary objects, which it keeps.
    pub(super) has_temporary: bool,
    /// What was sent, if its answers were not read yet.
    pub(super) sent: Option<SentReset>,
    /// What they have shown, if that was read and more is to be done.
    pub(super) found: Option<Found>,
}

impl Resets {
    /// Forgets that the steps are prepared: PostgreSQL may have dropped them.
    pub(super) fn forget(&mut self) {
        self.prepared = false;
    }
}

/// Reports the settings that plans depend on.
pub(super) const SETTINGS: &str = concat!("SELECT ", settings!());
