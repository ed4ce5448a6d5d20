//! The rules that settings keep, and what they mean once they do.

mod policies;

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::{ServiceConfig, TlsMode};
use crate::client::endpoint::{Endpoint, Scheme};
use crate::client::error::{ConfigError, Fault};

pub(in crate::client) use policies::check_call;

/// Longer times mean the same, and would overflow gRPC's milliseconds.
pub(super) const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The same as the end of a rule. A day is no unit.
pub(super) const AT_MOST: &str = "at most 168h, which are 7 days";
/// gRPC counts bytes in 31 bits.
const MESSAGE_MAX: usize = 1 << 30;
/// Each connection takes a descriptor, and at least 30 KiB.
pub(in crate::client) const SIZE_MAX: usize = 1000;
/// The longest word that is shown or sent.
const WORD_MAX: usize = 200;
/// The longest name of a service or a method.
const NAME_MAX: usize = 1024;
/// As many as there may be channels.
const ADDRESSES_MAX: usize = 1000;

/// Settings that keep all rules.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The addresses; true: with TLS.
    pub(in crate::client) endpoints: Vec<(Endpoint, bool)>,
    /// The settings.
    pub(in crate::client) config: ServiceConfig,
}

/// Collects what is wrong.
struct ConfigFaults(Vec<Fault>);

impl ConfigFaults {
    fn add(&mut self, key: &str, rule: impl Into<String>) {
        self.0.push(Fault { key: key.to_owned(), rule: rule.into() });
    }

    fn within<T: PartialOrd + Copy + Display>(&mut self, key: &str, value: T, least: T, most: T) {
        // Not the other way round: NaN is in no range.
        if !(least..=most).contains(&value) {
            self.add(key, format!("must be from {least} to {most}, and is {value}"));
        }
    }

    fn time(&mut self, key: &str, value: Duration) {
        if value.is_zero() {
            self.add(key, "must be greater than 0");
        } else if value > LONGEST {
            self.add(key, format!("must be {AT_MOST}"));
        }
    }
}

/// What a host must be that was written with more.
const HOST_RULE: &str = "must be a name, an IPv4 or an IPv6 address, without scheme and port: \
     `port` is a setting of its own, and `addresses` takes host:port and http://host:port";

/// What was given as a host and is none, of an address that was made of it: a colon was taken for
/// one of IPv6.
fn mistaken(address: &str) -> Option<&str> {
    let (host, _) = address.strip_prefix('[')?.split_once(']')?;
    (host.contains(':') && host.parse::<Ipv6Addr>().is_err()).then_some(host)
}

/// An address without who would log in there, whose password is no word for a log.
fn shown(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("...@{host}"),
        None => address.to_owned(),
    }
}

impl ServiceConfig {
    /// Checks all settings.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key and its rule.
    pub fn check(&self) -> Result<Checked, ConfigError> {
        let mut faults = ConfigFaults(Vec::new());
        let endpoints = self.endpoints(&mut faults);
        self.check_tls(&mut faults);
        self.check_numbers(&mut faults);
        match faults.0.is_empty() {
            true => Ok(Checked { endpoints, config: self.clone() }),
            false => Err(ConfigError { faults: faults.0 }),
        }
    }

    fn endpoints(&self, faults: &mut ConfigFaults) -> Vec<(Endpoint, bool)> {
        if self.addresses.is_empty() {
            faults.add("addresses", "must have at least one");
        }
        faults.within("addresses", self.addresses.len(), 0, ADDRESSES_MAX);
        let mut endpoints: Vec<(Endpoint, bool)> = Vec::new();
        // More are an error already, and each is compared with all others.
        for address in self.addresses.iter().take(ADDRESSES_MAX) {
            match Endpoint::parse(address) {
                Ok(endpoint) if endpoints.iter().any(|(known, _)| *known == endpoint) => {
                    faults.add(&format!("address {}", shown(address)), "must not be there twice");
                }
                Ok(endpoint) => {
                    let secure = self.is_secure(&endpoint);
                    if self.tls.required && !secure {
                        let rule = "must be reached with TLS: production refuses plaintext";
                        faults.add(&format!("address {}", shown(address)), rule);
                    }
                    endpoints.push((endpoint, secure));
                }
                Err(rule) => match mistaken(address) {
                    Some(host) => faults.add(&format!("host {:?}", shown(host)), HOST_RULE),
                    None => faults.add(&format!("address {:?}", shown(address)), rule),
                },
            }
        }
        endpoints
    }

