//! Warns of unknown `CPM_*` variables: a typing error would otherwise silently leave a default in
//! force.

use std::env;

use crate::config::keys::{self, SettingKey};
use crate::config::raw::{CONFIG_VARIABLE, PROFILE_VARIABLE};
use crate::core::quoted::Quoted;
use crate::settings::nearest;

/// The prefix of the service's variables.
const PREFIX: &str = "CPM_";
/// Variables that are no settings: which settings to use, and the directory of PostgreSQL's
/// programs, for `demo`.
const OTHERS: [&str; 3] = [CONFIG_VARIABLE, PROFILE_VARIABLE, "CPM_PG_BIN"];
/// How many are named; of the others only the number is logged.
const NAMED: usize = 20;

/// Warns of each variable that has the prefix but is unknown, with the known name most like it.
/// Values are not read.
pub(super) fn warn_of_unknown() {
    let known = known();
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> =
        names.filter(|name| name.starts_with(PREFIX) && !known.contains(name)).collect();
    unknown.sort();
    for name in unknown.iter().take(NAMED) {
        let known = known.iter().map(String::as_str);
        let nearest = nearest(name, PREFIX.len(), known)
            .map_or_else(String::new, |it| format!(" nearest={it}"));
        log::warn!("event=unknown_variable name={}{nearest}", Quoted(name));
    }
    if unknown.len() > NAMED {
        log::warn!("event=unknown_variables more={}", unknown.len() - NAMED);
    }
}

fn known() -> Vec<String> {
    keys::keys().map(SettingKey::variable).chain(OTHERS.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variable_is_found_and_a_far_one_is_not() {
        let known = known();
        assert!(known.len() > 30, "{known:?}");
        for (typed, meant) in [
            ("CPM_PROT", Some("CPM_PORT")),
            ("CPM_MAXCONNECTIONS", Some("CPM_MAX_CONNECTIONS")),
            ("CPM_MAX_CONECTIONS", Some("CPM_MAX_CONNECTIONS")),
            ("CPM_DRAIN_TIME", Some("CPM_DRAIN_TIMEOUT")),
            ("CPM_PG_BINS", Some("CPM_PG_BIN")),
            ("CPM_COMPLETELY_ELSE", None),
            ("CPM_", None),
        ] {
            let known = known.iter().map(String::as_str);
            assert_eq!(nearest(typed, PREFIX.len(), known), meant, "{typed}");
        }
    }
}
