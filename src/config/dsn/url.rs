//! The form of a `postgresql://` URL.

use super::error::{DsnError, NUL_RULE};
use super::pair::Pair;
use std::borrow::Cow;

const PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// What follows the prefix, if it is a URL.
pub(super) fn behind_prefix(text: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix))
}

/// True for a URL of another kind, such as `jdbc:postgresql://` or
/// `postgresql+psycopg://`, which drivers of other languages have.
pub(super) fn is_of_another_scheme(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.:".contains(c);
    let scheme = text.trim_start().split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.chars().all(is_part))
        && behind_prefix(text).is_none()
}

/// Reads a URL behind its prefix as libpq's `conninfo_uri_parse_options` does.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair<'_>>, DsnError> {
    let mut pairs = Vec::new();
    let mut rest = text;
    // The first "@" ends the credentials, unless a "/" comes before it.
    let end = rest.find(['@', '/']).filter(|end| rest[*end..].starts_with('@'));
    if let Some((credentials, after)) = end.and_then(|end| rest.split_at_checked(end)) {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        push_part(&mut pairs, "user", user)?;
        push_part(&mut pairs, "password", password)?;
        rest = &after[1..];
    }
    let (hosts, ports, after) = url_hosts(rest)?;
    push_part(&mut pairs, "host", &hosts)?;
    push_part(&mut pairs, "port", &ports)?;
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    push_part(&mut pairs, "dbname", path.strip_prefix('/').unwrap_or(path))?;
    url_parameters(&mut pairs, query)?;
    Ok(pairs)
}

/// The lists of hosts and ports and what follows them. The lists are equally
/// long, an absent port being an empty element.
fn url_hosts(text: &str) -> Result<(String, String, &str), DsnError> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    let mut rest = text;
    loop {
        let (host, after) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed_host(bracketed)?,
            None => split_before(rest, &[':', '/', '?', ',']),
        };
        hosts.push_str(host);
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            let (port, after) = split_before(after, &['/', '?', ',']);
            ports.push_str(port);
            rest = after;
        }
        let Some(after) = rest.strip_prefix(',') else {
            return Ok((hosts, ports, rest));
        };
        hosts.push(',');
        ports.push(',');
        rest = after;
    }
}

fn bracketed_host(text: &str) -> Result<(&str, &str), DsnError> {
    let Some((host, after)) = text.split_once(']') else {
        return Err(DsnError::at("host", "missing \"]\" after an IPv6 address"));
    };
    if host.is_empty() {
        return Err(DsnError::at("host", "empty IPv6 address"));
    }
    if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
        return Err(DsnError::at("host", "unexpected character after \"]\""));
    }
    Ok((host, after))
}

fn url_parameters(pairs: &mut Vec<Pair>, query: &str) -> Result<(), DsnError> {
    // A bare "@" this late suggests a password that was not percent-encoded, and
    // then its pieces stand where keys are expected.
    let showable = !query.contains('@');
    let mut rest = query;
    while !rest.is_empty() {
        let (parameter, after) = rest.split_once('&').unwrap_or((rest, ""));
        let Some((key, value)) = parameter.split_once('=') else {
            return Err(DsnError::text("missing \"=\" in a URL parameter"));
        };
        if value.contains('=') {
            return Err(DsnError::text("more than one \"=\" in a URL parameter"));
        }
        let mut key = Cow::from(percent_decoded(key).map_err(DsnError::text)?);
        let mut value = percent_decoded(value).map_err(DsnError::text)?;
        // JDBC's spelling, which libpq also knows.
        if key == "ssl" && value == "true" {
            (key, value) = ("sslmode".into(), "require".to_owned());
        }
        pairs.push(Pair { key, value, showable });
        rest = after;
    }
    Ok(())
}

/// Adds a part of the URL before the query; an empty part counts as absent.
fn push_part(pairs: &mut Vec<Pair<'_>>, key: &'static str, part: &str) -> Result<(), DsnError> {
    if !part.is_empty() {
        let value = percent_decoded(part).map_err(|rule| DsnError::at(key, rule))?;
        pairs.push(Pair { key: key.into(), value, showable: true });
    }
    Ok(())
}

fn percent_decoded(text: &str) -> Result<String, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut hex = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        match hex().zip(hex()) {
            None => return Err("\"%\" must be followed by two hexadecimal digits"),
            Some((0, 0)) => return Err(NUL_RULE),
            // Two hexadecimal digits fit a byte.
            Some((high, low)) => out.push((high << 4 | low) as u8),
        }
    }
    String::from_utf8(out).map_err(|_| "not UTF-8 after percent-decoding")
}

fn split_before<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}
