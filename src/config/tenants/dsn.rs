//! The DSN of a tenant, from whichever of its keys say it.

use std::path::PathBuf;

use super::secret_file;
use crate::config::dsn::{Dsn, DsnError};
use crate::config::raw::tenants::RawTenant;
use crate::config::tenant_keys::{of_dsn, DSN, DSN_ENV, DSN_FILE, KEYS, PASSWORD, PASSWORD_FILE};
use crate::settings::{Content, SettingFault, SettingValue};

/// The DSN, and the file of it that others can read.
pub(super) type FoundDsn = (Dsn, Option<PathBuf>);

/// Reads the DSN.
///
/// # Errors
/// There is none, there are several, or it is wrong. No value of it is shown.
pub(super) fn of(raw: &RawTenant) -> Result<FoundDsn, SettingFault> {
    let given = |name: &&str| raw.values.contains_key(*name);
    let whole = [DSN, DSN_FILE, DSN_ENV].into_iter().filter(given);
    let part =
        KEYS.iter().filter(|key| key.in_dsn.is_some()).map(|key| key.name).find(|key| given(key));
    let mut sources = whole.chain(part);
    let Some(source) = sources.next() else {
        return Err(raw.fault("must have one of dsn, dsn_file, dsn_env and host"));
    };
    if let Some(other) = sources.next() {
        return Err(raw.fault_of(other, format!("must not be given beside {source}")));
    }
    let Some(value) = raw.values.get(source) else { return of_parts(raw) };
    match source {
        DSN => Ok((parsed(value, value.text()?)?, None)),
        DSN_FILE => {
            let file = secret_file::read(value)?;
            Ok((parsed(value, &file.text)?, file.exposed))
        }
        DSN_ENV => of_variable(raw, value),
        _ => of_parts(raw),
    }
}

fn of_variable(raw: &RawTenant, value: &SettingValue) -> Result<FoundDsn, SettingFault> {
    value.text()?;
    let Some(text) = &raw.variable else {
        return Err(value.fault_shown("must name a variable that is set"));
    };
    let text = text.to_str().ok_or_else(|| value.fault_shown("must name a variable of UTF-8"))?;
    Ok((parsed(value, text)?, None))
}

fn parsed(value: &SettingValue, text: &str) -> Result<Dsn, SettingFault> {
    Dsn::parse(text).map_err(|error| value.fault(format!("must be a DSN: {error}")))
}

fn of_parts(raw: &RawTenant) -> Result<FoundDsn, SettingFault> {
    let (mut pairs, mut exposed) = (Vec::new(), None);
    for key in KEYS {
        let (Some(in_dsn), Some(value)) = (key.in_dsn, raw.values.get(key.name)) else { continue };
        let text = match key.name {
            PASSWORD_FILE => {
                let file = secret_file::read(value)?;
                exposed = file.exposed;
                file.text
            }
            _ => text(value)?,
        };
        pairs.push((in_dsn, text));
    }
    if let Some(value) = raw.values.get(PASSWORD) {
        pairs.push((PASSWORD, value.text()?.to_owned()));
    }
    let dsn = Dsn::of(pairs).map_err(|error| {
        let DsnError { key, rule } = error;
        match key.as_deref().and_then(of_dsn) {
            Some(name) => raw.fault_of(name, rule),
            // A key of the table that has another name, or one that is missing.
            None => raw.fault(format!("is wrong: {}", DsnError { key, rule })),
        }
    })?;
    Ok((dsn, exposed))
}

/// A text, a number, or several of them with commas.
pub(super) fn text(value: &SettingValue) -> Result<String, SettingFault> {
    match &value.content {
        Content::Integer(number) => Ok(number.to_string()),
        Content::List(values) => {
            let texts: Result<Vec<String>, SettingFault> = values.iter().map(text).collect();
            Ok(texts?.join(","))
        }
        _ => value.text().map(str::to_owned),
    }
}
