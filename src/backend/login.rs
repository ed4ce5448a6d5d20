//! Which authentication requests of a server are answered.
//!
//! The driver answers every request. One that must not be answered is therefore detected
//! before the driver sees it, and the stream is closed.

use crate::config::dsn::{AuthMethod, RequireAuth};

/// The state of one login.
#[derive(Debug, Default)]
pub struct Login {
    required: Option<RequireAuth>,
    encrypted: bool,
    asked: bool,
    objection: Option<String>,
}

impl Login {
    /// A login by these methods, or by any.
    pub fn by(required: Option<RequireAuth>) -> Login {
        Login { required, ..Login::default() }
    }

    /// The connection is encrypted.
    pub fn encrypted(&mut self) {
        self.encrypted = true;
    }

    /// True if the server requested the password by any method.
    pub fn was_asked(&self) -> bool {
        self.asked
    }

    /// Why the request must not be answered, if so.
    pub fn objection(&self) -> Option<&str> {
        self.objection.as_deref()
    }

    /// Records an Authentication message of this kind.
    pub fn note(&mut self, kind: u32) {
        let what = match kind {
            OK => (!self.asked).then_some((AuthMethod::None, "asks for no password")),
            CLEARTEXT => Some((AuthMethod::Password, "asks for the password in clear text")),
            MD5 => Some((AuthMethod::Md5, "asks for an MD5 digest of the password")),
            GSS => Some((AuthMethod::Gss, "asks for GSSAPI")),
            SSPI => Some((AuthMethod::Sspi, "asks for SSPI")),
            // The driver knows no other SASL mechanism.
            SASL => Some((AuthMethod::ScramSha256, "asks for SCRAM")),
            // These continue an exchange, or the driver does not support them.
            _ => None,
        };
        self.asked |= matches!(kind, CLEARTEXT | MD5 | SASL);
        let Some((method, does)) = what else { return };
        let refused = self.required.as_ref().filter(|required| !required.allows(method));
        let objection = match refused {
            Some(required) => {
                Some(format!("the server {does}, which require_auth={required} does not allow"))
            }
            None if method == AuthMethod::Password && !self.encrypted => Some(NOT_SENT.to_owned()),
            None => None,
        };
        self.objection = self.objection.take().or(objection);
    }
}

/// The kinds of Authentication messages, by PostgreSQL's documentation of its protocol.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const GSS: u32 = 7;
const SSPI: u32 = 9;
const SASL: u32 = 10;

/// The error for a password that would be sent in clear text.
const NOT_SENT: &str = "the server asks for the password in clear text over a connection without \
                        TLS; it was not sent (use sslmode=require, or scram-sha-256 in pg_hba.conf)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dsn::Dsn;

    /// What is said against a server that sends these, with this `require_auth`.
    fn objection(list: &str, encrypted: bool, kinds: &[u32]) -> Option<String> {
        let dsn = Dsn::parse(&format!("host=h user=u require_auth='{list}'")).unwrap();
        let mut login = Login::by(dsn.require_auth);
        if encrypted {
            login.encrypted();
        }
        kinds.iter().for_each(|kind| login.note(*kind));
        login.objection().map(str::to_owned)
    }

    const SCRAM_WHOLE: &[u32] = &[SASL, 11, 12, OK];

    #[test]
    fn a_server_may_do_what_is_allowed_and_nothing_else() {
        for (list, kinds, good) in [
            ("", SCRAM_WHOLE, true),
            ("", &[MD5, OK], true),
            ("", &[CLEARTEXT, OK], true),
            ("", &[OK], true),
            ("scram-sha-256", SCRAM_WHOLE, true),
            ("scram-sha-256", &[MD5], false),
            ("scram-sha-256", &[CLEARTEXT], false),
            ("scram-sha-256", &[GSS], false),
            ("scram-sha-256", &[OK], false),
            ("scram-sha-256,none", &[OK], true),
            ("md5,password", &[CLEARTEXT, OK], true),
            ("md5,password", &[MD5, OK], true),
            ("md5,password", &[SASL], false),
            ("none", &[OK], true),
            ("none", SCRAM_WHOLE, false),
            ("!none", &[OK], false),
            ("!none", &[CLEARTEXT, OK], true),
            ("!password", &[OK], true),
            ("!password", &[CLEARTEXT], false),
            ("!password,!md5", SCRAM_WHOLE, true),
            ("!scram-sha-256", &[SASL], false),
            ("gss,sspi", &[GSS], true),
            ("gss,sspi", SCRAM_WHOLE, false),
            ("oauth", &[SASL], false),
        ] {
            assert_eq!(objection(list, true, kinds).is_none(), good, "{list} {kinds:?}");
        }
    }

    #[test]
    fn nothing_allows_a_password_in_clear_text_without_tls() {
        for list in ["", "password", "!md5"] {
            assert_eq!(objection(list, false, &[CLEARTEXT]).as_deref(), Some(NOT_SENT));
        }
        let said = objection("scram-sha-256", false, &[CLEARTEXT, OK]);
        let expected = "the server asks for the password in clear text, which \
                        require_auth=scram-sha-256 does not allow";
        assert_eq!(said.as_deref(), Some(expected));
        assert_eq!(objection("", false, &[MD5, OK]), None);
    }
}
