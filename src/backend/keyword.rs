//! The first word of a statement.

/// The first word of a statement, after white space, comments and opening
/// parentheses. Sound as a screen, because the extended protocol takes exactly
/// one command.
pub fn first_keyword(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic());
            return rest.split_at(end.unwrap_or(rest.len())).0;
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
    use super::first_keyword;

    #[test]
    fn the_first_keyword_is_found_behind_comments() {
        for (sql, word) in [
            ("COMMIT", "COMMIT"),
            ("  \n-- a\n /* b /* c */ d */copy x from stdin", "copy"),
            ("(select 1)", "select"),
            (";;end;", "end"),
            ("", ""),
            ("/* open", ""),
            ("-- only", ""),
            ("/*ä*/ Commit/**/work", "Commit"),
        ] {
            assert_eq!(first_keyword(sql), word, "{sql}");
        }
    }
}
