//! A PostgreSQL connection string, read by libpq's rules.
//!
//! Both forms are accepted, `keyword=value` pairs and `postgresql://` URLs. Unlike in libpq, the
//! environment, default files and local sockets are not used, so that a DSN alone determines where
//! a pool connects to.
//!
//! Invariant: no error, `Debug` or `Display` of this module shows a password, or any value that
//! might be part of one. Only [`Secret::reveal`] and [`Dsn::canonical`] do.

mod canonical;
mod display;
mod error;
mod hosts;
mod keys;
mod keyword_value;
mod modes;
mod pair;
mod parameters;
mod require_auth;
mod settings;
mod tls;
mod url;

use crate::config::Reset;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub use error::DsnError;
pub use modes::{ChannelBinding, SslMode, SslNegotiation, TargetSession};
pub use require_auth::{AuthMethod, RequireAuth};
pub use tls::{ClientCert, RootCert, TlsKeys};

use error::NUL_RULE;
use pair::Pair;
use settings::DsnSettings;

/// A parsed and checked connection string. `Debug` and `Display` are redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// The servers to try, in order; never empty.
    pub hosts: Vec<HostPort>,
    /// The database, by default the user's name.
    pub dbname: String,
    /// The role to log in as.
    pub user: String,
    /// The password, if any; an empty one counts as none, as in libpq.
    pub password: Option<Secret>,
    /// Whether and how the connection is encrypted.
    pub tls: TlsKeys,
    /// The authentication methods that the server may use; `None` if not given: any.
    pub require_auth: Option<RequireAuth>,
    /// What a server must be to be used.
    pub target_session: TargetSession,
    /// How long one attempt may take over all its steps and hosts; the service's own
    /// limit holds where it is shorter. `None` if not given, zero or negative.
    pub connect_timeout: Option<Duration>,
    /// The name shown in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Command-line options for the server process.
    pub options: Option<String>,
    /// Settings of PostgreSQL for every session, by name; they win over `options`.
    pub parameters: BTreeMap<String, String>,
    /// Whether TCP keepalives are sent.
    pub keepalives: bool,
    /// Idle time before the first keepalive; none means the system's default.
    pub keepalives_idle: Option<Duration>,
    /// Time between keepalives; none means the system's default.
    pub keepalives_interval: Option<Duration>,
    /// Lost keepalives before the connection is dead; none means the system's default.
    pub keepalives_retries: Option<u32>,
    /// How long sent data may stay unacknowledged; none means the system's default.
    pub tcp_user_timeout: Option<Duration>,
    /// The pool's own keys.
    pub pool: PoolKeys,
}

/// One server; at least one of `host` and `hostaddr` is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The name, also used to check a certificate.
    pub host: Option<String>,
    /// The address to connect to without a lookup.
    pub hostaddr: Option<IpAddr>,
    /// The TCP port, never 0.
    pub port: u16,
}

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The `pool_*` keys, as pgxpool defined them. Durations use Go's syntax.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolKeys {
    /// `pool_max_conns`, at least 1.
    pub max_conns: Option<u32>,
    /// `pool_min_conns`.
    pub min_conns: Option<u32>,
    /// `pool_max_conn_lifetime`.
    pub max_conn_lifetime: Option<Duration>,
    /// `pool_max_conn_idle_time`.
    pub max_conn_idle_time: Option<Duration>,
    /// `pool_max_conn_lifetime_jitter`.
    pub max_conn_lifetime_jitter: Option<Duration>,
    /// `pool_health_check_period`, longer than zero.
    pub health_check_period: Option<Duration>,
    /// `pool_reset`, a key of ours: `clean` or `close`.
    pub reset: Option<Reset>,
}

