//! Reads the source files.

use std::fs;
use std::path::{Path, PathBuf};

/// The path of a file in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A source file without its comments; the lines keep their numbers.
pub struct Source {
    /// From `src/` on, as `pool/tenant.rs`.
    pub name: String,
    /// Without comments.
    pub lines: Vec<String>,
}

pub fn sources() -> Vec<Source> {
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

pub fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
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
pub fn code(line: &str) -> String {
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
    pub fn module(&self) -> &str {
        let top = self.name.split('/').next().unwrap();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// Places where one of our own modules is named, by `crate::`, with their
    /// line numbers.
    pub fn own(&self) -> Vec<(usize, String)> {
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
    pub fn foreign(&self, name: &str) -> Vec<usize> {
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

    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(i, line)| (i + 1, line.as_str()))
    }

    /// The same without what is compiled for tests only.
    pub fn outside_tests(&self) -> Vec<(usize, &str)> {
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

pub fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Fails with all findings.
#[track_caller]
pub fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// True for files that hold nothing but tests.
pub fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}
