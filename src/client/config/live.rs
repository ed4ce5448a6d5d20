//! What may change while a pool is in use.

use super::{ServiceConfig, SettingInfo};

/// Other settings for a pool, as far as they are taken.
#[derive(Clone, Debug)]
pub(in crate::client) struct SettingsChange {
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
    /// These settings with what `new` has of those that may change. Interceptors, credentials,
    /// a resolver and a choice of the program's own, which a file has not, stay.
    pub(in crate::client) fn change_to(&self, new: &ServiceConfig) -> SettingsChange {
        let mut config = ServiceConfig {
            interceptors: self.interceptors.clone(),
            // The series of a service are looked up once.
            enable_metrics: self.enable_metrics,
            ..new.clone()
        };
        config.pool.pick = self.pool.pick.clone();
        config.connection.resolver = self.connection.resolver.clone();
        config.tls.credentials = self.tls.credentials.clone();
        let mut applied = differing(self, &config);
        if self.methods != config.methods {
            applied.push("methods");
        }
        let later = differing(&config, new);
        SettingsChange { config, applied, later }
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
        new.tls.ca_file = Some("ca.pem".to_owned());
        new.enable_metrics = false;
        new.methods.set("/a/B", super::super::MethodPolicy::new().idempotent());
        let change = old.change_to(&new);
        assert_eq!((change.config.pool.size, change.config.call.timeout), (7, None));
        assert!(change.config.retry.is_none() && change.config.enable_metrics);
        for name in ["addresses", "pool.size", "call.timeout", "enable_retry", "health.service"] {
            assert!(change.applied.contains(&name), "{name}: {:?}", change.applied);
        }
        for name in ["connection.keepalive_time", "tls.ca_file", "methods"] {
            assert!(change.applied.contains(&name), "{name}: {:?}", change.applied);
        }
        assert_eq!(change.later, ["enable_metrics"]);
        let same = old.change_to(&old);
        assert!(same.applied.is_empty() && same.later.is_empty());
    }
}
