//! From what was given for tenants to tenants that keep all rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::pool::PoolSources;
use super::{dsn, users, TenantConfig, Tenants};
use crate::config::doubts::Doubts;
use crate::config::draft::Draft;
use crate::config::keys::{self, Section};
use crate::config::raw::tenants::RawTenant;
use crate::config::raw::RawSettings;
use crate::config::tenant_keys::{ANONYMOUS, DSN, HIDDEN};
use crate::config::TenantPoolConfig;
use crate::core::access::TenantUsers;
use crate::core::ids::TenantId;
use crate::settings::{Origin, SettingFaults, SettingValue};

/// The tenants, and what is shown of them.
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

/// Reads and checks what was given. `defaults` holds the settings of all tenants, some of which may
/// be in doubt.
pub fn build(
    settings: &RawSettings,
    defaults: (&Draft, &Doubts),
    faults: &mut SettingFaults,
) -> Built {
    let mut built = Built::default();
    for raw in &settings.tenants {
        if let Err(wrong) = built.add(raw, settings, defaults) {
            faults.0.extend(wrong.0);
        }
    }
    built
}

impl Built {
    /// A tenant that cannot be told in full, because something else is wrong, is left out.
    fn add(
        &mut self,
        raw: &RawTenant,
        settings: &RawSettings,
        (defaults, doubts): (&Draft, &Doubts),
    ) -> Result<(), SettingFaults> {
        let (mut faults, mut wrong) = (SettingFaults::default(), BTreeSet::new());
        let id =
            TenantId::parse(&raw.name).map_err(|rule| raw.fault(format!("is no name: {rule}")));
        let (id, found) = (faults.keep(id), faults.keep(dsn::of(raw)));
        let mut draft = defaults.clone();
        for key in keys::keys().filter(|key| key.table == Section::Defaults) {
            let value = raw.values.get(key.name).map(|value| key.set(&mut draft, value));
            if value.is_some_and(|set| faults.keep(set).is_none()) {
                wrong.insert(key.name);
            }
        }
        let guarded = !settings.access.is_open() || defaults.config.client_ca.is_some();
        let users = faults.keep(users::of(raw, settings, guarded));
        let mut own = draft.config.pool;
        let given = |values: &BTreeMap<&str, SettingValue>, name: &str| values.contains_key(name);
        own.lengthen(|name| given(&raw.values, name) || given(&settings.values, name));
        // Without its DSN nobody knows what that says of the pool.
        let Some((dsn, exposed)) = found else { return Err(faults) };
        let sources = PoolSources { raw, settings, in_dsn: &dsn.pool, doubts, wrong };
        let pool = faults.keep(sources.pool(own)).flatten();
        faults.ended()?;
        if let (Some(id), Some(users), Some(pool)) = (id, users, pool) {
            self.exposed.extend(exposed);
            self.users.push((id.clone(), users));
            let own = own_of(raw, &pool);
            let tenant = TenantConfig { id, dsn, pool, own };
            self.show(raw, &tenant);
            self.tenants.insert(tenant.id.clone(), tenant);
        }
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

/// What the table says of the pool.
fn own_of(raw: &RawTenant, pool: &TenantPoolConfig) -> BTreeMap<&'static str, String> {
    let mut draft = Draft::default();
    draft.config.pool = pool.clone();
    let shared = keys::keys().filter(|key| key.table == Section::Defaults);
    let given = shared.filter(|key| raw.values.contains_key(key.name));
    given.map(|key| (key.name, key.show(&draft).unwrap_or_default())).collect()
}
