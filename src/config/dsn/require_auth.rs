//! `require_auth`: the authentication methods that a server may use.

use super::error::DsnError;
use super::modes::Keyword;
use std::fmt;

/// A way for a server to authenticate a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthMethod {
    /// The server asks for the password in clear text.
    Password,
    /// The server asks for an MD5 digest of it.
    Md5,
    /// GSSAPI.
    Gss,
    /// Windows' SSPI.
    Sspi,
    /// SCRAM, which does not reveal the password, and proves that the server knows it.
    ScramSha256,
    /// A bearer token, PostgreSQL 18 and later.
    Oauth,
    /// The server asks for nothing: `trust`, or a client certificate.
    None,
}

impl Keyword for AuthMethod {
    const ALL: &'static [AuthMethod] = &[
        AuthMethod::Password,
        AuthMethod::Md5,
        AuthMethod::Gss,
        AuthMethod::Sspi,
        AuthMethod::ScramSha256,
        AuthMethod::Oauth,
        AuthMethod::None,
    ];

    fn keyword(self) -> &'static str {
        match self {
            AuthMethod::Password => "password",
            AuthMethod::Md5 => "md5",
            AuthMethod::Gss => "gss",
            AuthMethod::Sspi => "sspi",
            AuthMethod::ScramSha256 => "scram-sha-256",
            AuthMethod::Oauth => "oauth",
            AuthMethod::None => "none",
        }
    }
}

/// Which methods are allowed, by libpq's rules: those that are listed, or all but those
/// that are listed with a `!` each. The two forms do not mix, and nothing is listed twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequireAuth {
    negated: bool,
    /// Sorted, so that equal sets compare equal; never empty.
    listed: Vec<AuthMethod>,
}

impl RequireAuth {
    /// Reads a list. As in libpq, no blanks are allowed in it.
    pub(super) fn parse(list: &str) -> Result<RequireAuth, DsnError> {
        let refused = |rule: String| DsnError::at("require_auth", rule);
        let negated = list.starts_with('!');
        let mut listed = Vec::new();
        for element in list.split(',') {
            let word = element.strip_prefix('!');
            let Some(method) = AuthMethod::parse(word.unwrap_or(element)) else {
                let rule = "must be a list with commas, and no blanks, of";
                return Err(refused(format!("{rule} {}", AuthMethod::allowed())));
            };
            if word.is_some() != negated {
                let rule = "must have a ! before each of its methods, or before none";
                return Err(refused(rule.to_owned()));
            }
            if listed.contains(&method) {
                return Err(refused(format!("must name {} only once", method.keyword())));
            }
            listed.push(method);
        }
        listed.sort_unstable();
        Ok(RequireAuth { negated, listed })
    }

    /// True if a server may use this method.
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.listed.contains(&method) != self.negated
    }
}

impl fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, method) in self.listed.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let not = if self.negated { "!" } else { "" };
            write!(f, "{comma}{not}{}", method.keyword())?;
        }
        Ok(())
    }
}
