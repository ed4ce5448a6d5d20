//! What may know what: the order of the modules, read from their source.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

#[path = "structure/architecture.rs"]
mod architecture;
#[path = "structure/documents.rs"]
mod documents;
#[path = "structure/floors.rs"]
mod floors;
#[path = "structure/names.rs"]
mod names;
#[path = "structure/programs.rs"]
mod programs;
#[path = "structure/rings.rs"]
mod rings;
#[path = "structure/sizes.rs"]
mod sizes;
#[path = "structure/source.rs"]
mod source;
#[path = "structure/traps.rs"]
mod traps;

use std::fs;
use std::process::Command;

use source::{assert_none, code, is_test, repository, sources, walk, word, Source};

/// Who must not name whom, of our own modules.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "pgwire",
        &[
            "backend", "config", "metrics", "pool", "rpc", "http", "runtime", "server", "cli",
            "client", "embedded", "logging", "clock", "threads", "proto",
        ],
    ),
    ("backend", &["pool", "rpc", "http", "runtime", "server", "cli", "client", "embedded"]),
    ("pool", &["rpc", "http", "runtime", "server", "cli", "client", "embedded", "proto"]),
    ("runtime", &["rpc", "http", "server", "cli", "client", "embedded", "proto"]),
    ("rpc", &["http", "server", "cli", "client", "embedded", "runtime"]),
    ("http", &["rpc", "server", "cli", "client", "embedded", "proto"]),
    ("server", &["cli", "client", "embedded"]),
    ("config", &["backend", "pool", "rpc", "http", "runtime", "server", "cli", "client", "proto"]),
    ("metrics", &["backend", "pool", "rpc", "http", "runtime", "server", "cli", "client", "proto"]),
    ("logging", &["backend", "pool", "rpc", "http", "runtime", "server", "cli", "client", "proto"]),
    ("error", &["backend", "pool", "rpc", "http", "runtime", "server", "cli", "client", "proto"]),
    (
        "client",
        &[
            "backend", "pool", "pgwire", "rpc", "http", "runtime", "server", "cli", "config",
            "metrics", "logging", "error", "embedded",
        ],
    ),
    // Machinery without a word of what it is used for.
    (
        "threads",
        &[
            "backend", "pgwire", "pool", "rpc", "http", "runtime", "server", "cli", "client",
            "embedded", "config", "metrics", "error", "proto", "logging",
        ],
    ),
    (
        "lock",
        &[
            "core", "backend", "pgwire", "pool", "rpc", "http", "runtime", "server", "cli",
            "client", "embedded", "config", "metrics", "error", "proto", "logging", "threads",
        ],
    ),
    (
        "random",
        &[
            "core", "backend", "pgwire", "pool", "rpc", "http", "runtime", "server", "cli",
            "client", "embedded", "config", "metrics", "error", "proto", "logging", "threads",
        ],
    ),
    (
        "settings",
        &[
            "core", "backend", "pgwire", "pool", "rpc", "http", "runtime", "server", "cli",
            "client", "embedded", "config", "metrics", "error", "proto", "logging", "threads",
            "lock", "clock", "random",
        ],
    ),
    (
        "embedded",
        &["backend", "pool", "rpc", "http", "runtime", "server", "cli", "client", "proto"],
    ),
];

#[test]
fn imports_go_down_only() {
    let (mut found, mut down) = (Vec::new(), false);
    for source in sources() {
        let forbidden = FORBIDDEN.iter().filter(|(module, _)| *module == source.module());
        let forbidden: Vec<&str> = forbidden.flat_map(|(_, names)| names.iter().copied()).collect();
        for (number, name) in source.own() {
            down |= source.module() == "rpc" && name == "pool";
            // Tests may start a PostgreSQL.
            let starts = name == "embedded" && is_test(&source.name);
            if forbidden.contains(&&*name) && !starts {
                found.push(format!("src/{}:{number}: must not name {name}", source.name));
            }
        }
    }
    assert_none(&found);
    assert!(down, "rpc names pool: this test looks wrongly");
}

/// The files of the client that decide and do nothing else.
const DECIDING: &[&str] = &[
    "client/balance.rs",
    "client/budget.rs",
    "client/endpoint.rs",
    "client/lineup.rs",
    "client/lineup/",
    "client/retry.rs",
    "client/spread.rs",
];

#[test]
fn the_core_knows_nothing_but_itself() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "core") {
        for (number, name) in source.own() {
            if name != "core" {
                found.push(format!("src/{}:{number}: the core must not name {name}", source.name));
            }
        }
    }
    // PostgreSQL's protocol is pure too, but may name our errors.
    let is_pure = |source: &&Source| {
        ["core", "pgwire"].contains(&source.module())
            || DECIDING.iter().any(|start| source.name.starts_with(start))
    };
    for source in sources().iter().filter(is_pure) {
        for (number, line) in source.outside_tests() {
            for word in [
                "std::net",
                "std::fs",
                "std::thread",
                "std::sync::Mutex",
                "Instant::now",
                "SystemTime",
                "grpcio::",
                "log::",
            ] {
                // An address is a value.
                let is_value = ["std::net::{Ipv4Addr, Ipv6Addr}", "std::net::IpAddr;"]
                    .iter()
                    .any(|address| line.contains(address));
                if line.contains(word) && !is_value && !is_test(&source.name) {
                    found.push(format!("src/{}:{number}: must be pure: {word}", source.name));
                }
            }
        }
    }
    assert_none(&found);
}

