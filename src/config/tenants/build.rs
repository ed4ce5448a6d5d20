//! From what was given for tenants to tenants that keep all rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys::{ANONYMOUS, DSN, HIDDEN};
use super::raw::RawTenant;
use super::{dsn, users, TenantConfig, Tenants};
use crate::config::draft::Draft;
use crate::config::dsn::PoolKeys;
use crate::config::keys::{self, Section};
use crate::config::raw::RawSettings;
use crate::config::PoolConfig;
use crate::core::access::TenantUsers;
use crate::core::ids::TenantId;
use crate::settings::{Fault, Faults, Origin, Value};

const MIN: &str = "min_connections";
const MAX: &str = "max_connections";

/// The tenants, and what is told of them.
#[derive(Default)]
pub struct Built {
    /// The tenants.
    pub tenants: Tenants,
    /// Who may use them.
    pub users: Vec<(TenantId, TenantUsers)>,
    /// Keys with their values and where each came from; no secret.
    pub shown: Vec<(String, String, Origin)>,
    /// Files with secrets that others can read.
    pub exposed: Vec<PathBuf>,
}

/// Reads and checks what was given. `defaults` holds the settings of all tenants.
pub fn build(settings: &RawSettings, defaults: &Draft, faults: &mut Faults) -> Built {
    let mut built = Built::default();
    for raw in &settings.tenants {
        if let Err(wrong) = built.add(raw, settings, defaults) {
            faults.0.extend(wrong.0);
        }
    }
    built
}

impl Built {
    fn add(
        &mut self,
        raw: &RawTenant,
        settings: &RawSettings,
        defaults: &Draft,
    ) -> Result<(), Faults> {
        let mut faults = Faults::default();
        let id =
            TenantId::parse(&raw.name).map_err(|rule| raw.fault(format!("is no name: {rule}")));
        let (id, found) = (faults.keep(id), faults.keep(dsn::of(raw)));
        let mut draft = defaults.clone();
        for key in keys::keys().filter(|key| key.table == Section::Defaults) {
            if let Some(value) = raw.values.get(key.name) {
                faults.keep(key.set(&mut draft, value));
            }
        }
        let guarded = !settings.access.is_open() || defaults.config.client_ca.is_some();
        let users = faults.keep(users::of(raw, &settings.access, guarded));
        let (Some(id), Some((dsn, exposed)), Some(users)) = (id, found, users) else {
            return Err(faults);
        };
        faults.ended()?;
        let mut own = draft.config.pool;
        let given = |values: &BTreeMap<&str, Value>, name: &str| values.contains_key(name);
        own.lengthen(|name| given(&raw.values, name) || given(&settings.values, name));
        let pool = pool(raw, settings, own, &dsn.pool)?;
        self.exposed.extend(exposed);
        self.users.push((id.clone(), users));
        let tenant = TenantConfig { id, dsn, pool };
        self.show(raw, &tenant);
        self.tenants.insert(tenant.id.clone(), tenant);
        Ok(())
    }

    fn show(&mut self, raw: &RawTenant, tenant: &TenantConfig) {
        let mut draft = Draft::default();
        draft.config.pool = tenant.pool.clone();
        for (name, value) in &raw.values {
            let shared = keys::find(name).filter(|key| key.table == Section::Defaults);
            let text = match (shared, *name) {
                (Some(key), _) => key.toml(&draft).unwrap_or_default(),
                (None, DSN) => format!("({} …)", tenant.dsn),
                (None, name) if HIDDEN.contains(&name) => "(hidden)".to_owned(),
                (None, ANONYMOUS) => value.boolean().unwrap_or_default().to_string(),
                // It was read before.
                (None, _) => format!("{:?}", dsn::text(value).unwrap_or_default()),
            };
            self.shown.push((format!("{}.{name}", raw.key), text, value.origin.clone()));
        }
    }
}

/// Keys of the table and of the DSN that say the same of the pool, and whether the DSN has them.
fn twice(keys: &PoolKeys) -> [(&'static str, &'static str, bool); 7] {
    [
        (MAX, "pool_max_conns", keys.max_conns.is_some()),
        (MIN, "pool_min_conns", keys.min_conns.is_some()),
        ("max_lifetime", "pool_max_conn_lifetime", keys.max_conn_lifetime.is_some()),
        ("idle_timeout", "pool_max_conn_idle_time", keys.max_conn_idle_time.is_some()),
        (
            "lifetime_jitter",
            "pool_max_conn_lifetime_jitter",
            keys.max_conn_lifetime_jitter.is_some(),
        ),
        ("health_check_interval", "pool_health_check_period", keys.health_check_period.is_some()),
        ("reset", "pool_reset", keys.reset.is_some()),
    ]
}

/// The tenant's pool. `own` has its table and the defaults.
fn pool(
    raw: &RawTenant,
    settings: &RawSettings,
    mut own: PoolConfig,
    in_dsn: &PoolKeys,
) -> Result<PoolConfig, Fault> {
    for (name, key, is_given) in twice(in_dsn) {
        if is_given && raw.values.contains_key(name) {
            let rule = format!("must not be given beside {key} in the DSN");
            return Err(raw.fault_of(name, rule));
        }
    }
    let max = in_dsn.max_conns.map_or(own.max_connections, |max| max as usize);
    let written = raw.values.get(MIN).or(settings.values.get(MIN));
    let (min, place) = match (in_dsn.min_conns, written) {
        (Some(min), _) => (min as usize, "the DSN".to_owned()),
        (None, Some(value)) => (own.min_connections, value.origin.to_string()),
        // Where nobody says how few, the number follows the maximum.
        (None, None) => (PoolConfig::default().min_connections.min(max), String::new()),
    };
    if min > max {
        let of_max = match in_dsn.max_conns {
            Some(_) => "the DSN".to_owned(),
            None => {
                let written = raw.values.get(MAX).or(settings.values.get(MAX));
                written.map_or(Origin::Default, |value| value.origin.clone()).to_string()
            }
        };
        return Err(raw.fault(format!(
            "must have a max_connections that is not below its min_connections ({max} < {min}; the maximum comes from {of_max}, the minimum from {place})"
        )));
    }
    own.min_connections = min;
    let pool = own.with(in_dsn);
    pool.check().map_err(|rule| raw.fault(format!("is wrong: {rule}")))?;
    Ok(pool)
}
