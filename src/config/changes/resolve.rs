//! From the tables of the file to what of it holds under a configuration.

use std::collections::BTreeMap;

use super::configured::{self, draft_of, pool_keys, salt_of};
use super::text::FORMAT;
use super::{ChangeKind, ChangedTenant, DroppedChange, KeptChanges, Salt};
use crate::config::dsn::Dsn;
use crate::config::keys::{secs, SettingKey, SettingKind, FOREVER_SECS};
use crate::config::raw::tenants::TENANTS_MAX;
use crate::config::tenant_keys::{ANONYMOUS, IDENTITIES};
use crate::config::tenants::TenantConfig;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::access::{IdentityPattern, TenantUsers};
use crate::core::gate::Pause;
use crate::core::ids::TenantId;
use crate::settings::{Origin, SettingFault, SettingFaults, SettingValue, Table};

/// What the table of a tenant says.
struct RawChange {
    key: String,
    origin: Origin,
    configured: Option<String>,
    configured_users: Option<String>,
    is_removed: bool,
    dsn: Option<Dsn>,
    pool: Vec<(&'static SettingKey, SettingValue)>,
    users: Option<TenantUsers>,
    paused: Option<Pause>,
}

/// What holds of a file.
///
/// # Errors
/// Everything by which it is none that the service wrote.
pub(super) fn kept(mut root: Table, config: &ServerConfig) -> Result<KeptChanges, SettingFaults> {
    let (mut faults, mut kept) = (SettingFaults::default(), KeptChanges::default());
    let salt = head(&mut root)?;
    if let Some(table) = faults.keep(root.take_table("log")).flatten() {
        log_level(table, config, &mut kept, &mut faults);
    }
    let tenants = faults.keep(root.take_table("tenants")).flatten();
    let named = tenants.map_or_else(Vec::new, Table::into_named);
    if let Err(fault) = end(&mut root, named.len()) {
        faults.add(fault);
    }
    root.finish(&mut faults);
    for (name, table) in named {
        let Some(table) = faults.keep(table) else { continue };
        let id = TenantId::parse(&name).map_err(|rule| table.fault(format!("is no name: {rule}")));
        let (id, raw) = (faults.keep(id), RawChange::of(table, &mut faults));
        if let (Some(id), Some(raw)) = (id, raw) {
            faults.keep(raw.settle(id, config, &salt, &mut kept));
        }
    }
    faults.ended().map(|()| kept)
}

/// Whether this is such a file at all.
fn head(root: &mut Table) -> Result<Salt, SettingFault> {
    let none = |root: &Table| root.fault("must be a file that the service wrote: it has no format");
    let format = root.take("format")?.ok_or_else(|| none(root))?;
    format.number(FORMAT..=FORMAT)?;
    let salt = root.take("salt")?.ok_or_else(|| none(root))?;
    salt_of(salt.text()?).ok_or_else(|| salt.fault("must be 32 hexadecimal digits"))
}

/// Whether all of it is there.
fn end(root: &mut Table, found: usize) -> Result<(), SettingFault> {
    let whole = |root: &Table| root.fault("must end with the table [end]: it was cut off");
    let mut end = root.take_table("end")?.ok_or_else(|| whole(root))?;
    let tenants = end.take("tenants")?.ok_or_else(|| whole(root))?;
    let told = tenants.number(0..=TENANTS_MAX as u64)?;
    match told == found as u64 {
        true => Ok(()),
        false => Err(tenants.fault(format!("must be the number of tenants in the file, {found}"))),
    }
}

fn log_level(
    mut table: Table,
    config: &ServerConfig,
    kept: &mut KeptChanges,
    faults: &mut SettingFaults,
) {
    let (level, configured) = (table.take("level"), table.take("configured"));
    let (key, origin) = (table.key.clone(), table.origin.clone());
    table.finish(faults);
    let (level, configured) = (faults.keep(level).flatten(), faults.keep(configured).flatten());
    let (Some(level), Some(configured)) = (level, configured) else {
        return faults.add(SettingFault::new(&key, origin, "must have level and configured"));
    };
    let checked = level.text().map(str::to_owned).and_then(|text| {
        let checked = crate::logging::filter::LogFilter::parse(&text);
        checked.map(|_| text).map_err(|rule| level.fault(rule))
    });
    let (checked, configured) = (faults.keep(checked), faults.keep(configured.text()));
    match configured == Some(config.log_level.as_str()) {
        true => {
            kept.shown.push((key, "level".to_owned(), origin));
            kept.changes.log_level = checked;
        }
        false => kept.dropped.push(DroppedChange { key, what: "level".to_owned(), origin }),
    }
}

impl RawChange {
    fn of(mut table: Table, faults: &mut SettingFaults) -> Option<RawChange> {
        let mut text = |table: &mut Table, name| {
            let value = faults.keep(table.take(name)).flatten();
            value.and_then(|value| faults.keep(value.text().map(str::to_owned)))
        };
        let configured = text(&mut table, "configured");
        let configured_users = text(&mut table, "configured_identities");
        let before = faults.0.len();
        let mut raw = RawChange {
            key: table.key.clone(),
            origin: table.origin.clone(),
            configured,
            configured_users,
            is_removed: false,
            dsn: None,
            pool: Vec::new(),
            users: None,
            paused: None,
        };
        faults.keep(raw.fill(&mut table));
        for key in pool_keys() {
            let value = faults.keep(table.take(key.name)).flatten();
            raw.pool.extend(value.map(|value| (key, value)));
        }
        table.finish(faults);
        (faults.0.len() == before).then_some(raw)
    }

