//! What may know what: the order of the modules, read from their source.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

#[path = "structure/architecture.rs"]
mod architecture;
#[path = "structure/documents.rs"]
mod documents;
#[path = "structure/floors.rs"]
mod floors;
#[path = "structure/programs.rs"]
mod programs;
#[path = "structure/rings.rs"]
mod rings;
#[path = "structure/sizes.rs"]
mod sizes;
#[path = "structure/traps.rs"]
mod traps;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a file in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A source file without its comments; the lines keep their numbers.
struct Source {
    /// From `src/` on, as `pool/tenant.rs`.
    name: String,
    lines: Vec<String>,
}

fn sources() -> Vec<Source> {
    let root = repository("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    let source = |path: &PathBuf| Source {
        name: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        lines: fs::read_to_string(path).unwrap().lines().map(code).collect(),
    };
    files.iter().map(source).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A line without its comment. One inside a string is cut too, which at worst
/// hides the rest of that line; an URL is left alone.
fn code(line: &str) -> String {
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| at + from) {
        if !line[..at].ends_with(':') {
            return line[..at].to_owned();
        }
        from = at + 2;
    }
    line.to_owned()
}

impl Source {
    /// The module at the top: `pool` of `pool/tenant.rs` and of `pool.rs`.
    fn module(&self) -> &str {
        let top = self.name.split('/').next().unwrap();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// Places where one of our own modules is named, by `crate::`, with their
    /// line numbers.
    fn own(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (number, line) in self.numbered() {
            for (_, rest) in
                line.match_indices("crate::").map(|(at, text)| line.split_at(at + text.len()))
            {
                let word = word(rest);
                // A list over several lines would escape this test.
                assert!(!word.is_empty(), "{}:{number}: name one path after crate::", self.name);
                found.push((number, word.to_owned()));
            }
        }
        found
    }

    /// Lines where the crate `name` is named, as a path or in a `use`.
    fn foreign(&self, name: &str) -> Vec<usize> {
        let names = |line: &str| {
            let path = format!("{name}::");
            let starts_path = line.match_indices(&path).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            starts_path || line.trim_start().starts_with(&format!("use {name};"))
        };
        self.numbered().filter(|(_, line)| names(line)).map(|(number, _)| number).collect()
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(i, line)| (i + 1, line.as_str()))
    }

    /// The same without what is compiled for tests only.
    fn outside_tests(&self) -> Vec<(usize, &str)> {
        let mut kept = Vec::new();
        let mut lines = self.numbered();
        while let Some((number, line)) = lines.next() {
            if line.trim() != "#[cfg(test)]" {
                kept.push((number, line));
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            // The item or field ends with its first line, or with the brace under it.
            let ends = |line: &str| {
                line.len() - line.trim_start().len() == indent
                    && (line.trim() == "}" || line.ends_with(';') || line.ends_with(','))
            };
            lines.by_ref().find(|(_, line)| ends(line));
        }
        kept
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

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
            "embedded", "config", "metrics", "error", "proto",
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
                let is_value =
                    word == "std::net" && line.contains("std::net::{Ipv4Addr, Ipv6Addr}");
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
        &["embedded", "embedded.rs", "dev_certs", "dev_certs.rs", "http", "settings/tests.rs"],
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

/// True for files that hold nothing but tests.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
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