/// Crates that only some files may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("postgres", &["backend"]),
    ("tokio_postgres", &["backend"]),
    ("postgres_openssl", &["backend"]),
    ("r2d2_postgres", &["backend"]),
    ("tokio", &["backend"]),
    ("postgres_protocol", &["pgwire"]),
    ("r2d2", &["backend", "pool"]),
    ("grpcio", &["rpc", "client.rs", "client", "cli/demo.rs", "proto.rs"]),
    ("tiny_http", &["http"]),
    ("prometheus", &["http", "metrics.rs", "metrics", "client/metrics.rs", "client/metrics"]),
    ("clap", &["cli"]),
    ("toml", &["settings"]),
    ("signal_hook", &["cli"]),
    (
        "tempfile",
        &[
            "embedded",
            "embedded.rs",
            "dev_certs",
            "dev_certs.rs",
            "http",
            "settings/tests.rs",
            "settings/file/own/tests.rs",
            "config/tenants/tests.rs",
            "pool/keeping/marks/tests.rs",
        ],
    ),
];

#[test]
fn a_library_is_named_only_where_it_belongs() {
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for source in sources() {
        for (library, places) in RESERVED {
            let belongs = places.iter().any(|place| {
                source.name == *place || source.name.starts_with(&format!("{place}/"))
            });
            for number in source.foreign(library) {
                used.push(*library);
                if !belongs {
                    found.push(format!("src/{}:{number}: must not name {library}", source.name));
                }
            }
        }
    }
    assert_none(&found);
    for library in ["postgres", "postgres_openssl", "r2d2_postgres", "tokio", "grpcio", "tiny_http"]
    {
        assert!(used.contains(&library), "{library} is named nowhere: this test looks wrongly");
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        for (number, line) in source.outside_tests() {
            if line.contains(".unwrap()") {
                found.push(format!("src/{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn tests_do_not_sleep() {
    let mut files = Vec::new();
    walk(&repository("tests"), &mut files);
    let mut found = Vec::new();
    // In two pieces, or this line would find itself.
    let sleep = ["thread::", "sleep"].concat();
    for file in files {
        for (i, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if code(line).contains(&sleep) {
                found.push(format!("{}:{}: {}", file.display(), i + 1, line.trim()));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn the_lock_file_has_no_old_protobuf_and_no_boringssl() {
    let lock = fs::read_to_string(repository("Cargo.lock")).unwrap();
    let packages: Vec<(&str, &str)> = lock
        .split("[[package]]")
        .filter_map(|package| Some((value(package, "name = ")?, value(package, "version = ")?)))
        .collect();
    let versions =
        |name| packages.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect::<Vec<_>>();
    assert_eq!(versions("protobuf").len(), 1);
    assert!(versions("protobuf")[0].starts_with("3."), "{:?}", versions("protobuf"));
    let boring: Vec<_> = packages.iter().filter(|(name, _)| name.contains("boring")).collect();
    assert!(boring.is_empty(), "{boring:?}");
    assert!(packages.len() > 50 && versions("grpcio").len() == 1);
}

fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'))
}

#[test]
fn no_key_is_in_the_repository() {
    let git = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(repository("."))
        .output()
        .expect("git is there");
    assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
    let names = String::from_utf8(git.stdout).unwrap();
    let names: Vec<&str> = names.split_terminator('\0').collect();
    assert!(names.contains(&"certs/README.md"), "{names:?}");
    let mut found = Vec::new();
    for name in names {
        let bytes = fs::read(repository(name)).unwrap_or_default();
        let starts_as_key = bytes.starts_with(b"-----BEGIN")
            && String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----");
        let in_certs =
            name.starts_with("certs/") && String::from_utf8_lossy(&bytes).contains("-----BEGIN");
        if starts_as_key || in_certs || name.ends_with(".pem") || name.ends_with(".key") {
            found.push(name.to_owned());
        }
    }
    assert_none(&found);
}

#[test]
fn no_log_line_holds_a_value_as_rust_debugs_it() {
    let mut found = Vec::new();
    for source in sources() {
        let text = source.lines.join("\n");
        for (at, _) in text.match_indices("event=") {
            let rest = &text[at..];
            let format = &rest[..rest.find("\",").or(rest.find("\")")).unwrap_or(rest.len())];
            if format.contains(":?}") || format.contains(":#?}") {
                found.push(format!("{}: {format}", source.name));
            }
        }
    }
    assert_none(&found);
}
