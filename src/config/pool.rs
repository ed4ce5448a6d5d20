//! The settings of one tenant's pool.

use std::time::Duration;

use crate::config::contradiction::Contradiction;
use crate::config::dsn;

/// The longest lifetime: as good as for ever, and longer ones would overflow the clock.
pub(super) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const PAUSES: &[&str; 2] = &["connect_pause", "connect_pause_max"];
const PROBES: &[&str; 2] = &["breaker_probe_interval", "breaker_probe_max"];

/// The shortest health interval of a DSN: a check is work for the service and its database.
const OFTEN: Duration = Duration::from_secs(1);

/// The shortest lifetime and idle time of a DSN: a new backend is work for the service and its
/// database.
pub const LEAST_LIFETIME: Duration = Duration::from_secs(1);

/// One tenant's pool. A DSN's `pool_*` keys override those that they name.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantPoolConfig {
    /// The most backends.
    pub max_connections: usize,
    /// The least backends kept open, leased ones included.
    pub min_connections: usize,
    /// The age at which a backend is replaced, once it is not leased.
    pub max_lifetime: Duration,
    /// The lifetime is shortened by a random fraction up to this one, so that backends opened
    /// together are not all replaced together.
    pub lifetime_jitter: f64,
    /// How long a backend above the minimum may be idle before it is closed.
    pub idle_timeout: Duration,
    /// The limit of one attempt to open a backend, over all its steps.
    pub connect_timeout: Duration,
    /// Further attempts after one that failed for a passing reason, while a caller waits.
    pub connect_retries: u32,
    /// The pause before the first of them; it doubles each time.
    pub connect_pause: Duration,
    /// The longest pause between attempts.
    pub connect_pause_max: Duration,
    /// Failed attempts in a row that open the breaker.
    pub breaker_failures: u32,
    /// Good probes in a row that close it.
    pub breaker_successes: u32,
    /// The pause between probes while it is open.
    pub breaker_probe: Duration,
    /// The longest such pause, for a database that stays away for minutes.
    pub breaker_probe_max: Duration,
    /// A backend that was idle for longer is checked before it is leased.
    pub check_after_idle: Duration,
    /// The limit of that check, and of a reset.
    pub check_timeout: Duration,
    /// How often idle backends are checked; zero: never.
    pub health_interval: Duration,
    /// The limit of such a check.
    pub health_timeout: Duration,
    /// How long an idle backend may be silent before it gets a query, so that no firewall drops its
    /// connection; zero: never.
    pub ping_interval: Duration,
    /// What happens to a backend after a lease or a one-shot.
    pub reset: Reset,
    /// Prepared statements that each backend caches; 0 caches none.
    pub statement_cache: usize,
    /// How a connection is noticed whose other end is gone. A DSN's keys win.
    pub tcp: TcpKeepalive,
}

/// How TCP notices that the other end of a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// The silence after which it is asked.
    pub idle: Duration,
    /// The time between further questions.
    pub interval: Duration,
    /// Unanswered ones after which it is gone.
    pub probes: u32,
    /// How long sent data may stay unacknowledged; zero: as long as the system has it.
    pub user_timeout: Duration,
}

impl Default for TcpKeepalive {
    fn default() -> TcpKeepalive {
        // Linux's own defaults notice a dead peer after two hours.
        TcpKeepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            probes: 3,
            user_timeout: Duration::from_secs(30),
        }
    }
}

/// What happens to a used backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reset {
    /// Its session is reset and checked, and the backend is used again.
    #[default]
    Clean,
    /// The backend is closed: for sessions whose changes no reset can undo.
    Close,
}

impl Reset {
    /// Reads `clean` or `close`.
    pub fn parse(word: &str) -> Option<Reset> {
        match word {
            "clean" => Some(Reset::Clean),
            "close" => Some(Reset::Close),
            _ => None,
        }
    }

    /// The word it is configured by.
    pub fn as_str(self) -> &'static str {
        match self {
            Reset::Clean => "clean",
            Reset::Close => "close",
        }
    }
}

impl Default for TenantPoolConfig {
    fn default() -> TenantPoolConfig {
        TenantPoolConfig {
            max_connections: 20,
            min_connections: 5,
            max_lifetime: Duration::from_secs(30 * 60),
            lifetime_jitter: 0.1,
            idle_timeout: Duration::from_secs(5 * 60),
            connect_timeout: Duration::from_secs(5),
            connect_retries: 3,
            connect_pause: Duration::from_millis(100),
            connect_pause_max: Duration::from_secs(5),
            breaker_failures: 5,
            breaker_successes: 2,
            // A restarted database is used again within two seconds of accepting connections.
            breaker_probe: Duration::from_secs(1),
            breaker_probe_max: Duration::from_secs(30),
            check_after_idle: Duration::from_secs(1),
            check_timeout: Duration::from_secs(2),
            health_interval: Duration::from_secs(30),
            health_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            reset: Reset::Clean,
            statement_cache: 100,
            tcp: TcpKeepalive::default(),
        }
    }
}

