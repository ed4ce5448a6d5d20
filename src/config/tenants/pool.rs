//! A tenant's pool, from its table, its DSN and the defaults of all tenants.

use std::collections::BTreeSet;

use crate::config::contradiction::Contradiction;
use crate::config::doubts::Doubts;
use crate::config::dsn::PoolKeys;
use crate::config::raw::tenants::RawTenant;
use crate::config::raw::RawSettings;
use crate::config::tenant_keys::POOL_KEYS;
use crate::config::TenantPoolConfig;
use crate::settings::{Origin, SettingFault};

const MIN: &str = "min_connections";
const MAX: &str = "max_connections";

/// What a tenant's pool comes from.
pub(super) struct PoolSources<'a> {
    pub(super) raw: &'a RawTenant,
    pub(super) settings: &'a RawSettings,
    pub(super) in_dsn: &'a PoolKeys,
    /// Of the defaults.
    pub(super) doubts: &'a Doubts,
    /// The keys of its table whose values are wrong.
    pub(super) wrong: BTreeSet<&'static str>,
}

impl PoolSources<'_> {
    /// The tenant's pool; `own` has its table and the defaults. None: something else is wrong, by
    /// which the pool would be another.
    ///
    /// # Errors
    /// A rule that it breaks by what its table or its DSN says.
    pub(super) fn pool(
        &self,
        mut own: TenantPoolConfig,
    ) -> Result<Option<TenantPoolConfig>, SettingFault> {
        for (name, key, is_given) in twice(self.in_dsn) {
            if is_given && self.raw.values.contains_key(name) {
                let rule = format!("must not be given beside {key} in the DSN");
                return Err(self.raw.fault_of(name, rule));
            }
        }
        let max = self.in_dsn.max_conns.map_or(own.max_connections, |max| max as usize);
        let min = match self.in_dsn.min_conns {
            Some(min) => min as usize,
            None if self.written(MIN).is_some() => own.min_connections,
            // Where nobody says how few, the number follows the maximum.
            None => TenantPoolConfig::default().min_connections.min(max),
        };
        if min > max {
            let rule = format!(
                "must have a max_connections that is not below its min_connections ({max} < {min}; the maximum comes from {}, the minimum from {})",
                self.place(MAX),
                self.place(MIN)
            );
            return match self.concerns(&[MIN, MAX]) {
                true => Err(self.raw.fault(rule)),
                false => Ok(None),
            };
        }
        own.min_connections = min;
        let pool = own.with(self.in_dsn);
        let mut broken = pool.contradictions();
        let is_good = broken.is_empty();
        broken.retain(|broken| self.concerns(broken.keys));
        if let Err(rule) = Contradiction::all(&broken) {
            return Err(self.raw.fault(format!("is wrong: {rule}")));
        }
        Ok((is_good && self.is_sure(MAX)).then_some(pool))
    }

    /// Whether a rule about these keys is to be told of this tenant. One that the defaults break
    /// by themselves is told of those.
    fn concerns(&self, keys: &[&str]) -> bool {
        let is_own = |name: &&str| self.raw.values.contains_key(*name) || self.has_dsn(name);
        keys.iter().any(is_own) && keys.iter().all(|name| self.is_sure(name))
    }

    /// Whether the value of this key stays what it is, whatever else is mended.
    fn is_sure(&self, name: &str) -> bool {
        if self.has_dsn(name) || self.raw.values.contains_key(name) {
            return !self.wrong.contains(name);
        }
        let is_given = self.settings.is_given(name);
        !self.raw.has_unknown && !self.doubts.are_of(name, is_given)
    }

    fn has_dsn(&self, name: &str) -> bool {
        twice(self.in_dsn).iter().any(|(known, _, is_given)| *known == name && *is_given)
    }

    fn written(&self, name: &str) -> Option<&Origin> {
        let value = self.raw.values.get(name).or(self.settings.values.get(name));
        value.map(|value| &value.origin)
    }

    fn place(&self, name: &str) -> String {
        match self.has_dsn(name) {
            true => "the DSN".to_owned(),
            false => self.written(name).unwrap_or(&Origin::Default).to_string(),
        }
    }
}

/// Keys of the table and of the DSN that say the same of the pool, and whether the DSN has them.
fn twice(keys: &PoolKeys) -> [(&'static str, &'static str, bool); 7] {
    POOL_KEYS.map(|(name, key)| {
        let is_given = match key {
            "pool_max_conns" => keys.max_conns.is_some(),
            "pool_min_conns" => keys.min_conns.is_some(),
            "pool_max_conn_lifetime" => keys.max_conn_lifetime.is_some(),
            "pool_max_conn_idle_time" => keys.max_conn_idle_time.is_some(),
            "pool_max_conn_lifetime_jitter" => keys.max_conn_lifetime_jitter.is_some(),
            "pool_health_check_period" => keys.health_check_period.is_some(),
            _ => keys.reset.is_some(),
        };
        (name, key, is_given)
    })
}
