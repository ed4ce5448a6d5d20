//! The tables of `docs/configuration.md`, made from the tables of keys.

use crate::config::keys::{self, Section, SettingKey};
use crate::config::tenant_keys::{self, TenantKey};

/// What a page with these tables is not.
const INCOMPLETE: &str = "has not the marks of its tables";

/// The page with each table as the code has it, and all else as it is.
///
/// # Errors
/// What the page lacks.
pub fn refreshed(page: &str) -> Result<String, &'static str> {
    let mut page = page.to_owned();
    for (name, table) in [
        ("tenant", tenant_table()),
        ("service", setting_table(Section::Service)),
        ("defaults", setting_table(Section::Defaults)),
    ] {
        let start = format!("<!-- keys: {name} -->\n");
        let (before, rest) = page.split_once(&start).ok_or(INCOMPLETE)?;
        let (_, after) = rest.split_once(END).ok_or(INCOMPLETE)?;
        page = format!("{before}{start}{table}{END}{after}");
    }
    Ok(page)
}

const END: &str = "<!-- end -->\n";

fn tenant_table() -> String {
    let rows = tenant_keys::KEYS.iter().map(tenant_row).collect::<String>();
    format!("| Key | Value |\n|---|---|\n{rows}")
}

fn tenant_row(key: &TenantKey) -> String {
    format!("| `{}` | {} |\n", key.name, key.help.trim_end_matches('.'))
}

fn setting_table(section: Section) -> String {
    let rows = keys::keys().filter(|key| key.table == section).map(setting_row);
    let head = "| Flag | Variable | Default | Allowed | Changed by | Meaning |\n\
                |---|---|---|---|---|---|\n";
    format!("{head}{}", rows.collect::<String>())
}

fn setting_row(key: &SettingKey) -> String {
    let default = match (key.default, key.default_text(), key.is_switch()) {
        (Some(words), ..) => words.to_owned(),
        (_, _, true) => "off".to_owned(),
        (None, Some(text), _) => format!("`{text}`"),
        (None, None, _) => "none".to_owned(),
    };
    format!(
        "| `{}` | `{}` | {default} | {} | {} | {} |\n",
        key.flag(),
        key.variable(),
        key.kind.allowed(),
        if key.live { "reload" } else { "restart" },
        key.help.trim_end_matches('.'),
    )
}

#[cfg(test)]
mod tests;
