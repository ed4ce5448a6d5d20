//! What every setting refuses, in a file and in a variable, by its key and its place.

use std::collections::BTreeSet;

use super::super::keys::{KEYS, SYNONYM};
use super::super::layers::ADDRESSES;
use super::*;
use crate::settings::file::parse;

/// Of any integer: too small, too large, another kind, nothing.
const INTEGER: &[&str] = &["-1", "9223372036854775807", "1.5", "\"many\"", "\"\"", "true", "[1]"];
/// Of any time. Those that may be off take `off`.
const TIME: &[&str] = &[
    "5",
    "-5",
    "\"5\"",
    "\"-5s\"",
    "\"0s\"",
    "\"9d\"",
    "\"99999999999h\"",
    "\"nans\"",
    "\"\"",
    "true",
    "[]",
];
const NUMBER: &[&str] =
    &["-0.1", "-1", "nan", "inf", "-inf", "1e10", "\"half\"", "\"\"", "true", "[0.1]"];
const BOOLEAN: &[&str] = &["1", "-1", "\"maybe\"", "\"\"", "[true]"];
const WORD: &[&str] = &["\"nonsense\"", "\"\"", "1", "true", "[]"];
const TEXT: &[&str] = &["1", "-1.5", "true", "[]"];
const CODES: &[&str] = &["[\"DOWN\"]", "[7]", "[\"\"]", "\"unavailable\"", "14", "true"];

/// What else a key refuses, because of its own range.
fn own(key: &str) -> &'static [&'static str] {
    match key {
        "pool.size" => &["0", "1001"],
        "pool.min_size" => &["0", "11"],
        "pool.calls_per_channel" => &["0", "10001"],
        "pool.max_waiters" => &["1000001"],
        "connection.max_message_bytes" => &["0", "1073741825"],
        "health.tries" | "health.successes" => &["0", "1001"],
        "retry.max_attempts" => &["0", "11"],
        "hedge.max_attempts" => &["1", "6"],
        "breaker.failures" | "breaker.successes" => &["0", "1000001"],
        "outlier.failures" | "outlier.min_calls" => &["0", "1000001"],
        "outlier.error_ratio" => &["0.009", "1.1"],
        "outlier.max_ejection_time" => &["\"29s\""],
        "retry.multiplier" => &["0.9", "1001.0"],
        "retry.jitter" | "retry.budget.per_call" | "events.sample_rate" => &["1.1"],
        "outlier.max_ejected" => &["1.1"],
        "retry.budget.per_second" => &["10001.0"],
        "retry.budget.most" => &["0.0", "10001.0"],
        "tls.ca_file" | "tls.cert_file" | "tls.key_file" => &["\"\""],
        "tls.server_name" => &["\"\"", "\"two words\""],
        "connection.user_agent" => &["\"\"", "\"tab\\t\""],
        "type" => &["\"tab\\t\""],
        "health.method" => &["\"\"", "\"Ping\"", "\"/Ping\""],
        "connection.max_reconnect_delay" => &["\"999ms\""],
        _ => &[],
    }
}

fn of_kind(kind: &str) -> Vec<&'static str> {
    let values = match kind {
        "integer" => INTEGER,
        "time" => return [TIME, &["\"off\""]].concat(),
        "time or off" => return [TIME, &["\"on\""]].concat(),
        "number" => NUMBER,
        "number or off" => return [NUMBER, &["\"on\""]].concat(),
        "true or false" => BOOLEAN,
        "word" => WORD,
        "text" => TEXT,
        "list of codes" => CODES,
        other => panic!("{other}: what does it refuse?"),
    };
    values.to_vec()
}

/// A file in which the key stands in line 4.
fn file(key: &str, value: &str) -> String {
    let (table, last) = match key.rsplit_once('.') {
        Some((table, last)) => (format!(".{table}"), last),
        None => (String::new(), key),
    };
    // A text that is no longer is one of more than 200 or 1024 characters.
    match table.is_empty() {
        true => format!("[services.users]\n# 2\naddresses = [\"a:1\"]\n{last} = {value}\n"),
        false => format!(
            "[services.users]\naddresses = [\"a:1\"]\n[services.users{table}]\n{last} = {value}\n"
        ),
    }
}