    fn fill(&mut self, table: &mut Table) -> Result<(), SettingFault> {
        let paused = table.take("paused")?;
        let words = [Pause::Wait, Pause::Refuse].map(|how| (how.as_str(), how));
        self.paused = paused.map(|value| value.choice(&words)).transpose()?;
        if let Some(removed) = table.take("removed")? {
            self.is_removed = removed.boolean()?;
        }
        let (identities, anonymous) = (table.take("identities")?, table.take("anonymous")?);
        if let Some(value) = table.take("dsn")? {
            let dsn = Dsn::parse_written(value.text()?);
            self.dsn = Some(dsn.map_err(|error| value.fault(format!("must be a DSN: {error}")))?);
        }
        if identities.is_some() || anonymous.is_some() {
            let anonymous = anonymous.map_or(Ok(false), |value| value.boolean())?;
            let mut users = TenantUsers { anonymous, identities: Vec::new() };
            if let Some(value) = identities {
                for text in value.texts()? {
                    let pattern = IdentityPattern::parse(&text);
                    users.identities.push(pattern.map_err(|rule| value.fault(rule))?);
                }
            }
            self.users = Some(users);
        }
        Ok(())
    }

    /// Adds what holds of it, and what does not.
    fn settle(
        self,
        id: TenantId,
        config: &ServerConfig,
        salt: &Salt,
        kept: &mut KeptChanges,
    ) -> Result<(), SettingFault> {
        let configured = config.tenants.get(&id);
        let is_same = match (configured, &self.configured) {
            (Some(tenant), Some(digest)) => configured::of_tenant(salt, tenant) == *digest,
            (None, None) => true,
            _ => false,
        };
        // A reload does not end a pause, but that of a tenant that it removes or creates.
        let stays = configured.is_some() && self.configured.is_some() && !self.is_removed;
        let paused = self.paused.filter(|_| is_same || stays);
        let users_are = configured::of_users(salt, config.access.users_of(&id));
        let same_users = is_same && self.configured_users.as_ref() == Some(&users_are);
        let change = match is_same {
            true => self.change(&id, configured, config, same_users)?,
            false => ChangeKind::Same,
        };
        let (holds, gone): (Vec<&str>, Vec<&str>) =
            self.names().into_iter().partition(|name| match *name {
                "paused" => paused.is_some(),
                IDENTITIES => same_users,
                _ => is_same,
            });
        let (key, origin) = (self.key.clone(), self.origin.clone());
        if !gone.is_empty() {
            let (key, origin, what) = (key.clone(), origin.clone(), gone.join(", "));
            kept.dropped.push(DroppedChange { key, what, origin });
        }
        if !holds.is_empty() {
            let holds: Vec<_> = holds.into_iter().map(|name| self.shown(name)).collect();
            kept.shown.push((key, holds.join(", "), origin));
            kept.changes.tenants.insert(id, ChangedTenant { change, paused });
        }
        Ok(())
    }

    /// The names of what it changes.
    fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        names.extend(self.is_removed.then_some("removed"));
        names.extend(self.dsn.as_ref().map(|_| "dsn"));
        names.extend(self.pool.iter().map(|(key, _)| key.name));
        names.extend(self.users.as_ref().map(|_| IDENTITIES));
        names.extend(self.paused.map(|_| "paused"));
        names
    }

    /// What is changed, for people: who may use it by their names.
    fn shown(&self, name: &str) -> String {
        match &self.users {
            Some(users) if name == IDENTITIES => {
                let names = users.identities.iter().map(IdentityPattern::as_str);
                let everybody = users.anonymous.then_some(ANONYMOUS);
                let names: Vec<&str> = everybody.into_iter().chain(names).collect();
                format!("{name} ({})", names.join(" "))
            }
            _ => name.to_owned(),
        }
    }

    fn change(
        &self,
        id: &TenantId,
        configured: Option<&TenantConfig>,
        config: &ServerConfig,
        same_users: bool,
    ) -> Result<ChangeKind, SettingFault> {
        let fault = |rule: String| SettingFault::new(&self.key, self.origin.clone(), rule);
        if self.is_removed {
            return match configured {
                Some(_) => Ok(ChangeKind::Removed),
                None => Err(fault("must be configured to be removed".to_owned())),
            };
        }
        let users = self.users.clone().filter(|_| same_users);
        if configured.is_some() && self.dsn.is_none() && self.pool.is_empty() && users.is_none() {
            return Ok(ChangeKind::Same);
        }
        let dsn = self.dsn.as_ref().or(configured.map(|tenant| &tenant.dsn));
        let dsn = dsn.ok_or_else(|| fault("must have a dsn".to_owned()))?;
        if configured.is_none() && users.as_ref().is_none_or(TenantUsers::is_nobody) {
            return Err(fault("must have identities, or anonymous = true".to_owned()));
        }
        let (pool, own) = (config.pool.clone(), BTreeMap::new());
        let mut tenant = TenantConfig { id: id.clone(), dsn: dsn.clone(), pool, own };
        tenant.pool = self.pool(&configured::base_of(&tenant, configured, &config.pool))?;
        tenant.pool.check().map_err(|rule| fault(format!("is wrong: {rule}")))?;
        Ok(ChangeKind::Put { tenant: Box::new(tenant), users })
    }

    fn pool(&self, before: &TenantPoolConfig) -> Result<TenantPoolConfig, SettingFault> {
        let mut draft = draft_of(before);
        for (key, value) in &self.pool {
            match &key.kind {
                // Those that a DSN has given may be longer than those of a file.
                SettingKind::Time(_, at) => {
                    *at(&mut draft) = value.duration(secs(0, FOREVER_SECS))?;
                }
                _ => key.set(&mut draft, value)?,
            }
        }
        let mut pool = draft.config.pool;
        // The defaults of all tenants may be others by now.
        pool.min_connections = pool.min_connections.min(pool.max_connections);
        Ok(pool)
    }
}
