//! A PostgreSQL connection string, read by libpq's rules.
//!
//! Both forms are understood, `keyword=value` pairs and `postgresql://` URLs. What
//! libpq would take from the environment, a file or a local socket is refused, so
//! that a DSN alone says where a pool connects to.
//!
//! Architecture Invariant: no error, `Debug` or `Display` of this file shows a
//! password or any other value that was not accepted as something else. Only
//! [`Secret::reveal`] and [`Dsn::canonical`] do.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::net::IpAddr;
use std::str::Chars;
use std::time::Duration;

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
    /// Whether the connection is encrypted.
    pub ssl_mode: SslMode,
    /// Whether SCRAM is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// The time to connect to one host; none means no limit.
    pub connect_timeout: Option<Duration>,
    /// The name shown in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Command-line options for the server process.
    pub options: Option<String>,
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

/// The supported values of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt if the server can; libpq's default.
    #[default]
    Prefer,
    /// Encrypt or fail; the certificate is not checked.
    Require,
}

/// The values of `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never bind.
    Disable,
    /// Bind if the server can; libpq's default.
    #[default]
    Prefer,
    /// Bind or fail.
    Require,
}

/// A text that is shown nowhere.
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
}

/// Why a connection string was refused. It never holds a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsnError {
    /// The key at fault; none for a syntax error or a key that may be a stray value.
    pub key: Option<String>,
    /// The rule that was broken.
    pub rule: String,
}

impl Dsn {
    /// Parses and checks a connection string of at most 8 KiB.
    ///
    /// # Errors
    ///
    /// The text breaks libpq's syntax, lacks a host or a user, or asks for
    /// something that is not supported.
    pub fn parse(text: &str) -> Result<Dsn, DsnError> {
        if text.trim().is_empty() {
            return Err(DsnError::text("dsn is required"));
        }
        if text.len() > TEXT_MAX_BYTES {
            return Err(DsnError::text("dsn must not be longer than 8192 bytes"));
        }
        if text.contains('\0') {
            return Err(DsnError::text(NUL_RULE));
        }
        let url = URL_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
        // The whole text is read before any key is looked at: behind a syntax
        // error nothing tells a key from a piece of a password.
        let pairs = match url {
            Some(rest) => url_pairs(rest)?,
            None => keyword_pairs(text)?,
        };
        Dsn::from_settings(Settings::from_pairs(pairs)?)
    }

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

    fn from_settings(mut settings: Settings) -> Result<Dsn, DsnError> {
        settings.check_fixed()?;
        let hosts = hosts(&mut settings)?;
        let Some(user) = settings.text("user") else {
            return Err(DsnError::text("user is required"));
        };
        Ok(Dsn {
            hosts,
            dbname: settings.text("dbname").unwrap_or_else(|| user.clone()),
            user,
            password: settings.text("password").map(Secret),
            ssl_mode: settings.ssl_mode()?,
            channel_binding: settings.channel_binding()?,
            connect_timeout: settings.seconds("connect_timeout")?,
            application_name: settings.text("application_name"),
            options: settings.text("options"),
            keepalives: settings.integer("keepalives")? != Some(0),
            keepalives_idle: settings.seconds("keepalives_idle")?,
            keepalives_interval: settings.seconds("keepalives_interval")?,
            keepalives_retries: settings.positive("keepalives_count")?,
            tcp_user_timeout: settings.milliseconds("tcp_user_timeout")?,
            pool: PoolKeys {
                max_conns: settings.connections("pool_max_conns", 1)?,
                min_conns: settings.connections("pool_min_conns", 0)?,
                max_conn_lifetime: settings.duration("pool_max_conn_lifetime")?,
                max_conn_idle_time: settings.duration("pool_max_conn_idle_time")?,
                max_conn_lifetime_jitter: settings.duration("pool_max_conn_lifetime_jitter")?,
            },
        })
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |item: fn(&HostPort) -> String| {
            self.hosts.iter().map(item).collect::<Vec<_>>().join(",")
        };
        if self.hosts.iter().any(|at| at.host.is_some()) {
            let names = list(|at| at.host.clone().unwrap_or_default());
            write!(f, "host={} ", shown(&names))?;
        }
        if self.hosts.iter().any(|at| at.hostaddr.is_some()) {
            write!(
                f,
                "hostaddr={} ",
                list(|at| at.hostaddr.map_or_else(String::new, |a| a.to_string()))
            )?;
        }
        write!(f, "port={} ", list(|at| at.port.to_string()))?;
        write!(f, "dbname={} user={} ", shown(&self.dbname), shown(&self.user))?;
        write!(f, "sslmode={}", self.ssl_mode.keyword())
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
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

impl SslMode {
    /// The value of `sslmode`.
    pub fn keyword(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
        }
    }
}

impl ChannelBinding {
    /// The value of `channel_binding`.
    pub fn keyword(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

impl DsnError {
    fn text(rule: &str) -> Self {
        DsnError { key: None, rule: rule.to_owned() }
    }

    /// `key` is one of the constants below, so it gives nothing away.
    fn at(key: &'static str, rule: impl Into<String>) -> Self {
        DsnError { key: Some(key.to_owned()), rule: rule.into() }
    }
}

impl fmt::Display for DsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.rule),
            None => f.write_str(&self.rule),
        }
    }
}

