//! Where the rules of methods came from.

use crate::client::config::keys::KEYS;
use crate::client::config::setting::Setting;
use crate::client::config::{MethodPolicy, ServiceConfig};
use crate::settings::Origin;

/// The key of a rule, as errors and the effective settings name it.
fn rule_key(pattern: &str) -> String {
    format!("methods.{pattern:?}")
}

/// What a rule says, by its keys.
fn said(policy: &MethodPolicy) -> Vec<(&'static str, String)> {
    let mut said = Vec::new();
    if policy.idempotent {
        said.push(("idempotent", policy.idempotent.show()));
    }
    for (name, time) in [("timeout", policy.timeout), ("attempt_timeout", policy.attempt_timeout)] {
        said.extend(time.map(|time| (name, time.show())));
    }
    let mut parts = ServiceConfig::of(Vec::new());
    parts.retry.clone_from(&policy.retry);
    parts.breaker.clone_from(&policy.breaker);
    parts.hedge = policy.hedge;
    for (part, is_there) in [
        ("retry.", policy.retry.is_some()),
        ("breaker.", policy.breaker.is_some()),
        ("hedge.", policy.hedge.is_some()),
    ] {
        let keys = KEYS.iter().filter(|key| is_there && key.name.starts_with(part));
        said.extend(keys.map(|key| (key.name, (key.get)(&parts))));
    }
    said
}

/// The default of a part of a rule that names some of its keys.
fn default(key: &str) -> Option<String> {
    let mut parts = ServiceConfig::of(Vec::new());
    parts.hedge = Some(Default::default());
    KEYS.iter().find(|known| known.name == key).map(|known| (known.get)(&parts))
}

impl ServiceConfig {
    /// A rule is in its place, and came from there; another one of the same pattern is gone. The
    /// rule itself has no key.
    #[cfg(feature = "config-file")]
    pub(in crate::client::config) fn rule_came_from(
        &mut self,
        pattern: &str,
        origins: &[(String, Origin)],
    ) {
        let rule = rule_key(pattern);
        let policy = self.methods.iter().find(|(known, _)| *known == pattern);
        let said = policy.map(|(_, policy)| said(policy)).unwrap_or_default();
        let given = &mut self.sources.given;
        given.retain(|key, _| *key != rule && !key.starts_with(&format!("{rule}.")));
        for (key, origin) in origins {
            let value = said.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            let key = if key.is_empty() { rule.clone() } else { format!("{rule}.{key}") };
            given.insert(key, (value.unwrap_or_default(), origin.clone()));
        }
    }

    /// Where a part of a rule came from: the first of its keys, or the rule that it lies in.
    pub(super) fn origin_of_rule(&self, name: &str) -> Option<&Origin> {
        if !name.starts_with("methods.") {
            return None;
        }
        let (given, inner) = (&self.sources.given, format!("{name}."));
        let below = given.range(inner.clone()..).next().filter(|(key, _)| key.starts_with(&inner));
        let lies_in = |key: &String| inner.starts_with(&format!("{key}."));
        let above = || given.iter().rev().find(|(key, _)| lies_in(key));
        below.or_else(above).map(|(_, (_, origin))| origin)
    }

    /// The rules of methods as text, a setting a line.
    pub(super) fn rules(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (pattern, policy) in self.methods.iter() {
            let rule = rule_key(pattern);
            for (name, value) in said(policy) {
                let key = format!("{rule}.{name}");
                let source = match self.sources.given.get(&key) {
                    Some((given, origin)) if *given == value => origin.to_string(),
                    None if default(name).as_ref() == Some(&value) => "default".to_owned(),
                    _ => "code".to_owned(),
                };
                lines.push(format!("{key} = {value} ({source})\n"));
            }
        }
        lines
    }
}
