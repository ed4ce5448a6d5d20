//! The startup settings of a session.

use postgres::config::{ChannelBinding, SslMode, SslNegotiation};

use crate::config::dsn::{self, Dsn};

/// Makes PostgreSQL end a statement whose client is gone; PostgreSQL 14 and later.
const CHECK_CLIENT: &str = "-c client_connection_check_interval=1s";

/// The driver's settings for a DSN.
pub(super) fn settings(dsn: &Dsn, application_name: &str, old_server: bool) -> postgres::Config {
    let mut config = postgres::Config::new();
    config
        .user(&dsn.user)
        .dbname(&dsn.dbname)
        .application_name(application_name)
        // The driver calls our connector as if for direct TLS; the connector applies the
        // DSN's sslmode.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(match dsn.tls.channel_binding {
            dsn::ChannelBinding::Disable => ChannelBinding::Disable,
            dsn::ChannelBinding::Prefer => ChannelBinding::Prefer,
            dsn::ChannelBinding::Require => ChannelBinding::Require,
        });
    if let Some(password) = &dsn.password {
        config.password(password.reveal());
    }
    let options = options(dsn, old_server);
    if !options.is_empty() {
        config.options(&options);
    }
    config
}

/// The options of the server process: ours, those of the DSN, and its run-time
/// parameters, of which later ones win.
fn options(dsn: &Dsn, old_server: bool) -> String {
    let mut words = Vec::new();
    if !old_server {
        words.push(CHECK_CLIENT.to_owned());
    }
    words.extend(dsn.options.as_deref().map(whole));
    words
        .extend(dsn.parameters.iter().map(|(name, value)| format!("-c {name}={}", escaped(value))));
    words.join(" ")
}

/// PostgreSQL drops a backslash with nothing behind it; with a blank behind it
/// would glue what follows to the last word.
fn whole(options: &str) -> String {
    let backslashes = options.bytes().rev().take_while(|byte| *byte == b'\\').count();
    options[..options.len() - backslashes % 2].to_owned()
}

/// A value as one word of the options.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        // C's isspace, in PostgreSQL's C locale.
        if c == '\\' || matches!(c, ' ' | '\t'..='\r') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_words_of_their_own_and_come_last() {
        let dsn =
            Dsn::parse(r"host=h user=u options='-c x=1 \\\\\\' timezone='a b\\c' search_path=''");
        let options = options(&dsn.unwrap(), false);
        assert_eq!(
            options,
            r"-c client_connection_check_interval=1s -c x=1 \\ -c search_path= -c timezone=a\ b\\c"
        );
        let bare = Dsn::parse("host=h user=u").unwrap();
        assert_eq!(super::options(&bare, true), "");
    }
}