impl std::error::Error for DsnError {}

/// A key and a value as they were typed, after unquoting or percent-decoding.
struct Pair {
    key: String,
    value: String,
    /// An unknown key may be shown: nothing suggests it is a piece of a password.
    showable: bool,
}

/// Reads `keyword=value` pairs as libpq's `conninfo_parse` does.
fn keyword_pairs(text: &str) -> Result<Vec<Pair>, DsnError> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut showable = true;
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !is_blank(*c)) {
            key.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next() != Some('=') {
            return Err(DsnError::text("missing \"=\" after a key"));
        }
        skip_blanks(&mut chars);
        let quoted = chars.next_if_eq(&'\'').is_some();
        let value = if quoted { quoted_value(&mut chars)? } else { plain_value(&mut chars) };
        // An unquoted password ends at its first blank, so what follows may
        // well be the rest of it.
        let next_showable = quoted || key != "password";
        pairs.push(Pair { key, value, showable });
        showable = next_showable;
    }
}

fn quoted_value(chars: &mut Peekable<Chars<'_>>) -> Result<String, DsnError> {
    let mut value = String::new();
    loop {
        match chars.next() {
            None => return Err(DsnError::text("unterminated quoted value")),
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

fn plain_value(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !is_blank(*c)) {
        match c {
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    value
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

/// C's `isspace`.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Reads a URL behind its prefix as libpq's `conninfo_uri_parse_options` does.
fn url_pairs(text: &str) -> Result<Vec<Pair>, DsnError> {
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
        let mut key = percent_decoded(key).map_err(DsnError::text)?;
        let mut value = percent_decoded(value).map_err(DsnError::text)?;
        // JDBC's spelling, which libpq also knows.
        if key == "ssl" && value == "true" {
            (key, value) = ("sslmode".to_owned(), "require".to_owned());
        }
        pairs.push(Pair { key, value, showable });
        rest = after;
    }
    Ok(())
}

/// Adds a part of the URL before the query; an empty part counts as absent.
fn push_part(pairs: &mut Vec<Pair>, key: &'static str, part: &str) -> Result<(), DsnError> {
    if !part.is_empty() {
        let value = percent_decoded(part).map_err(|rule| DsnError::at(key, rule))?;
        pairs.push(Pair { key: key.to_owned(), value, showable: true });
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

/// The last value of every key that was given.
struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    fn from_pairs(pairs: Vec<Pair>) -> Result<Settings, DsnError> {
        let mut settings = BTreeMap::new();
        for Pair { key, value, showable } in pairs {
            // The Rust driver's name for libpq's key.
            let key = if key == "keepalives_retries" { "keepalives_count".to_owned() } else { key };
            if let Some(known) = SUPPORTED_KEYS.iter().find(|known| **known == key) {
                settings.insert(*known, value);
            } else if let Some(known) = UNSUPPORTED_KEYS.iter().find(|known| **known == key) {
                return Err(DsnError::at(known, "not supported"));
            } else {
                let key = Some(key).filter(|key| showable && is_keyword(key));
                return Err(DsnError { key, rule: "unknown key".to_owned() });
            }
        }
        Ok(Settings(settings))
    }

    /// Keys that are accepted only with the value the service works with anyway.
    fn check_fixed(&mut self) -> Result<(), DsnError> {
        if self.0.remove("target_session_attrs").is_some_and(|value| value != "any") {
            return Err(DsnError::at("target_session_attrs", "must be any"));
        }
        // The server ignores case and punctuation in the name of an encoding.
        let encoding = self.text("client_encoding").unwrap_or_else(|| "auto".to_owned());
        let letters: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if encoding != "auto" && !letters.eq_ignore_ascii_case("utf8") {
            return Err(DsnError::at("client_encoding", "must be UTF8 or auto"));
        }
        Ok(())
    }

    /// A text for which empty means absent.
    fn text(&mut self, key: &'static str) -> Option<String> {
        self.0.remove(key).filter(|value| !value.is_empty())
    }

    /// libpq's `parse_int_param`: an `int`, blanks around it allowed.
    fn integer(&mut self, key: &'static str) -> Result<Option<i32>, DsnError> {
        let Some(value) = self.0.remove(key) else {
            return Ok(None);
        };
        match value.trim_matches(is_blank).parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(DsnError::at(key, "must be an integer")),
        }
    }

    /// A number for which zero and below mean the default.
    fn positive(&mut self, key: &'static str) -> Result<Option<u32>, DsnError> {
        let number = self.integer(key)?.and_then(|number| u32::try_from(number).ok());
        Ok(number.filter(|number| *number > 0))
    }

    fn seconds(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        Ok(self.positive(key)?.map(|seconds| Duration::from_secs(seconds.into())))
    }

    fn milliseconds(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        Ok(self.positive(key)?.map(|millis| Duration::from_millis(millis.into())))
    }

    fn connections(&mut self, key: &'static str, least: u32) -> Result<Option<u32>, DsnError> {
        match self.integer(key)?.map(u32::try_from) {
            None => Ok(None),
            Some(Ok(number)) if number >= least => Ok(Some(number)),
            Some(_) => Err(DsnError::at(key, format!("must be at least {least}"))),
        }
    }

    fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, DsnError> {
        let Some(value) = self.0.remove(key) else {
            return Ok(None);
        };
        match go_duration(&value) {
            Some(duration) => Ok(Some(duration)),
            None => Err(DsnError::at(key, "must be a duration such as 1h30m or 300ms")),
        }
    }

    fn ssl_mode(&mut self) -> Result<SslMode, DsnError> {
        let rule = match self.0.remove("sslmode").as_deref() {
            None => return Ok(SslMode::default()),
            Some("disable") => return Ok(SslMode::Disable),
            Some("prefer") => return Ok(SslMode::Prefer),
            Some("require") => return Ok(SslMode::Require),
            Some("allow") => "allow is not supported; use disable, prefer or require",
            Some("verify-ca") => "verify-ca is not supported; use disable, prefer or require",
            Some("verify-full") => "verify-full is not supported; use disable, prefer or require",
            Some(_) => "must be disable, prefer or require",
        };
        Err(DsnError::at("sslmode", rule))
    }

    fn channel_binding(&mut self) -> Result<ChannelBinding, DsnError> {
        match self.0.remove("channel_binding").as_deref() {
            None => Ok(ChannelBinding::default()),
            Some("disable") => Ok(ChannelBinding::Disable),
            Some("prefer") => Ok(ChannelBinding::Prefer),
            Some("require") => Ok(ChannelBinding::Require),
            Some(_) => Err(DsnError::at("channel_binding", "must be disable, prefer or require")),
        }
    }
}

/// Pairs the lists of hosts, addresses and ports as libpq does: the addresses,
/// or else the names, say how many servers there are.
fn hosts(settings: &mut Settings) -> Result<Vec<HostPort>, DsnError> {
    let names = settings.text("host");
    let addresses = settings.text("hostaddr");
    let ports = settings.text("port");
    let Some(leading) = addresses.as_deref().or(names.as_deref()) else {
        return Err(DsnError::text("host is required"));
    };
    let count = leading.split(',').count();
    let names = elements(names.as_deref(), count)
        .ok_or_else(|| DsnError::at("host", "must have as many elements as hostaddr"))?;
    let addresses = elements(addresses.as_deref(), count)
        .ok_or_else(|| DsnError::at("hostaddr", "must have as many elements as host"))?;
    // A single port serves every host.
    let ports = match ports.as_deref() {
        Some(port) if !port.contains(',') => vec![port; count],
        ports => elements(ports, count).ok_or_else(|| {
            DsnError::at("port", "must be one port or as many as there are hosts")
        })?,
    };
    let parts = names.into_iter().zip(addresses).zip(ports);
    parts.map(|((name, address), port)| host_port(name, address, port)).collect()
}

/// The elements of a list, or `count` empty ones for an absent list; none if
/// there are more or fewer.
fn elements(list: Option<&str>, count: usize) -> Option<Vec<&str>> {
    let Some(list) = list else {
        return Some(vec![""; count]);
    };
    Some(list.split(',').collect()).filter(|elements: &Vec<&str>| elements.len() == count)
}

fn host_port(name: &str, address: &str, port: &str) -> Result<HostPort, DsnError> {
    if name.starts_with(['/', '@']) {
        return Err(DsnError::at("host", "Unix sockets are not supported, use a TCP host"));
    }
    // An "@" here is most likely the rest of a password; a host is displayed.
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || "@/\\?#=&'\"".contains(c)) {
        let rule = "must be a name or an address (percent-encode a password in a URL)";
        return Err(DsnError::at("host", rule));
    }
    let hostaddr = match address {
        "" => None,
        address => match address.parse() {
            Ok(parsed) => Some(parsed),
            Err(_) => return Err(DsnError::at("hostaddr", "must be an IPv4 or IPv6 address")),
        },
    };
    if name.is_empty() && hostaddr.is_none() {
        return Err(DsnError::text("host is required"));
    }
    let port = match port {
        "" => DEFAULT_PORT,
        port => match port.trim_matches(is_blank).parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(DsnError::at("port", "must be an integer from 1 to 65535")),
        },
    };
    let host = Some(name.to_owned()).filter(|name| !name.is_empty());
    Ok(HostPort { host, hostaddr, port })
}

/// Go's `time.ParseDuration`, without negative durations.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            // The micro sign and the Greek letter look alike; Go takes both.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        // Below 2^64 times 2^42, so neither product nor sum overflows.
        nanos += u128::from(number(whole)?) * unit_nanos;
        // Digits beyond the eighteenth are less than a nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10u128.pow(fraction.len() as u32);
        nanos += u128::from(number(fraction)?) * unit_nanos / scale;
        if nanos > GO_DURATION_MAX_NANOS {
            return None;
        }
        rest = after;
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    }
}

