//! Texts by which two DSNs are told apart.

use super::{Dsn, HostPort, Secret};
use crate::config::Reset;
use std::time::Duration;

impl Dsn {
    /// A text that differs whenever two DSNs differ, *including the password*.
    ///
    /// It is meant to be fed to a keyed digest and to be kept nowhere.
    pub fn canonical(&self) -> String {
        // Naming every field makes a new one a compile error here.
        let Dsn {
            hosts: _,
            dbname: _,
            user: _,
            password,
            ssl_mode,
            channel_binding,
            connect_timeout,
            application_name,
            options,
            keepalives,
            keepalives_idle,
            keepalives_interval,
            keepalives_retries,
            tcp_user_timeout,
            pool,
        } = self;
        let mut out = self.target_canonical();
        push_some(&mut out, "password", password.as_ref().map(Secret::reveal));
        push(&mut out, "sslmode", ssl_mode.keyword());
        push(&mut out, "channel_binding", channel_binding.keyword());
        push_duration(&mut out, "connect_timeout", connect_timeout);
        push_some(&mut out, "application_name", application_name.as_deref());
        push_some(&mut out, "options", options.as_deref());
        push(&mut out, "keepalives", if *keepalives { "1" } else { "0" });
        push_duration(&mut out, "keepalives_idle", keepalives_idle);
        push_duration(&mut out, "keepalives_interval", keepalives_interval);
        push_number(&mut out, "keepalives_count", keepalives_retries);
        push_duration(&mut out, "tcp_user_timeout", tcp_user_timeout);
        push_number(&mut out, "pool_max_conns", &pool.max_conns);
        push_number(&mut out, "pool_min_conns", &pool.min_conns);
        push_duration(&mut out, "pool_max_conn_lifetime", &pool.max_conn_lifetime);
        push_duration(&mut out, "pool_max_conn_idle_time", &pool.max_conn_idle_time);
        push_duration(&mut out, "pool_max_conn_lifetime_jitter", &pool.max_conn_lifetime_jitter);
        push_some(&mut out, "pool_reset", pool.reset.map(Reset::as_str));
        out
    }

    /// A text that differs whenever two DSNs name different hosts, ports,
    /// databases or users; it holds no secret.
    pub fn target_canonical(&self) -> String {
        let mut out = String::new();
        for HostPort { host, hostaddr, port } in &self.hosts {
            push_some(&mut out, "host", host.as_deref());
            push_some(&mut out, "hostaddr", hostaddr.map(|addr| addr.to_string()).as_deref());
            push(&mut out, "port", &port.to_string());
        }
        push(&mut out, "dbname", &self.dbname);
        push(&mut out, "user", &self.user);
        out
    }
}

/// Appends a pair; quoting keeps values from running into the next key.
fn push(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str(key);
    out.push_str("='");
    out.push_str(&value.replace('\\', "\\\\").replace('\'', "\\'"));
    out.push('\'');
}

fn push_some(out: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        push(out, key, value);
    }
}

fn push_number(out: &mut String, key: &str, value: &Option<u32>) {
    push_some(out, key, value.map(|number| number.to_string()).as_deref());
}

fn push_duration(out: &mut String, key: &str, value: &Option<Duration>) {
    push_some(out, key, value.map(|duration| format!("{}ns", duration.as_nanos())).as_deref());
}
