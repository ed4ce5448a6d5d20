use std::collections::BTreeMap;

use super::*;
use crate::config::load::load;
use crate::config::raw::RawSettings;
use crate::core::testing::Xorshift;
use crate::settings::{Origin, SettingValue};

/// What is given of some keys: their names, and texts that are allowed.
type Given = BTreeMap<&'static str, &'static str>;

/// Keys of every kind with two values each, and whether a reload changes them.
const SOME: &[(&str, [&str; 2], bool)] = &[
    ("port", ["1", "2"], false),
    ("listen", ["a", "b"], false),
    ("insecure", ["true", "false"], false),
    ("drain_timeout", ["1", "2"], true),
    ("max_backends", ["200", "300"], true),
    ("max_connections", ["10", "11"], true),
    ("min_connections", ["1", "2"], true),
    ("idle_timeout", ["70", "80"], true),
    ("reset", ["clean", "close"], true),
    ("max_waiters", ["5", "6"], false),
    ("max_waiters_per_tenant", ["5", "6"], true),
    ("leases_per_caller", ["5", "6"], false),
    ("statement_timeout", ["5", "6"], true),
    ("memory_limit", ["1GiB", "2GiB"], false),
    ("cancel_grace", ["1", "3"], true),
    ("tcp_keepalive_idle", ["40", "50"], true),
    ("http_connections", ["5", "6"], false),
];

fn config(given: &Given) -> ServerConfig {
    let value = |(name, text): (&&'static str, &&'static str)| {
        (*name, SettingValue::text_of(name, text, Origin::Default))
    };
    let values = given.iter().map(value).collect();
    let raw = RawSettings { values, ..RawSettings::default() };
    load(&raw).unwrap_or_else(|faults| panic!("{faults}")).config
}

fn random(random: &mut Xorshift) -> Given {
    let mut given = Given::new();
    for (name, texts, _) in SOME {
        if random.below(2) == 0 {
            given.insert(name, texts[random.below(2) as usize]);
        }
    }
    given
}

/// The text that holds for a key.
fn text(given: &Given, name: &str) -> String {
    let key = keys::find(name).unwrap();
    key.show(&Draft::of(&config(given))).unwrap()
}

#[test]
fn of_random_reloads_each_applies_what_is_live_and_names_the_rest() {
    let mut numbers = Xorshift::new(5);
    let start = random(&mut numbers);
    let mut old = start.clone();
    for _ in 0..500 {
        let new = random(&mut numbers);
        let plan = ReloadPlan::between(&config(&start), &config(&old), &config(&new));
        let differ = |one: &Given, live: bool| -> Vec<String> {
            let keys = SOME.iter().filter(|(name, _, is_live)| {
                *is_live == live && text(one, name) != text(&new, name)
            });
            let mut paths: Vec<String> =
                keys.map(|(name, ..)| keys::find(name).unwrap().path()).collect();
            paths.sort();
            paths
        };
        let sorted = |paths: &[String]| {
            let mut paths = paths.to_vec();
            paths.sort();
            paths
        };
        assert_eq!(sorted(&plan.applied), differ(&old, true));
        assert_eq!(sorted(&plan.needs_restart), differ(&start, false));
        let of_pools =
            ["max_connections", "min_connections", "idle_timeout", "reset", "tcp_keepalive_idle"];
        let differs = |name: &&str| text(&old, name) != text(&new, name);
        assert_eq!(plan.defaults, of_pools.iter().any(differs));
        assert_eq!(plan.waiters, differs(&"max_waiters_per_tenant"));
        old = new;
    }
}