fn is_keyword(key: &str) -> bool {
    (1..=32).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
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

/// A value on one line of a log: quoted unless it is plain.
fn shown(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,:%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.escape_debug())
}

const URL_PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

const TEXT_MAX_BYTES: usize = 8192;

const DEFAULT_PORT: u16 = 5432;

/// Go counts in signed 64-bit nanoseconds, about 292 years.
const GO_DURATION_MAX_NANOS: u128 = i64::MAX as u128;

const NUL_RULE: &str = "must not contain a NUL character";

const SUPPORTED_KEYS: [&str; 23] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "channel_binding",
    "target_session_attrs",
    "client_encoding",
    "connect_timeout",
    "application_name",
    "options",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime_jitter",
];

/// What libpq up to PostgreSQL 18 and pgxpool know besides.
const UNSUPPORTED_KEYS: [&str; 39] = [
    "authtype",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "pool_health_check_period",
    "pool_min_idle_conns",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "tty",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn dsn(text: &str) -> Dsn {
        Dsn::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn error(text: &str) -> String {
        match Dsn::parse(text) {
            Ok(dsn) => panic!("{text} is accepted as {dsn}"),
            Err(error) => error.to_string(),
        }
    }

    fn password(text: &str) -> String {
        let password = dsn(text).password.map(|password| password.reveal().to_owned());
        password.unwrap_or_default()
    }

    /// Host, address and port of every server, absent parts empty.
    fn servers(text: &str) -> String {
        let server = |at: &HostPort| {
            let address = at.hostaddr.map_or_else(String::new, |addr| addr.to_string());
            format!("{}/{address}/{}", at.host.as_deref().unwrap_or(""), at.port)
        };
        dsn(text).hosts.iter().map(server).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn host_and_user_suffice_and_the_rest_has_defaults() {
        let dsn = dsn("host=db user=u");
        assert_eq!(
            dsn,
            Dsn {
                hosts: vec![HostPort { host: Some("db".into()), hostaddr: None, port: 5432 }],
                dbname: "u".into(),
                user: "u".into(),
                password: None,
                ssl_mode: SslMode::Prefer,
                channel_binding: ChannelBinding::Prefer,
                connect_timeout: None,
                application_name: None,
                options: None,
                keepalives: true,
                keepalives_idle: None,
                keepalives_interval: None,
                keepalives_retries: None,
                tcp_user_timeout: None,
                pool: PoolKeys::default(),
            }
        );
    }

    #[test]
    fn every_key_reaches_its_field() {
        let dsn = dsn("host=db hostaddr=10.0.0.1 port=6432 dbname=d user=u password=p \
             sslmode=require channel_binding=disable target_session_attrs=any \
             client_encoding=utf-8 connect_timeout=7 application_name=a options='-c x=1' \
             keepalives=0 keepalives_idle=1 keepalives_interval=2 keepalives_count=3 \
             tcp_user_timeout=1500 pool_max_conns=9 pool_min_conns=0 \
             pool_max_conn_lifetime=1h30m pool_max_conn_idle_time=5m \
             pool_max_conn_lifetime_jitter=300ms");
        assert_eq!(dsn.hosts[0].hostaddr, Some([10, 0, 0, 1].into()));
        assert_eq!((dsn.hosts[0].port, dsn.dbname.as_str()), (6432, "d"));
        assert_eq!(dsn.password, Some(Secret("p".into())));
        assert_eq!(dsn.ssl_mode, SslMode::Require);
        assert_eq!(dsn.channel_binding, ChannelBinding::Disable);
        assert_eq!(dsn.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(dsn.application_name.as_deref(), Some("a"));
        assert_eq!(dsn.options.as_deref(), Some("-c x=1"));
        assert!(!dsn.keepalives);
        assert_eq!(dsn.keepalives_idle, Some(Duration::from_secs(1)));
        assert_eq!(dsn.keepalives_interval, Some(Duration::from_secs(2)));
        assert_eq!(dsn.keepalives_retries, Some(3));
        assert_eq!(dsn.tcp_user_timeout, Some(Duration::from_millis(1500)));
        assert_eq!((dsn.pool.max_conns, dsn.pool.min_conns), (Some(9), Some(0)));
        assert_eq!(dsn.pool.max_conn_lifetime, Some(Duration::from_secs(5400)));
        assert_eq!(dsn.pool.max_conn_idle_time, Some(Duration::from_secs(300)));
        assert_eq!(dsn.pool.max_conn_lifetime_jitter, Some(Duration::from_millis(300)));
    }

    #[test]
    fn quotes_and_backslashes_follow_libpq() {
        let with = |value: &str| password(&format!("host=h user=u password{value}"));
        assert_eq!(with("=plain"), "plain");
        assert_eq!(with(" \t=\n 'a b'"), "a b");
        assert_eq!(with(r"='it\'s a \\ \b'"), r"it's a \ b");
        assert_eq!(with(r"=a\ b\'c\\"), r"a b'c\");
        assert_eq!(with("=a'b'c"), "a'b'c");
        assert_eq!(with("=a=b"), "a=b");
        assert_eq!(with("=''"), "");
        assert_eq!(with("="), "");
        assert_eq!(with("=dangling\\"), "dangling");
        // A quoted value needs no blank behind it.
        assert_eq!(dsn("user='u'host=h").user, "u");
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(servers("host=a port=x host=b user=u port=1"), "b//1");
        assert_eq!(password("postgres://u:one@h/?password=two"), "two");
    }

    #[test]
    fn urls_have_all_their_parts() {
        let dsn = dsn("postgresql://u:p@h:6432/d?sslmode=disable&application_name=x%20y");
        assert_eq!((dsn.user.as_str(), dsn.dbname.as_str()), ("u", "d"));
        assert_eq!((dsn.ssl_mode, dsn.hosts[0].port), (SslMode::Disable, 6432));
        assert_eq!(dsn.application_name.as_deref(), Some("x y"));
        assert_eq!(servers("postgres://h?user=u"), "h//5432");
        assert_eq!(servers("postgres:///d?user=u&host=h&port=1"), "h//1");
        assert_eq!(super::tests::dsn("postgres://u@h?ssl=true").ssl_mode, SslMode::Require);
        assert_eq!(super::tests::dsn("postgres://u@h/?").dbname, "u");
    }

    #[test]
    fn urls_are_percent_decoded() {
        assert_eq!(password("postgres://u:%70%40%2F%3a%25+@h"), "p@/:%+");
        assert_eq!(dsn("postgres://%c3%bc@h/a%3Fb").user, "\u{fc}");
        assert_eq!(dsn("postgres://u@h/a%3Fb").dbname, "a?b");
        assert_eq!(dsn("postgres://u@h/?%64bname=x").dbname, "x");
        for broken in ["%", "%4", "%zz", "%+1", "%4\u{fc}"] {
            let text = format!("postgres://u:{broken}@h");
            assert_eq!(error(&text), "password: \"%\" must be followed by two hexadecimal digits");
        }
        assert_eq!(error("postgres://u:%00@h"), "password: must not contain a NUL character");
        assert_eq!(error("postgres://%ff@h"), "user: not UTF-8 after percent-decoding");
    }

    #[test]
    fn credentials_end_at_the_first_at_sign_before_a_slash() {
        assert_eq!(password("postgres://u:a:b?c@h"), "a:b?c");
        assert_eq!(password("postgres://u:@h"), "");
        assert_eq!(error("postgres://h/d@x"), "user is required");
        let rule = "host: must be a name or an address (percent-encode a password in a URL)";
        assert_eq!(error("postgres://u:hun@ter2@h/d"), rule);
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(servers("postgres://u@[::1]:1/d"), "::1//1");
        assert_eq!(servers("postgres://u@[::1],[2001:db8::1]:7"), "::1//5432 2001:db8::1//7");
        assert_eq!(servers("postgres://u@[fe80::1%25eth0]"), "fe80::1%eth0//5432");
        assert_eq!(servers("host=::1 user=u"), "::1//5432");
        assert_eq!(error("postgres://u@[::1"), "host: missing \"]\" after an IPv6 address");
        assert_eq!(error("postgres://u@[]"), "host: empty IPv6 address");
        assert_eq!(error("postgres://u@[::1]x"), "host: unexpected character after \"]\"");
    }

    #[test]
    fn several_hosts_share_one_port_or_have_one_each() {
        assert_eq!(servers("host=a,b user=u"), "a//5432 b//5432");
        assert_eq!(servers("host=a,b user=u port=7"), "a//7 b//7");
        assert_eq!(servers("host=a,b user=u port=7,"), "a//7 b//5432");
        assert_eq!(servers("postgres://u@a:1,b,c:3/d"), "a//1 b//5432 c//3");
        let rule = "port: must be one port or as many as there are hosts";
        assert_eq!(error("host=a,b,c user=u port=1,2"), rule);
        assert_eq!(error("host=a user=u port=1,2"), rule);
    }

    #[test]
    fn addresses_stand_beside_or_instead_of_names() {
        assert_eq!(servers("hostaddr=10.0.0.1,::1 user=u"), "/10.0.0.1/5432 /::1/5432");
        assert_eq!(servers("host=a,b hostaddr=10.0.0.1, user=u"), "a/10.0.0.1/5432 b//5432");
        assert_eq!(error("hostaddr=db user=u"), "hostaddr: must be an IPv4 or IPv6 address");
        let rule = "host: must have as many elements as hostaddr";
        assert_eq!(error("host=a,b hostaddr=::1 user=u"), rule);
    }

    #[test]
    fn what_is_required_must_be_there() {
        assert_eq!(error(""), "dsn is required");
        assert_eq!(error(" \n"), "dsn is required");
        for text in ["user=u", "host='' user=u", "host=a,,b user=u", "postgres://u@/d"] {
            assert_eq!(error(text), "host is required");
        }
        assert_eq!(error("host=h"), "user is required");
        assert_eq!(error("host=h user="), "user is required");
    }

    #[test]
    fn unix_sockets_are_refused() {
        let rule = "host: Unix sockets are not supported, use a TCP host";
        for host in ["host=/tmp user=u", "host=@x user=u", "postgres://u@%2Ftmp/d"] {
            assert_eq!(error(host), rule);
        }
    }

    #[test]
    fn ports_are_from_1_to_65535() {
        assert_eq!(servers("host=h user=u port=' 65535 '"), "h//65535");
        for port in ["0", "-1", "65536", "99999999999999999999", "54x", "'5 4'"] {
            let text = format!("host=h user=u port={port}");
            assert_eq!(error(&text), "port: must be an integer from 1 to 65535");
        }
    }

    #[test]
    fn numbers_of_zero_or_below_mean_the_default() {
        for value in ["0", "-5"] {
            let dsn = dsn(&format!(
                "host=h user=u connect_timeout={value} keepalives_idle={value} \
                 keepalives_interval={value} keepalives_retries={value} tcp_user_timeout={value}"
            ));
            assert_eq!((dsn.connect_timeout, dsn.tcp_user_timeout), (None, None));
            assert_eq!((dsn.keepalives_idle, dsn.keepalives_interval), (None, None));
            assert_eq!(dsn.keepalives_retries, None);
        }
        assert_eq!(
            error("host=h user=u connect_timeout=5s"),
            "connect_timeout: must be an integer"
        );
        assert_eq!(error("host=h user=u keepalives="), "keepalives: must be an integer");
        let huge = "host=h user=u tcp_user_timeout=2147483648";
        assert_eq!(error(huge), "tcp_user_timeout: must be an integer");
    }

    #[test]
    fn modes_that_are_not_supported_say_what_is() {
        for mode in ["allow", "verify-ca", "verify-full"] {
            let rule = format!("sslmode: {mode} is not supported; use disable, prefer or require");
            assert_eq!(error(&format!("host=h user=u sslmode={mode}")), rule);
        }
        let rule = "must be disable, prefer or require";
        assert_eq!(error("host=h user=u sslmode=on"), format!("sslmode: {rule}"));
        assert_eq!(error("host=h user=u channel_binding="), format!("channel_binding: {rule}"));
        let text = "host=h user=u target_session_attrs=primary";
        assert_eq!(error(text), "target_session_attrs: must be any");
    }

    #[test]
    fn only_utf8_is_an_encoding() {
        for encoding in ["UTF8", "utf8", "UTF-8", "auto", "''"] {
            dsn(&format!("host=h user=u client_encoding={encoding}"));
        }
        let text = "host=h user=u client_encoding=latin1";
        assert_eq!(error(text), "client_encoding: must be UTF8 or auto");
    }

    #[test]
    fn known_and_unknown_keys_are_told_apart() {
        assert_eq!(error("host=h user=u sslrootcert=x"), "sslrootcert: not supported");
        assert_eq!(error("postgres://u@h/?service=x"), "service: not supported");
        assert_eq!(error("host=h user=u colour=x"), "colour: unknown key");
        assert_eq!(error("postgres://u:p@h/?colour=x"), "colour: unknown key");
        assert_eq!(error("host=h password='p' colour=x"), "colour: unknown key");
        for key in ["", "Colour", "c0lour", &"x".repeat(33)] {
            assert_eq!(error(&format!("host=h {key}=x")), "unknown key");
        }
    }

    #[test]
    fn an_unknown_key_is_not_named_where_it_may_be_a_piece_of_a_password() {
        assert_eq!(error("host=h password=correct horse=x user=u"), "unknown key");
        assert_eq!(error("postgres://u:x@y/z?horse=battery@h/d"), "unknown key");
        assert_eq!(error("colour=x user"), "missing \"=\" after a key");
    }

    #[test]
    fn broken_syntax_is_an_error() {
        assert_eq!(error("host=h user"), "missing \"=\" after a key");
        assert_eq!(error("host=h user u"), "missing \"=\" after a key");
        assert_eq!(error("host='h"), "unterminated quoted value");
        assert_eq!(error("host='h\\'"), "unterminated quoted value");
        assert_eq!(error("postgres://u@h/?a"), "missing \"=\" in a URL parameter");
        assert_eq!(error("postgres://u@h/?a=b=c"), "more than one \"=\" in a URL parameter");
        assert_eq!(error("host=h\0"), "must not contain a NUL character");
    }

    #[test]
    fn the_length_is_limited() {
        let padded = |length| format!("{:length$}", "host=h user=u");
        assert!(Dsn::parse(&padded(8192)).is_ok());
        assert_eq!(error(&padded(8193)), "dsn must not be longer than 8192 bytes");
    }

    #[test]
    fn pool_durations_follow_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us3ns", 2_003),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(go_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in [
            "",
            "+",
            "5",
            "-5s",
            "s",
            ".s",
            "1d",
            "1 s",
            "1h 2m",
            "1.2.3s",
            "\u{661}s",
            "9223372036854775808ns",
            "99999999999999999999999h",
            "2562048h",
        ] {
            assert_eq!(go_duration(text), None, "{text}");
        }
        let rule = "pool_max_conn_lifetime: must be a duration such as 1h30m or 300ms";
        assert_eq!(error("host=h user=u pool_max_conn_lifetime=60"), rule);
    }

    #[test]
    fn a_pool_has_room_for_a_connection() {
        assert_eq!(error("host=h user=u pool_max_conns=0"), "pool_max_conns: must be at least 1");
        assert_eq!(error("host=h user=u pool_min_conns=-1"), "pool_min_conns: must be at least 0");
    }

    #[test]
    fn display_and_debug_are_redacted() {
        let dsn = dsn("host=a,b port=1,2 dbname='d e' user=u password=hunter2 options=hunter2");
        let expected = "host=a,b port=1,2 dbname='d e' user=u sslmode=prefer";
        assert_eq!(dsn.to_string(), expected);
        assert_eq!(format!("{dsn:?}"), format!("Dsn({expected})"));
        assert_eq!(format!("{:?}", dsn.password), "Some(Secret(..))");
        let dsn = super::tests::dsn("hostaddr=::1 dbname='x\ny' user=u");
        assert_eq!(dsn.to_string(), r"hostaddr=::1 port=5432 dbname='x\ny' user=u sslmode=prefer");
    }

    #[test]
    fn canonical_texts_agree_for_equal_dsns_only() {
        let base = dsn("host=h user=u password=p");
        let same = dsn("postgres://u:p@h:5432/u?sslmode=prefer&keepalives=1");
        assert_eq!(base.canonical(), same.canonical());
        let others = [
            "host=h user=u",
            "host=h user=u password=q",
            "host=g user=u password=p",
            "host=h hostaddr=::1 user=u password=p",
            "host=h user=u password=p port=1",
            "host=h user=u password=p dbname=d",
            "host=h user=v dbname=u password=p",
            "host=h user=u password=p sslmode=require",
            "host=h user=u password=p channel_binding=require",
            "host=h user=u password=p connect_timeout=1",
            "host=h user=u password=p application_name=a",
            "host=h user=u password=p options=a",
            "host=h user=u password='p\\' options=\\'a'",
            "host=h user=u password=p options=\\'a\\'",
            "host=h user=u password=p keepalives=0",
            "host=h user=u password=p keepalives_idle=1",
            "host=h user=u password=p keepalives_interval=1",
            "host=h user=u password=p keepalives_count=1",
            "host=h user=u password=p tcp_user_timeout=1",
            "host=h user=u password=p pool_max_conns=1",
            "host=h user=u password=p pool_min_conns=1",
            "host=h user=u password=p pool_max_conn_lifetime=1s",
            "host=h user=u password=p pool_max_conn_idle_time=1s",
            "host=h user=u password=p pool_max_conn_lifetime_jitter=1s",
        ];
        let mut texts: Vec<_> = others.iter().map(|text| dsn(text).canonical()).collect();
        texts.push(base.canonical());
        let count = texts.len();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), count);
    }

    #[test]
    fn the_target_is_hosts_ports_database_and_user() {
        let target = dsn("host=h user=u password=hunter2 options=x").target_canonical();
        assert_eq!(target, "host='h' port='5432' dbname='u' user='u'");
        assert_eq!(target, dsn("postgres://u:other@h?sslmode=disable").target_canonical());
        assert_ne!(target, dsn("postgres://u:other@h:1").target_canonical());
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "hunter2",
            "hunter2=",
            "host=h user=u password=a hunter2",
            "host=h user=u password=a hunter2=b",
            "host=h user=u password='hunter2",
            "host=h user=u password hunter2",
            "host=h user=u passwordhunter2=x",
            "host=h user=u password=hunter2 port=x",
            "host=h user=u password=hunter2 sslmode=x",
            "host=h user=u port=hunter2",
            "host=h user=u sslmode=hunter2",
            "host=h user=u hostaddr=hunter2",
            "host=h user=u connect_timeout=hunter2",
            "host=h user=u client_encoding=hunter2",
            "host=h user=u target_session_attrs=hunter2",
            "host=h user=u pool_max_conn_lifetime=hunter2",
            "host=h user=u pool_max_conns=hunter2",
            "host=h user=u sslpassword=hunter2",
            "user=u password=hunter2",
            "host=h password=hunter2",
            "host=/hunter2 user=u",
            "Postgres://u:hunter2@h/d",
            "http://u:hunter2@h/d?a=b",
            "postgres:/u:hunter2@h/d",
            "postgres://u:hunter2",
            "postgres://u:hunter2/x@h/d",
            "postgres://u:x/hunter2@h/d",
            "postgres://u:%hunter2@h/d",
            "postgres://u:x@hunter2@h/d",
            "postgres://u:[hunter2@[h/d",
            "postgres://[hunter2",
            "postgres://u:hunter2@h:x/d",
            "postgres://u:hunter2@h/d?x",
            "postgres://u:hunter2@h/d?hunter2=x",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h/d?password=hunter2&x=%",
            "postgres://u:hunter2\0@h/d",
        ] {
            let error = Dsn::parse(text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{text}: {error:?}");
        }
    }

    #[test]
    fn no_mutation_panics_or_shows_the_password() {
        let models = [
            "host=h,i port=1,2 hostaddr=::1, dbname=d user=u password=hunter2 sslmode=require",
            "host=h password='hunter2' user=u options='-c a=b' pool_max_conn_lifetime=1h5m",
            "postgres://u:hunter2@h:1,[::1]:2/d?sslmode=require&application_name=x%20y",
            "postgresql://h/d?user=u&password=hunter2&connect_timeout=5&pool_max_conns=3",
        ];
        let characters: Vec<char> = " ='\\@:/?&%[],\t\0\u{fc}\u{1f600}0az_A-.+".chars().collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % limit as u64) as usize
        };
        let mut refused = 0;
        for round in 0..40_000 {
            let mut text: Vec<char> = models[round % models.len()].chars().collect();
            for _ in 0..=below(4) {
                let at = below(text.len());
                match below(4) {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, characters[below(characters.len())]),
                    2 => text[at] = characters[below(characters.len())],
                    _ => text[at..].rotate_left(1),
                }
            }
            let text: String = text.into_iter().collect();
            match Dsn::parse(&text) {
                Err(error) => {
                    refused += 1;
                    assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
                }
                Ok(dsn) => {
                    let secret =
                        dsn.password.as_ref().is_some_and(|p| p.reveal().contains("hunter2"));
                    let shown = format!("{dsn} {dsn:?} {}", dsn.target_canonical());
                    assert!(!secret || !shown.contains("hunter2"), "{text}: {shown}");
                    assert_eq!(dsn.canonical(), Dsn::parse(&text).unwrap().canonical());
                }
            }
        }
        assert!(refused > 1000 && refused < 39_000, "{refused}");
    }
}
