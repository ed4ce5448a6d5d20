//! A DSN written out in full, so that equal ones have equal texts.

use super::modes::Keyword;
use super::{ClientCert, Dsn, HostPort, PoolKeys, RootCert, Secret, TlsKeys};
use crate::config::Reset;
use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

/// Keys with their values, in a fixed order.
type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl Dsn {
    /// The connection string of `keyword=value` pairs that parses to this DSN,
    /// *with the password*. It differs whenever two DSNs differ.
    ///
    /// It is meant to be fed to a keyed digest, and to be kept nowhere but in the file that an
    /// operator has asked for (`state_file`).
    pub fn canonical(&self) -> String {
        text(&self.pairs())
    }

    /// The same without the `application_name`, which tells no pools apart.
    pub fn pool_canonical(&self) -> String {
        let mut pairs = self.pairs();
        pairs.retain(|(key, _)| *key != APPLICATION_NAME);
        text(&pairs)
    }

    /// A text that differs whenever two DSNs name different hosts, ports,
    /// databases or users; it holds no secret.
    pub fn target_canonical(&self) -> String {
        text(&self.target_pairs())
    }

    /// The keys that are not the same in another DSN, for people. Of the password nothing
    /// is said: a client that sends another host must not learn whether the password beside it
    /// is right. Nor of `application_name`, which tells no pools apart.
    pub fn differing(&self, other: &Dsn) -> Vec<String> {
        let (here, there) = (self.pairs(), other.pairs());
        let only_here = here.iter().filter(|pair| !there.contains(pair));
        let only_there = there.iter().filter(|pair| !here.contains(pair));
        let mut keys: Vec<String> = Vec::new();
        for (key, _) in only_here.chain(only_there) {
            let counts = ![PASSWORD, APPLICATION_NAME].contains(key);
            if counts && keys.iter().all(|known| known != key) {
                keys.push((*key).to_owned());
            }
        }
        keys
    }

    fn pairs(&self) -> Pairs<'_> {
        // Naming every field makes a new one a compile error here.
        let Dsn {
            hosts: _,
            dbname: _,
            user: _,
            password,
            tls,
            require_auth,
            target_session,
            connect_timeout,
            application_name,
            options,
            parameters,
            keepalives,
            keepalives_idle,
            keepalives_interval,
            keepalives_retries,
            tcp_user_timeout,
            pool,
        } = self;
        let mut out = self.target_pairs();
        push_some(&mut out, PASSWORD, password.as_ref().map(Secret::reveal));
        push_tls(&mut out, tls);
        push_some(&mut out, "require_auth", require_auth.as_ref().map(ToString::to_string));
        push(&mut out, "target_session_attrs", target_session.as_str());
        push_seconds(&mut out, "connect_timeout", connect_timeout);
        push_some(&mut out, APPLICATION_NAME, application_name.as_deref());
        push_some(&mut out, "options", options.as_deref());
        for (name, value) in parameters {
            push(&mut out, name, &**value);
        }
        push(&mut out, "keepalives", if *keepalives { "1" } else { "0" });
        push_seconds(&mut out, "keepalives_idle", keepalives_idle);
        push_seconds(&mut out, "keepalives_interval", keepalives_interval);
        push_number(&mut out, "keepalives_count", keepalives_retries);
        let millis = tcp_user_timeout.map(|timeout| timeout.as_millis().to_string());
        push_some(&mut out, "tcp_user_timeout", millis);
        push_pool(&mut out, pool);
        out
    }

    fn target_pairs(&self) -> Pairs<'_> {
        let mut out = Pairs::with_capacity(PAIRS);
        let mut list = |key, given: bool, write: fn(&mut String, &HostPort)| {
            if given {
                let mut items = String::with_capacity(LIST_BYTES);
                for (at, host) in self.hosts.iter().enumerate() {
                    if at > 0 {
                        items.push(',');
                    }
                    write(&mut items, host);
                }
                push(&mut out, key, items);
            }
        };
        let any = |given: fn(&HostPort) -> bool| self.hosts.iter().any(given);
        list("host", any(|at| at.host.is_some()), |out, at| {
            out.push_str(at.host.as_deref().unwrap_or_default());
        });
        list("hostaddr", any(|at| at.hostaddr.is_some()), |out, at| {
            // To write to a String does not fail.
            let _ = at.hostaddr.map(|address| write!(out, "{address}"));
        });
        list("port", true, |out, at| {
            let _ = write!(out, "{}", at.port);
        });
        push(&mut out, "dbname", &*self.dbname);
        push(&mut out, "user", &*self.user);
        out
    }
}

fn push_tls<'a>(out: &mut Pairs<'a>, tls: &'a TlsKeys) {
    let TlsKeys { mode, negotiation, root, client, channel_binding } = tls;
    push(out, "sslmode", mode.keyword());
    push(out, "sslnegotiation", negotiation.keyword());
    match root {
        Some(RootCert::System) => push(out, "sslrootcert", "system"),
        Some(RootCert::File(path)) => push(out, "sslrootcert", &**path),
        None => {}
    }
    if let Some(ClientCert { cert, key }) = client {
        push(out, "sslcert", &**cert);
        push(out, "sslkey", &**key);
    }
    push(out, "channel_binding", channel_binding.keyword());
}

fn push_pool(out: &mut Pairs<'_>, pool: &PoolKeys) {
    let PoolKeys {
        max_conns,
        min_conns,
        max_conn_lifetime,
        max_conn_idle_time,
        max_conn_lifetime_jitter,
        health_check_period,
        reset,
    } = pool;
    push_number(out, "pool_max_conns", max_conns);
    push_number(out, "pool_min_conns", min_conns);
    push_duration(out, "pool_max_conn_lifetime", max_conn_lifetime);
    push_duration(out, "pool_max_conn_idle_time", max_conn_idle_time);
    push_duration(out, "pool_max_conn_lifetime_jitter", max_conn_lifetime_jitter);
    push_duration(out, "pool_health_check_period", health_check_period);
    push_some(out, "pool_reset", reset.map(Reset::as_str));
}

/// One text; quoting keeps values from running into the next key.
fn text(pairs: &Pairs<'_>) -> String {
    let mut out = String::with_capacity(TEXT_BYTES);
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(key);
        out.push_str("='");
        for c in value.chars() {
            if matches!(c, '\\' | '\'') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('\'');
    }
    out
}

fn push<'a>(out: &mut Pairs<'a>, key: &'a str, value: impl Into<Cow<'a, str>>) {
    out.push((key, value.into()));
}

fn push_some<'a>(out: &mut Pairs<'a>, key: &'a str, value: Option<impl Into<Cow<'a, str>>>) {
    if let Some(value) = value {
        push(out, key, value);
    }
}

fn push_number<'a>(out: &mut Pairs<'a>, key: &'a str, value: &Option<u32>) {
    push_some(out, key, value.map(|number| number.to_string()));
}

fn push_seconds<'a>(out: &mut Pairs<'a>, key: &'a str, value: &Option<Duration>) {
    push_some(out, key, value.map(|duration| duration.as_secs().to_string()));
}

/// In Go's syntax.
fn push_duration<'a>(out: &mut Pairs<'a>, key: &'a str, value: &Option<Duration>) {
    push_some(out, key, value.map(|duration| format!("{}ns", duration.as_nanos())));
}

/// Room for most DSNs.
const TEXT_BYTES: usize = 512;
const LIST_BYTES: usize = 32;
const PAIRS: usize = 16;
const PASSWORD: &str = "password";
const APPLICATION_NAME: &str = "application_name";
