//! Who may use a tenant, as its table says.

use crate::config::raw::tenants::RawTenant;
use crate::config::raw::RawSettings;
use crate::config::tenant_keys::{ANONYMOUS, IDENTITIES};
use crate::core::access::{IdentityPattern, TenantUsers};
use crate::settings::{nearest, Origin, SettingFault, SettingValue};

/// Reads who may use a tenant. Where callers have to be known (`guarded`), that must be said.
///
/// # Errors
/// It is not said, or names nobody.
pub(super) fn of(
    raw: &RawTenant,
    settings: &RawSettings,
    guarded: bool,
) -> Result<TenantUsers, SettingFault> {
    let anonymous =
        raw.values.get(ANONYMOUS).map(SettingValue::boolean).transpose()?.unwrap_or(false);
    let mut users = TenantUsers { anonymous, identities: Vec::new() };
    if let Some(value) = raw.values.get(IDENTITIES) {
        for text in value.texts()? {
            users.identities.push(pattern(value, &text, settings)?);
        }
    }
    if !guarded || !users.is_nobody() {
        return Ok(users);
    }
    if matches!(raw.origin, Origin::Variable(_)) {
        // It has no table in which to say it.
        users.identities.extend(IdentityPattern::parse("*"));
        return Ok(users);
    }
    Err(raw.fault("must list the identities that may use it, or have anonymous = true"))
}

fn pattern(
    value: &SettingValue,
    text: &str,
    settings: &RawSettings,
) -> Result<IdentityPattern, SettingFault> {
    let (access, may_lack) = (&settings.access, settings.doubts.of_identities);
    let pattern = IdentityPattern::parse(text).map_err(|rule| value.fault(rule))?;
    let Some(name) = pattern.name().filter(|name| !may_lack && access.identity(name).is_none())
    else {
        return Ok(pattern);
    };
    let meant = nearest(name, 0, access.names());
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Err(value.fault(format!("must name identities of the file, and {name:?} is none{meant}")))
}