impl Dsn {
    /// Parses and checks a connection string of at most 8 KiB.
    ///
    /// # Errors
    ///
    /// The text breaks libpq's syntax, lacks a host or a user, or asks for
    /// something that is not supported.
    pub fn parse(text: &str) -> Result<Dsn, DsnError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(DsnError::text("dsn must not be longer than 8192 bytes"));
        }
        Dsn::parse_written(text)
    }

    /// The same of a text that [`canonical`](Dsn::canonical) wrote, which may be longer than the one
    /// that it came from.
    ///
    /// # Errors
    ///
    /// As those of [`parse`](Self::parse).
    pub fn parse_written(text: &str) -> Result<Dsn, DsnError> {
        if text.trim().is_empty() {
            return Err(DsnError::text("dsn is required"));
        }
        if text.contains('\0') {
            return Err(DsnError::text(NUL_RULE));
        }
        if url::is_of_another_scheme(text) {
            return Err(DsnError::text("a URL must begin with postgres:// or postgresql://"));
        }
        let url = url::behind_prefix(text);
        // The whole text is parsed before any key is checked: after a syntax error a key cannot be
        // told from a piece of a password.
        let pairs = match url {
            Some(rest) => url::pairs(rest)?,
            None => keyword_value::pairs(text)?,
        };
        Dsn::from_settings(DsnSettings::from_pairs(pairs)?)
    }

    /// The DSN that these keys with their values make.
    ///
    /// # Errors
    ///
    /// As those of [`parse`](Self::parse).
    pub fn of(pairs: Vec<(&'static str, String)>) -> Result<Dsn, DsnError> {
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(DsnError::text(NUL_RULE));
        }
        if pairs.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>()
            > TEXT_MAX_BYTES
        {
            return Err(DsnError::text("dsn must not be longer than 8192 bytes"));
        }
        let pair =
            |(key, value): (&'static str, String)| Pair { key: key.into(), value, showable: true };
        Dsn::from_settings(DsnSettings::from_pairs(pairs.into_iter().map(pair).collect())?)
    }

    /// The same without the password.
    pub fn without_password(&self) -> Dsn {
        Dsn { password: None, ..self.clone() }
    }

    fn from_settings(mut settings: DsnSettings) -> Result<Dsn, DsnError> {
        settings.check_fixed()?;
        let hosts = hosts::hosts(&mut settings)?;
        let tls = TlsKeys::from_settings(&mut settings)?;
        tls.check_hosts(&hosts)?;
        let Some(user) = settings.text("user") else {
            return Err(DsnError::text("user is required"));
        };
        Ok(Dsn {
            hosts,
            dbname: settings.text("dbname").unwrap_or_else(|| user.clone()),
            user,
            password: settings.text("password").map(Secret),
            tls,
            require_auth: settings
                .text("require_auth")
                .map(|list| RequireAuth::parse(&list))
                .transpose()?,
            target_session: settings.choice("target_session_attrs")?.unwrap_or_default(),
            connect_timeout: settings.seconds("connect_timeout")?,
            application_name: settings.text("application_name"),
            options: settings.text("options"),
            parameters: std::mem::take(&mut settings.parameters),
            keepalives: settings.integer("keepalives")? != Some(0),
            keepalives_idle: settings.seconds_to("keepalives_idle", KEEPALIVE_MAX)?,
            keepalives_interval: settings.seconds_to("keepalives_interval", KEEPALIVE_MAX)?,
            keepalives_retries: settings.positive_to("keepalives_count", PROBES_MAX)?,
            tcp_user_timeout: settings.milliseconds("tcp_user_timeout")?,
            pool: PoolKeys {
                max_conns: settings.connections("pool_max_conns", 1)?,
                min_conns: settings.connections("pool_min_conns", 0)?,
                max_conn_lifetime: settings.duration("pool_max_conn_lifetime")?,
                max_conn_idle_time: settings.duration("pool_max_conn_idle_time")?,
                max_conn_lifetime_jitter: settings.duration("pool_max_conn_lifetime_jitter")?,
                health_check_period: settings.period("pool_health_check_period")?,
                reset: settings.reset()?,
            },
        })
    }
}

impl Secret {
    /// The text itself, for the login and for keyed digests only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Linux's maxima for a socket: seconds, and number of probes.
const KEEPALIVE_MAX: u32 = 32_767;
const PROBES_MAX: u32 = 127;

const TEXT_MAX_BYTES: usize = 8192;

#[cfg(test)]
mod tests;
