//! A request of HTTP, reduced to what matters.

use openssl::sha::sha256;

use crate::core::access::bearer::bearer;
use crate::core::access::{AuthFailure, ShownCredentials, TokenDigest};

/// A request, in the service's own words.
#[derive(Debug)]
pub(super) struct HttpRequest {
    /// What the pages are asked. HEAD stays HEAD; every other method asks for the same page as GET.
    pub(super) restated: String,
    /// The page, without a query.
    pub(super) path: String,
    /// What the client has shown.
    pub(super) shown: ShownCredentials,
}

impl HttpRequest {
    /// Reads a whole head. A body is of no account: no page takes one.
    pub(super) fn read(head: &[u8]) -> Option<HttpRequest> {
        let lines = head.split(|byte| *byte == b'\n');
        // What is behind the blank line is a body, or another request.
        let mut lines = lines.take_while(|line| !matches!(*line, b"" | b"\r"));
        let mut words = std::str::from_utf8(lines.next()?).ok()?.split_ascii_whitespace();
        let (method, url, version) = (words.next()?, words.next()?, words.next()?);
        let plain = url.starts_with('/') && url.chars().all(|c| c.is_ascii_graphic());
        if !plain || !version.starts_with("HTTP/1.") || words.next().is_some() {
            return None;
        }
        let method = if method == "HEAD" { "HEAD" } else { "GET" };
        let restated =
            format!("{method} {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let path = url.split('?').next().unwrap_or(url).to_owned();
        let shown = ShownCredentials { token: token(lines), certificate: None };
        Some(HttpRequest { restated, path, shown })
    }
}

/// The digest of the bearer token; a second one is wrong whatever both say.
fn token<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<Result<TokenDigest, AuthFailure>> {
    let mut values = headers.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        name.eq_ignore_ascii_case(b"authorization").then(|| value.trim_ascii())
    });
    let value = values.next()?;
    let token = bearer(value).filter(|_| values.next().is_none());
    Some(token.map(|token| TokenDigest(sha256(token))).ok_or(AuthFailure::MalformedToken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_reduced_to_what_matters() {
        let said = |head: &[u8]| HttpRequest::read(head).map(|request| request.restated);
        let get = "GET /health?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let long = b"POST /health?x=1 HTTP/1.1\r\nContent-Length: 100000000000000\r\n\r\n";
        assert_eq!(said(long).as_deref(), Some(get));
        assert!(said(b"HEAD / HTTP/1.1\r\n\r\n").is_some_and(|r| r.starts_with("HEAD / ")));
        let path = HttpRequest::read(long).map(|request| request.path);
        assert_eq!(path.as_deref(), Some("/health"));
        for bad in [
            &b"nonsense\r\n\r\n"[..],
            b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"\xff\xfe /\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(said(bad), None);
        }
    }

    #[test]
    fn a_token_behind_the_head_is_none() {
        let header = "Authorization: Bearer s3cret\r\n";
        for end in ["\r\n", "\n"] {
            for behind in [header.to_owned(), format!("GET / HTTP/1.1\r\n{header}\r\n")] {
                let bytes = format!("POST / HTTP/1.1\r\nHost: x\r\n{end}{behind}");
                let request = HttpRequest::read(bytes.as_bytes()).expect("a request");
                assert!(request.shown.token.is_none(), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_token_is_there_once_in_its_header() {
        let shown = |headers: &str| {
            let head = format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n");
            HttpRequest::read(head.as_bytes()).expect("a request").shown.token
        };
        let digest = TokenDigest(sha256(b"s3cret"));
        for headers in ["Authorization: Bearer s3cret", "x: y\nAUTHORIZATION:bearer s3cret \r"] {
            assert!(
                shown(headers).is_some_and(|it| it.is_ok_and(|it| it.is(&digest))),
                "{headers}"
            );
        }
        for headers in [
            "Authorization: s3cret",
            "Authorization: Basic czNjcmV0",
            "Authorization: Bearer a b",
            "Authorization: Bearer s3cret\r\nauthorization: Bearer s3cret",
        ] {
            assert!(shown(headers).is_some_and(|it| it.is_err()), "{headers}");
        }
        assert!(shown("X-Authorization: Bearer s3cret\r\nCookie: authorization=s3cret").is_none());
        let elsewhere = b"GET /?authorization=Bearer%20s3cret HTTP/1.1\r\n\r\n";
        assert!(HttpRequest::read(elsewhere).is_some_and(|it| it.shown.token.is_none()));
    }
}
