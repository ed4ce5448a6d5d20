//! The direction of a COPY command.

/// What a COPY needs of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `COPY … FROM STDIN`: the client's data.
    In,
    /// `COPY … TO STDOUT`: a client that takes data.
    Out,
    /// A file or program of the server: nothing.
    Server,
}

/// The direction of a COPY command; `None` for anything else, and for what
/// PostgreSQL will refuse.
///
/// Only FROM or TO outside all parentheses and quotes counts; what follows must be a string
/// or PROGRAM for a file or program of the server. PostgreSQL treats STDIN and STDOUT
/// alike.
pub fn direction(sql: &str) -> Option<Direction> {
    let mut tokens = Tokens { rest: sql };
    let mut depth = 0usize;
    match tokens.find(|token| *token != Token::Other(';')) {
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("copy") => {}
        _ => return None,
    }
    while let Some(token) = tokens.next() {
        let streamed = match token {
            Token::Other('(') => {
                depth += 1;
                continue;
            }
            Token::Other(')') => {
                depth = depth.saturating_sub(1);
                continue;
            }
            // Behind a dot every word is a name.
            Token::Other('.') => {
                tokens.next();
                continue;
            }
            Token::Word(word) if depth == 0 && word.eq_ignore_ascii_case("from") => Direction::In,
            Token::Word(word) if depth == 0 && word.eq_ignore_ascii_case("to") => Direction::Out,
            _ => continue,
        };
        return match tokens.next()? {
            Token::Text => Some(Direction::Server),
            Token::Word(word) if word.eq_ignore_ascii_case("program") => Some(Direction::Server),
            Token::Word(word)
                if ["stdin", "stdout"].iter().any(|name| word.eq_ignore_ascii_case(name)) =>
            {
                Some(streamed)
            }
            // A string with a prefix, as E'…'.
            Token::Word(_) => {
                matches!(tokens.next(), Some(Token::Text)).then_some(Direction::Server)
            }
            Token::Quoted | Token::Other(_) => None,
        };
    }
    None
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// An unquoted word or number.
    Word(&'a str),
    /// A string.
    Text,
    /// A quoted identifier.
    Quoted,
    Other(char),
}

/// Cuts a command into tokens; comments and white space are left out.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// Skips to behind the next `end`, or to the end of the text.
    fn skip_behind(&mut self, end: &str) {
        self.rest = self.rest.split_once(end).map_or("", |(_, after)| after);
    }

    /// Behind the end of a string that has begun. A doubled quote is two strings
    /// in a row, which makes no difference here.
    fn skip_text(&mut self, escapes: bool) {
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' if escapes => drop(characters.next()),
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    return;
                }
                _ => {}
            }
        }
        self.rest = "";
    }

    /// Behind a string in dollar quotes, if one begins here.
    fn skip_dollars(&mut self) -> bool {
        let Some(tag) = self.rest.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
            return false;
        };
        let is_tag = |c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii();
        if !tag.0.chars().all(is_tag) || tag.0.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let quote = &self.rest[..tag.0.len() + 2];
        self.rest = tag.1;
        self.skip_behind(quote);
        true
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = super::words::skip_space(self.rest);
        let first = self.rest.chars().next()?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        if first != '$' && is_word(first) {
            let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            if word.eq_ignore_ascii_case("e") && rest.starts_with('\'') {
                self.rest = &rest[1..];
                self.skip_text(true);
                return Some(Token::Text);
            }
            return Some(Token::Word(word));
        }
        if first == '$' && self.skip_dollars() {
            return Some(Token::Text);
        }
        self.rest = &self.rest[first.len_utf8()..];
        Some(match first {
            '\'' => {
                self.skip_text(false);
                Token::Text
            }
            '"' => {
                self.skip_behind("\"");
                Token::Quoted
            }
            other => Token::Other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_is_read_where_postgresql_reads_it() {
        let cases = [
            ("copy t from stdin", Some(Direction::In)),
            (";; COPY t FROM STDIN", Some(Direction::In)),
            ("copy t(a, \"from\") from /* to */ stdin with (format csv)", Some(Direction::In)),
            ("copy \"to\".\"a\"\"from\" from stdin", Some(Direction::In)),
            ("copy t from stdout", Some(Direction::In)),
            ("copy public . from from stdin", Some(Direction::In)),
            ("copy a.b.to to stdout", Some(Direction::Out)),
            ("copy (select 1. from t) to stdout", Some(Direction::Out)),
            ("copy u&\"from\" uescape '!' from stdin where n > 0", Some(Direction::In)),
            ("copy (with x as (select 1) table x) to stdout", Some(Direction::Out)),
            ("/* /* copy */ from */ copy t /* -- */ from -- '\n stdin", Some(Direction::In)),
            ("copy binary t from stdin", Some(Direction::In)),
            ("copy t to stdout", Some(Direction::Out)),
            ("copy(select 1 from x)to stdout", Some(Direction::Out)),
            ("copy (select ')' from x) -- from stdin\n to stdout", Some(Direction::Out)),
            ("copy (select e'\\') from stdin', 'x') to stdout", Some(Direction::Out)),
            ("copy (select $a$ ) from stdin $$ $a$) to stdout", Some(Direction::Out)),
            ("copy t to stdout (delimiter E'\\t')", Some(Direction::Out)),
            ("copy t from '/a/stdin'", Some(Direction::Server)),
            ("copy t from program 'cat'", Some(Direction::Server)),
            ("copy t to E'/a\\'b'", Some(Direction::Server)),
            ("copy t to U&'/a'", None),
            ("copy t to $$/a$$", Some(Direction::Server)),
            ("copy t", None),
            ("copy", None),
            ("copy (select 1", None),
            ("copy t from", None),
            ("copy t from x", None),
            ("copying from stdin", None),
            ("select 1 from stdin", None),
            ("", None),
            ("copy 'ä", None),
            ("copy $ä", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(direction(sql), expected, "{sql}");
        }
    }
}
