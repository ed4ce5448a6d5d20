//! What may change while a pool is in use.

use super::{ConnectionConfig, HealthConfig, PoolConfig, ServiceConfig, SettingInfo};

/// Other settings for a pool, as far as they are taken.
#[derive(Clone, Debug)]
pub(in crate::client) struct Change {
    /// What holds from now on.
    pub(in crate::client) config: ServiceConfig,
    /// The settings that are other than before.
    pub(in crate::client) applied: Vec<&'static str>,
    /// The settings that the pool cannot take while it is in use.
    pub(in crate::client) later: Vec<&'static str>,
}

/// The names of the settings that differ.
fn differing(one: &ServiceConfig, other: &ServiceConfig) -> Vec<&'static str> {
    let value = |info: SettingInfo| (info.name, info.value);
    let pairs = one.settings().into_iter().map(value).zip(other.settings().into_iter().map(value));
    pairs.filter(|(one, other)| one != other).map(|((name, _), _)| name).collect()
}

impl ServiceConfig {
    /// These settings with what `new` has of those that may change. Interceptors, credentials
    /// and a choice of the program's own, which a file has not, stay.
    pub(in crate::client) fn change_to(&self, new: &ServiceConfig) -> Change {
        let mut config = ServiceConfig {
            pool: PoolConfig { pick: self.pool.pick.clone(), ..new.pool.clone() },
            call: new.call.clone(),
            retry: new.retry.clone(),
            breaker: new.breaker.clone(),
            hedge: new.hedge,
            methods: new.methods.clone(),
            health: HealthConfig {
                enabled: new.health.enabled,
                interval: new.health.interval,
                tries: new.health.tries,
                successes: new.health.successes,
                ..self.health.clone()
            },
            connection: ConnectionConfig {
                reconnect_backoff_min: new.connection.reconnect_backoff_min,
                max_reconnect_delay: new.connection.max_reconnect_delay,
                ping_interval: new.connection.ping_interval,
                ..self.connection.clone()
            },
            sources: new.sources.clone(),
            ..self.clone()
        };
        config.tls.reload = new.tls.reload;
        config.events.status_interval = new.events.status_interval;
        let mut applied = differing(self, &config);
        if self.methods != config.methods {
            applied.push("methods");
        }
        let later = differing(&config, new);
        Change { config, applied, later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::ms;

    #[test]
    fn what_may_change_is_told_apart_from_what_may_not() {
        let old = ServiceConfig::new("localhost", 1);
        let mut new = ServiceConfig::new("localhost", 2);
        new.pool.size = 7;
        new.call.timeout = None;
        new.retry = None;
        new.health.interval = ms(1000);
        new.health.service = "shop".to_owned();
        new.connection.keepalive_time = None;
        new.methods.set("/a/B", super::super::MethodPolicy::new().idempotent());
        let change = old.change_to(&new);
        assert_eq!((change.config.pool.size, change.config.call.timeout), (7, None));
        assert!(change.config.retry.is_none() && change.config.health.service.is_empty());
        for name in ["pool.size", "call.timeout", "enable_retry", "health.interval", "methods"] {
            assert!(change.applied.contains(&name), "{name}: {:?}", change.applied);
        }
        assert_eq!(change.later, ["addresses", "connection.keepalive_time", "health.service"]);
        let same = old.change_to(&old);
        assert!(same.applied.is_empty() && same.later.is_empty());
    }
}