    fn is_secure(&self, endpoint: &Endpoint) -> bool {
        match (endpoint.scheme(), self.tls.mode) {
            (Some(scheme), _) => scheme == Scheme::Tls,
            (None, TlsMode::On) => true,
            (None, TlsMode::Off) => false,
            (None, TlsMode::Auto) => !endpoint.is_local() || self.tls.is_said(),
        }
    }

    fn check_tls(&self, faults: &mut ConfigFaults) {
        let tls = &self.tls;
        match (&tls.cert_file, &tls.key_file) {
            (Some(_), None) => faults.add("tls.cert_file", "must come with tls.key_file"),
            (None, Some(_)) => faults.add("tls.key_file", "must come with tls.cert_file"),
            _ => {}
        }
        if tls.server_name.as_ref().is_some_and(|name| Endpoint::new(name, 1).is_err()) {
            faults.add("tls.server_name", "must be the name of a host");
        }
    }

    fn check_numbers(&self, faults: &mut ConfigFaults) {
        let (pool, connection) = (&self.pool, &self.connection);
        faults.within("pool.size", pool.size, 1, SIZE_MAX);
        if let Some(least) = pool.min_size {
            // What is wrong with the size is said already.
            faults.within("pool.min_size", least, 1, pool.size.max(1));
        }
        faults.time("pool.idle_timeout", pool.idle_timeout);
        faults.within("pool.calls_per_channel", pool.calls_per_channel, 1, 10_000);
        faults.within("pool.max_waiters", pool.max_waiters, 0, 1_000_000);
        faults.time("pool.checkout_timeout", pool.checkout_timeout);
        faults.time("pool.open_timeout", pool.open_timeout);
        faults.time("pool.drain_timeout", pool.drain_timeout);
        for (key, time) in [
            ("pool.max_age", pool.max_age),
            ("pool.leak_warning", pool.leak_warning),
            ("tls.reload", self.tls.reload),
            ("connection.keepalive_time", connection.keepalive_time),
            ("connection.ping_interval", connection.ping_interval),
            ("connection.dns_refresh", connection.dns_refresh),
            ("call.timeout", self.call.timeout),
            ("call.attempt_timeout", self.call.attempt_timeout),
            ("events.status_interval", self.events.status_interval),
        ] {
            if let Some(time) = time {
                faults.time(key, time);
            }
        }
        let bytes = connection.max_message_bytes;
        faults.within("connection.max_message_bytes", bytes, 1, MESSAGE_MAX);
        faults.time("connection.keepalive_timeout", connection.keepalive_timeout);
        faults.time("connection.connect_timeout", connection.connect_timeout);
        faults.time("connection.reconnect_backoff_min", connection.reconnect_backoff_min);
        faults.time("connection.max_reconnect_delay", connection.max_reconnect_delay);
        if connection.max_reconnect_delay < connection.reconnect_backoff_min {
            let rule = "must not be less than connection.reconnect_backoff_min";
            faults.add("connection.max_reconnect_delay", rule);
        }
        self.check_health(faults);
        self.check_words(faults);
        self.check_policies(faults);
    }

    fn check_words(&self, faults: &mut ConfigFaults) {
        let is_good = |c: char| c.is_ascii_graphic() || c == ' ';
        let agent = self.connection.user_agent.as_deref().unwrap_or("none");
        for (key, word) in [("type", &*self.kind), ("connection.user_agent", agent)] {
            if word.len() > WORD_MAX || !word.chars().all(is_good) {
                faults.add(key, format!("must be at most {WORD_MAX} printable ASCII characters"));
            }
        }
    }

    fn check_health(&self, faults: &mut ConfigFaults) {
        let health = &self.health;
        faults.time("health.interval", health.interval);
        faults.time("health.timeout", health.timeout);
        faults.within("health.tries", health.tries, 1, 1000);
        faults.within("health.successes", health.successes, 1, 1000);
        if health.service.len() > NAME_MAX {
            faults.add("health.service", format!("must be at most {NAME_MAX} bytes"));
        }
        if let Some(method) = &health.method {
            let is_good = |c: char| c.is_ascii_graphic();
            let has_form = method.starts_with('/') && method[1..].contains('/');
            if !has_form || method.len() > NAME_MAX || !method.chars().all(is_good) {
                let rule = format!("must be like /shop.Users/Ping, of at most {NAME_MAX} bytes");
                faults.add("health.method", rule);
            }
        }
    }

    fn check_policies(&self, faults: &mut ConfigFaults) {
        faults.policies(self);
        faults.within("events.sample_rate", self.events.sample_rate, 0.0, 1.0);
    }
}