impl TenantPoolConfig {
    /// These settings, overridden by the pool keys of a tenant's DSN.
    pub fn with(&self, keys: &dsn::PoolKeys) -> TenantPoolConfig {
        let count = |own: Option<u32>, default: usize| own.map_or(default, |n| n as usize);
        let max_connections = count(keys.max_conns, self.max_connections);
        // Zero is refused by `check`.
        let lasts = |own: Duration| match own.is_zero() {
            true => own,
            false => own.clamp(LEAST_LIFETIME, FOREVER),
        };
        let max_lifetime = keys.max_conn_lifetime.map_or(self.max_lifetime.min(FOREVER), lasts);
        let jitter = keys.max_conn_lifetime_jitter.map(|jitter| {
            (jitter.as_secs_f64() / max_lifetime.as_secs_f64().max(f64::EPSILON)).min(1.0)
        });
        TenantPoolConfig {
            max_connections,
            lifetime_jitter: jitter.unwrap_or(self.lifetime_jitter),
            max_lifetime,
            // One that the DSN names itself is checked instead.
            min_connections: count(keys.min_conns, self.min_connections.min(max_connections)),
            idle_timeout: keys.max_conn_idle_time.map_or(self.idle_timeout, lasts),
            health_interval: keys
                .health_check_period
                .map_or(self.health_interval, |own| own.clamp(OFTEN, FOREVER)),
            reset: keys.reset.unwrap_or(self.reset),
            ..self.clone()
        }
    }

    /// These settings, which were laid over `before`, laid over `next` instead: what is as before
    /// becomes as next, all else stays.
    pub fn moved(&self, before: &TenantPoolConfig, next: &TenantPoolConfig) -> TenantPoolConfig {
        // Naming every field makes a new one a compile error here.
        macro_rules! moved {
            ($($field:ident),*) => { TenantPoolConfig { $($field: match self.$field == before.$field {
                true => next.$field,
                false => self.$field,
            }),* } };
        }
        let mut moved = moved!(
            max_connections,
            min_connections,
            max_lifetime,
            lifetime_jitter,
            idle_timeout,
            connect_timeout,
            connect_retries,
            connect_pause,
            connect_pause_max,
            breaker_failures,
            breaker_successes,
            breaker_probe,
            breaker_probe_max,
            check_after_idle,
            check_timeout,
            health_interval,
            health_timeout,
            ping_interval,
            reset,
            statement_cache,
            tcp
        );
        moved.min_connections = moved.min_connections.min(moved.max_connections);
        moved
    }

    /// Lets the longest pauses that nobody has given follow the first ones.
    pub(super) fn lengthen(&mut self, given: impl Fn(&str) -> bool) {
        if !given("connect_pause_max") {
            self.connect_pause_max = self.connect_pause_max.max(self.connect_pause);
        }
        if !given("breaker_probe_max") {
            self.breaker_probe_max = self.breaker_probe_max.max(self.breaker_probe);
        }
    }

    /// The rules that the numbers break together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut broken = Vec::new();
        let mut rule = |is_broken: bool, rule: String, keys: &'static [&'static str]| {
            if is_broken {
                broken.push(Contradiction::new(rule, keys));
            }
        };
        let (min, max) = (self.min_connections, self.max_connections);
        let zero = |what: &str| format!("{what} must be greater than 0");
        rule(max == 0, zero("max connections"), &["max_connections"]);
        rule(
            min > max,
            format!("min connections cannot be greater than max connections: {min} > {max}"),
            &["min_connections", "max_connections"],
        );
        for (short, long, keys) in [
            (self.connect_pause, self.connect_pause_max, PAUSES),
            (self.breaker_probe, self.breaker_probe_max, PROBES),
        ] {
            let [name, longest] = keys;
            let (least, most) = (short.as_secs_f64(), long.as_secs_f64());
            let told = format!("{name} cannot be greater than {longest}: {least} s > {most} s");
            rule(short > long, told, keys);
        }
        let lifetime = zero("max connection lifetime");
        rule(self.max_lifetime.is_zero(), lifetime, &["max_lifetime"]);
        let idle = zero("max connection idle time");
        rule(self.idle_timeout.is_zero(), idle, &["idle_timeout"]);
        broken
    }

    /// Checks the numbers against each other.
    ///
    /// # Errors
    /// The rules that are broken, naming the settings.
    pub fn check(&self) -> Result<(), String> {
        Contradiction::all(&self.contradictions())
    }
}
