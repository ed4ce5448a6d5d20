//! What holds of every key there is.

use super::*;
use crate::config::keys::SettingKind;
use crate::config::{document, tenant_keys};

/// Values that are wrong for a setting.
fn wrong(kind: &SettingKind) -> &'static [&'static str] {
    match kind {
        SettingKind::Switch(_) => &["1.5", "\"maybe\"", "[true]"],
        SettingKind::Fraction(..) => &["-0.1", "1.1", "nan", "\"half\"", "true"],
        SettingKind::Time(..) => &["-1", "\"soon\"", "\"99999999h\"", "true", "1.5", "[1]"],
        SettingKind::Size(..) => &["-1", "\"1MB\"", "true", "1.5"],
        SettingKind::Custom(_) => &["1.5", "true", "[[1]]"],
        _ => &["-1", "\"x\"", "true", "1.5", "99999999999", "[1]"],
    }
}

#[test]
fn every_key_refuses_what_it_does_not_understand_and_names_its_line() {
    let mut seen = 0;
    for key in keys::keys() {
        for value in wrong(&key.kind) {
            let said = refusal(&format!("[{}]\n\n{} = {value}\n", key.table.name(), key.name));
            let place = format!("{} (x.toml:3) must ", key.path());
            assert!(said.starts_with(&place), "{} = {value}: {said}", key.name);
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn the_printed_file_has_every_key_with_the_default_that_is_in_force() {
    let whole = document::with_defaults();
    let (printed, tenant) = whole.split_once(document::IDENTITY).unwrap();
    for key in tenant_keys::KEYS {
        assert!(tenant.contains(&format!("\n#{} = ", key.name)), "{} is not printed", key.name);
    }
    let mut lines: Vec<String> = Vec::new();
    for line in printed.lines() {
        let value = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        let name = value.map_or("", |rest| rest.split(" = ").next().unwrap());
        let is_key = keys::find(name).is_some_and(|key| key.default_text().is_some());
        lines.push(if is_key { value.unwrap().to_owned() } else { line.to_owned() });
    }
    let loaded = loaded(&lines.join("\n"), &[], &[]).unwrap();
    let (set, unset) = (Draft::of(&loaded.config), Draft::default());
    for key in keys::keys() {
        let there = printed.lines().any(|line| line.starts_with(&format!("#{} =", key.name)));
        assert!(there, "{} is not printed", key.name);
        assert_eq!(key.show(&set), key.show(&unset), "{}", key.name);
        if key.default_text().is_some() {
            assert!(loaded.origin(key) != Origin::Default, "{} was not read", key.name);
        }
    }
}

#[test]
fn a_key_without_a_default_is_printed_with_an_example_that_is_one() {
    let whole = document::with_defaults();
    let without: Vec<_> = keys::keys().filter(|key| key.default_text().is_none()).collect();
    assert!(without.len() > 5, "this test looks wrongly");
    for key in without {
        let start = format!("#{} = ", key.name);
        let value = whole.lines().find_map(|line| line.strip_prefix(&start)).expect(key.name);
        // The one that must be there.
        let value = value.replace("/etc/connection-pool-manager/dsn-certs", "/");
        let text = format!("[{}]\n{} = {value}\n", key.table.name(), key.name);
        let found = loaded(&text, &[], &[]).unwrap();
        assert!(matches!(found.origin(key), Origin::File { .. }), "{text}");
        assert!(key.toml(&Draft::of(&found.config)).is_some(), "{text}");
    }
    assert!(whole.contains("\n#max_connections_per_server = 0\n"));
}

#[test]
fn names_are_unique_and_every_default_is_allowed() {
    let mut names: Vec<&str> = keys::keys().map(|key| key.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for key in keys::keys() {
        let Some(text) = key.default_text() else { continue };
        let value = crate::settings::SettingValue::text_of(key.name, &text, Origin::Default);
        assert_eq!(key.set(&mut Draft::default(), &value), Ok(()), "{}", key.name);
        assert!(key.help.ends_with('.'), "{}", key.name);
    }
}
