//! Addresses, as people write them.
//!
//! Architecture Invariant: pure. We read addresses ourselves, because gRPC's C core takes a port
//! above 65535 modulo 65536, and looks `http://` up as the name of a host.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name of a host, by RFC 1035.
const HOST_MAX: usize = 253;
/// The longest path of a Unix socket that Linux takes.
const PATH_MAX: usize = 107;

/// An address of a service: `host:port`, `[v6]:port`, `unix:/path`, and the first two also behind
/// `http://` (plaintext) or `https://` (TLS), where the port may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    place: EndpointPlace,
    scheme: Option<Scheme>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum EndpointPlace {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u16),
    Name(String, u16),
    Unix(String),
}

/// What an address says about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`: none.
    Plaintext,
    /// `https://`.
    Tls,
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Scheme::Plaintext => 80,
            Scheme::Tls => 443,
        }
    }
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// The rule that it breaks, as the end of a sentence that begins with the address.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("must not contain spaces or control characters".to_owned());
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (Some(Scheme::Plaintext), rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (Some(Scheme::Tls), rest)
        } else if text.contains("://") {
            return Err("must begin with http:// or https://, or have no scheme".to_owned());
        } else {
            (None, text)
        };
        let rest = scheme.and_then(|_| rest.strip_suffix('/')).unwrap_or(rest);
        if rest.contains('/') {
            return Err("must not have a path".to_owned());
        }
        let (host, port) = split(rest)?;
        let port = match (port, scheme) {
            (Some(port), _) => parse_port(port)?,
            (None, Some(scheme)) => scheme.default_port(),
            (None, None) => return Err("must have a port, as in host:50051".to_owned()),
        };
        Ok(Endpoint { place: Endpoint::place(host, port)?, scheme })
    }

    /// An address from a host, which is a name, an IPv4 or an IPv6 address, and a port.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn new(host: &str, port: u16) -> Result<Endpoint, String> {
        if port == 0 {
            return Err("must have a port from 1 to 65535".to_owned());
        }
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Ok(Endpoint { place: Endpoint::place(host, port)?, scheme: None })
    }

    fn place(host: &str, port: u16) -> Result<EndpointPlace, String> {
        if let Ok(v6) = host.parse::<Ipv6Addr>() {
            return Ok(EndpointPlace::V6(v6, port));
        }
        if let Ok(v4) = host.parse::<Ipv4Addr>() {
            return Ok(EndpointPlace::V4(v4, port));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || host.len() > HOST_MAX || !host.chars().all(is_name) {
            return Err(format!(
                "must name a host of 1 to {HOST_MAX} letters, digits, dots, dashes and underscores"
            ));
        }
        if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err("must be an IPv4 address of four numbers from 0 to 255".to_owned());
        }
        Ok(EndpointPlace::Name(host.to_ascii_lowercase(), port))
    }

    /// What the address says about TLS.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// It can only be reached on this machine.
    pub fn is_local(&self) -> bool {
        match &self.place {
            EndpointPlace::V4(v4, _) => v4.is_loopback(),
            EndpointPlace::V6(v6, _) => v6.is_loopback(),
            EndpointPlace::Name(name, _) => name == "localhost",
            EndpointPlace::Unix(_) => true,
        }
    }

    /// The name and the port, if it is a name, which stands for addresses.
    pub(super) fn name(&self) -> Option<(&str, u16)> {
        match &self.place {
            EndpointPlace::Name(name, port) => Some((name, *port)),
            EndpointPlace::V4(..) | EndpointPlace::V6(..) | EndpointPlace::Unix(_) => None,
        }
    }

    /// The address as gRPC's C core takes it.
    pub(super) fn target(&self) -> String {
        match &self.place {
            EndpointPlace::V4(v4, port) => format!("ipv4:{v4}:{port}"),
            EndpointPlace::V6(v6, port) => format!("ipv6:[{v6}]:{port}"),
            EndpointPlace::Name(name, port) => format!("dns:///{name}:{port}"),
            EndpointPlace::Unix(path) => format!("unix:{path}"),
        }
    }
}