fn refusal(text: &str) -> String {
    match Config::parse("clients.toml", text) {
        Ok(config) => panic!("taken: {text}\n{}", config.effective()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_bad_value_in_a_file_is_named_with_its_key_and_line() {
    let long = format!("{:?}", "x".repeat(1025));
    let config = ServiceConfig::of(vec!["a:1".to_owned()]);
    for key in KEYS {
        let kind = (key.kind)(&config);
        let mut values = of_kind(kind);
        values.extend(own(key.name));
        // Paths are as long as the system lets them be.
        if kind == "text" && !key.name.ends_with("_file") {
            values.push(&long);
        }
        for value in values {
            let said = refusal(&file(key.name, value));
            let named = format!("{} (clients.toml:4)", key.name);
            assert!(said.contains(&named), "{} = {value:.40}\n{said:.300}", key.name);
            assert!(said.contains("must"), "{said}");
        }
    }
    for (key, values) in [
        (
            "addresses",
            &["1", "true", "[]", "[1]", "[\"\"]", "[\"a\"]", "[\"a:0\"]", "[\"a:99999\"]"][..],
        ),
        ("endpoint", &["1", "\"\"", "\"a\"", "\"a:0\"", "\"a:99999\"", "[\"a:1\", \"b\"]"]),
        ("host", &["1", "true", "[\"a\"]", "\"\"", "\"a b\"", "\"a/b\""]),
        ("profile", WORD),
    ] {
        for value in values {
            let said = refusal(&format!("[services.users]\n{key} = {value}\n"));
            assert!(said.contains("clients.toml:2"), "{key} = {value}\n{said}");
        }
    }
    for port in ["0", "-1", "65536", "1.5", "\"x\"", "\"\"", "true"] {
        let said = refusal(&format!("[services.users]\nhost = \"a\"\nport = {port}\n"));
        assert!(said.contains("services.users.port (clients.toml:3)"), "{port}\n{said}");
    }
}

#[test]
fn a_bad_value_in_a_variable_is_named_with_its_variable() {
    let texts = |kind: &str, variable: &str| -> &[&str] {
        match kind {
            "integer" => &["-1", "1.5", "many", "", "99999999999999999999"],
            // The unit is in the name.
            _ if variable.ends_with("_SECS") || variable.ends_with("_MS") => {
                &["-1", "0", "1.5", "5s", "nan", "", "99999999999999999999"]
            }
            "true or false" => &["2", "maybe", "-1", ""],
            "word" => &["nonsense", "", "1"],
            "text" => &["tab\t", "\u{e9}"],
            other => panic!("{other}: what does it refuse?"),
        }
    };
    let config = ServiceConfig::of(vec!["a:1".to_owned()]);
    let mut seen = BTreeSet::new();
    let named = KEYS.iter().filter(|key| !key.variable.is_empty());
    let named = named.map(|key| (key.variable, (key.kind)(&config)));
    for (variable, kind) in named.chain([(SYNONYM.0, "integer")]) {
        // Any path is one.
        if variable.ends_with("_FILE") {
            continue;
        }
        seen.insert(variable);
        let full = format!("GRPC_USERS_{variable}");
        for text in texts(kind, variable) {
            let said = of(&[("GRPC_USERS_ADDRESSES", "a:1"), (&full, text)]).map(|_| ());
            let said = said.expect_err(&format!("{full}={text:?} is taken"));
            assert!(said.contains(&full), "{full}={text:?}\n{said}");
        }
    }
    assert!(seen.len() >= 13, "{seen:?}");
    for (variable, text) in [("PORT", "0"), ("PORT", "x"), ("HOST", "a b"), ("ADDRESSES", "a")] {
        let full = format!("GRPC_USERS_{variable}");
        let host = ("GRPC_USERS_HOST", "a");
        let given = [(&*full, text), host];
        let given = if variable == "PORT" { &given[..] } else { &given[..1] };
        assert!(of(given).unwrap_err().contains(&full), "{full}={text}");
    }
    assert_eq!(ADDRESSES.len(), 3, "each of them is above");
}

#[test]
fn numbers_that_the_program_sets_are_looked_at_too() {
    let nan = f64::NAN;
    let mut config = ServiceConfig::of(vec!["a:1".to_owned()]);
    config.events.sample_rate = nan;
    let retry = config.retry.get_or_insert_with(Default::default);
    (retry.multiplier, retry.jitter) = (nan, f64::NEG_INFINITY);
    retry.budget = BudgetConfig { per_call: nan, per_second: f64::INFINITY, most: nan };
    let outlier = config.outlier.get_or_insert_with(Default::default);
    (outlier.error_ratio, outlier.max_ejected) = (Some(nan), nan);
    config.methods.set("/a/B", MethodPolicy::new().retry(retry.clone()));
    let said = config.check().unwrap_err().to_string();
    for key in [
        "events.sample_rate",
        "retry.multiplier",
        "retry.jitter",
        "retry.budget.per_call",
        "retry.budget.per_second",
        "retry.budget.most",
        "outlier.error_ratio",
        "outlier.max_ejected",
        "methods.\"/a/B\".retry.multiplier",
        "methods.\"/a/B\".retry.budget.most",
    ] {
        assert!(said.contains(&format!("{key} must be")), "{key}\n{said}");
    }
    assert!(parse("f", "a = nan").is_ok(), "TOML has it");
}
