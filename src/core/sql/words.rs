//! The first words of a statement.

/// The words a statement starts with, up to the first thing that is neither a word, white space,
/// a comment nor an opening parenthesis. Reliable, because the extended protocol accepts exactly
/// one command.
pub(super) fn words(sql: &str) -> impl Iterator<Item = &str> + '_ {
    let mut rest = sql;
    std::iter::from_fn(move || {
        rest = skip(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

fn is_one_of(word: Option<&str>, names: &[&str]) -> bool {
    word.is_some_and(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)))
}

/// True if a text contains one of these, in whatever case and wherever. They are in lower case,
/// of ASCII, and not empty.
pub(super) fn any_part(sql: &str, parts: &[&str]) -> bool {
    let text = sql.as_bytes();
    let begins = |at: usize, part: &&str| {
        let found = text.get(at..at + part.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(part.as_bytes()))
    };
    let first = |byte: u8| parts.iter().any(|part| part.as_bytes()[0] == byte | 0x20);
    let mut places = text.iter().enumerate().filter(|(_, byte)| first(**byte));
    places.any(|(at, _)| parts.iter().any(|part| begins(at, part)))
}

/// True for a statement that begins or ends a transaction. ROLLBACK TO a
/// savepoint stays inside.
pub(super) fn controls_transaction(sql: &str) -> bool {
    let mut words = words(sql);
    let first = words.next();
    if is_one_of(first, &["BEGIN", "START", "COMMIT", "END", "ABORT"]) {
        return true;
    }
    if is_one_of(first, &["ROLLBACK"]) {
        let noise = |word: &&str| is_one_of(Some(*word), &["WORK", "TRANSACTION"]);
        return !is_one_of(words.find(|word| !noise(word)), &["TO"]);
    }
    is_one_of(first, &["PREPARE"]) && is_one_of(words.next(), &["TRANSACTION"])
}

/// True for a query that can be stopped after some of its rows: its command tag holds
/// nothing but the number of rows.
pub(super) fn can_be_left(sql: &str) -> bool {
    let first = words(sql).next();
    if is_one_of(first, &["VALUES", "TABLE"]) {
        return true;
    }
    // A locking query must lock all its rows.
    if is_one_of(first, &["SELECT"]) {
        return !locks_rows(sql);
    }
    // A statement that changes data must run to its end; its tag holds the number of
    // rows changed.
    let changes = ["insert", "update", "delete", "merge"];
    is_one_of(first, &["WITH"])
        && !locks_rows(sql)
        && !all_words(sql).any(|word| is_one_of(Some(word), &changes))
}

/// True for `FOR UPDATE` and the like. May be true for a text that only contains such
/// words.
fn locks_rows(sql: &str) -> bool {
    // Most texts do not hold the word at all.
    if !any_part(sql, &["for"]) {
        return false;
    }
    let mut words = all_words(sql);
    let locks = ["update", "share", "no", "key"];
    while words.any(|word| word.eq_ignore_ascii_case("for")) {
        let next = words.clone().next();
        if next.is_some_and(|next| locks.iter().any(|name| next.eq_ignore_ascii_case(name))) {
            return true;
        }
    }
    false
}

/// All words of a text, including those in comments and literals.
fn all_words(sql: &str) -> impl Iterator<Item = &str> + Clone {
    let ends = |c: char| c.is_ascii() && !(c.is_ascii_alphanumeric() || c == '_' || c == '$');
    sql.split(ends).filter(|word| !word.is_empty())
}

fn skip(text: &str) -> &str {
    let mut rest = text;
    loop {
        let before = skip_space(rest);
        rest = before.trim_start_matches(['(', ';']);
        if rest.len() == before.len() {
            return rest;
        }
    }
}

/// Behind white space and comments.
pub(super) fn skip_space(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("--") {
            // PostgreSQL ends a line comment at either character.
            rest = comment.split_once(['\n', '\r']).map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else {
            return rest;
        }
    }
}

/// Block comments nest in PostgreSQL.
fn after_comment(text: &str) -> &str {
    let mut depth = 0usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(outer) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = outer;
            if depth == 0 {
                return rest;
            }
        } else {
            let mut characters = rest.chars();
            characters.next();
            rest = characters.as_str();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keyword_is_found_behind_comments() {
        for (sql, word) in [
            ("COMMIT", "COMMIT"),
            ("  \n-- a\n /* b /* c */ d */copy x from stdin", "COPY"),
            ("-- a\rcopy x to stdout", "COPY"),
            ("(select 1)", "SELECT"),
            (";;end;", "END"),
            ("", ""),
            ("/* open", ""),
            ("-- only", ""),
            ("/*ä*/ Commit/**/work", "COMMIT"),
        ] {
            assert_eq!(words(sql).next().unwrap_or_default().to_ascii_uppercase(), word, "{sql}");
        }
    }

    #[test]
    fn only_what_changes_nothing_can_be_left() {
        for sql in [
            "select 1",
            "(values (1))",
            "table t",
            "with a as (select 1) table a",
            "with a as (select updated_at, is_deleted, insert$ from t) table a",
            "select substring(a for 3), updates from t",
        ] {
            assert!(can_be_left(sql), "{sql}");
        }
        for sql in [
            "",
            "insert into t values (1) returning n",
            "WITH a AS (DELETE FROM t RETURNING n) SELECT * FROM a",
            "with a as (select 1) insert into t table a returning n",
            "with a as (select 1) (/*x*/update t set n = 1 returning n)",
            "fetch all c",
            "explain select 1",
            "with a as (select 1) select * from t for share",
            "select * from t for update",
            "select substring(a for 3) from t FOR\nNo Key Update skip locked",
        ] {
            assert!(!can_be_left(sql), "{sql}");
        }
    }

    #[test]
    fn transaction_control_is_told_by_words_and_not_by_comments() {
        for sql in [
            "begin",
            "start transaction",
            "rollback",
            "rollback /* to */",
            "rollback work",
            "rollback -- to\n",
            "prepare/**/transaction/**/'x'",
            "-- a\rcommit",
            "abort",
        ] {
            assert!(controls_transaction(sql), "{sql}");
        }
        for sql in [
            "rollback to a",
            "rollback/**/to/**/savepoint a",
            "rollback transaction to a",
            "prepare p as select * from transaction",
            "savepoint a",
            "select 'commit'",
        ] {
            assert!(!controls_transaction(sql), "{sql}");
        }
    }
}