/// `host:port`, `unix:/path`: the same for addresses that mean the same.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            EndpointPlace::V4(v4, port) => write!(f, "{v4}:{port}"),
            EndpointPlace::V6(v6, port) => write!(f, "[{v6}]:{port}"),
            EndpointPlace::Name(name, port) => write!(f, "{name}:{port}"),
            EndpointPlace::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

fn unix(path: &str) -> Result<Endpoint, String> {
    if !path.starts_with('/') || path.len() > PATH_MAX {
        return Err(format!("must have an absolute path of at most {PATH_MAX} bytes"));
    }
    Ok(Endpoint { place: EndpointPlace::Unix(path.to_owned()), scheme: None })
}

/// The host and the port, if there is one.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("must close the bracket of its host")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("must have an IPv6 address in brackets".to_owned());
        }
        return match (rest.strip_prefix(':'), rest) {
            (Some(port), _) => Ok((host, Some(port))),
            (None, "") => Ok((host, None)),
            _ => Err("must have a colon between host and port".to_owned()),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("must have its IPv6 address in brackets, as in [::1]:50051".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if is_number => Ok(port),
        _ => Err("must have a port from 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_in_one_form() {
        for (text, shown, target) in [
            ("localhost:50051", "localhost:50051", "dns:///localhost:50051"),
            ("Users.Example.com:443", "users.example.com:443", "dns:///users.example.com:443"),
            ("127.0.0.1:1", "127.0.0.1:1", "ipv4:127.0.0.1:1"),
            ("[::1]:65535", "[::1]:65535", "ipv6:[::1]:65535"),
            ("[0:0::1]:7", "[::1]:7", "ipv6:[::1]:7"),
            ("unix:/run/users.sock", "unix:/run/users.sock", "unix:/run/users.sock"),
            ("http://localhost", "localhost:80", "dns:///localhost:80"),
            ("https://users.example.com/", "users.example.com:443", "dns:///users.example.com:443"),
            ("https://[::1]", "[::1]:443", "ipv6:[::1]:443"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.to_string(), endpoint.target()), (shown.into(), target.into()));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_rule() {
        for (text, rule) in [
            ("", "port, as in"),
            (":1", "must name a host"),
            ("a b:1", "spaces"),
            ("a\0:1", "control"),
            ("host", "must have a port"),
            ("host:0", "1 to 65535"),
            ("host:99999", "1 to 65535"),
            ("host:+1", "1 to 65535"),
            ("host:", "1 to 65535"),
            ("::1:50051", "in brackets"),
            ("[::1", "close the bracket"),
            ("[host]:1", "IPv6 address in brackets"),
            ("[::1]50", "colon"),
            ("1.2.3:1", "four numbers"),
            ("1.2.3.256:1", "four numbers"),
            ("ftp://host:1", "http:// or https://"),
            ("https://host/path", "path"),
            ("user@host:1", "must name a host"),
            ("unix:relative", "absolute path"),
        ] {
            let said = Endpoint::parse(text).unwrap_err();
            assert!(said.contains(rule), "{text}: {said}");
        }
        assert!(Endpoint::parse(&format!("{}:1", "a".repeat(254))).is_err());
        assert!(Endpoint::parse(&format!("unix:/{}", "a".repeat(107))).is_err());
        assert!(Endpoint::new("host", 0).is_err() && Endpoint::new("", 1).is_err());
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost:1", "127.9.9.9:1", "[::1]:1", "unix:/a", "http://localhost"] {
            assert!(Endpoint::parse(local).unwrap().is_local(), "{local}");
        }
        for remote in ["example.com:1", "10.0.0.1:1", "[2001:db8::1]:1", "localhost.example:1"] {
            assert!(!Endpoint::parse(remote).unwrap().is_local(), "{remote}");
        }
        let scheme = |text| Endpoint::parse(text).unwrap().scheme();
        assert_eq!(scheme("http://a:1"), Some(Scheme::Plaintext));
        assert_eq!((scheme("https://a"), scheme("a:1")), (Some(Scheme::Tls), None));
    }
}
