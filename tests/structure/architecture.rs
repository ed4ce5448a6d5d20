//! The map of the source and the reasons for its dependencies are complete.

use std::collections::BTreeSet;
use std::fs;

use crate::{assert_none, repository};

/// The names as code in the first cells of the tables under this heading.
fn named(page: &str, heading: &str, mark: char) -> BTreeSet<String> {
    let (_, part) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let part = part.split("\n## ").next().unwrap();
    let cells = part.lines().filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(", "));
    let names = names.filter_map(|name| name.split_whitespace().next());
    let bare = names.map(|name| name.trim_matches(mark).to_owned());
    bare.filter(|name| !["Crate", "In", "Beside"].contains(&name.as_str())).collect()
}

fn page() -> String {
    fs::read_to_string(repository("docs/architecture.md")).unwrap()
}

#[test]
fn every_room_of_the_source_is_on_the_map() {
    let on_the_map = named(&page(), "The source", '`');
    let entries = fs::read_dir(repository("src")).unwrap();
    let rooms: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(rooms.len() > 20, "{rooms:?}");
    let missing = rooms.iter().filter(|room| !on_the_map.contains(*room));
    let mut found: Vec<String> = missing.map(|room| format!("src/{room} is not on it")).collect();
    for name in &on_the_map {
        let there = rooms.contains(name) || repository(name).exists();
        if !there {
            found.push(format!("{name} is on the map and not there"));
        }
    }
    assert_none(&found);
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = named(&page(), "Dependencies", '`');
    let manifest = fs::read_to_string(repository("Cargo.toml")).unwrap();
    let mut crates = BTreeSet::new();
    for section in manifest.split("\n[") {
        if section.split(']').next().unwrap().ends_with("dependencies") {
            let lines = section.lines().skip(1).filter_map(|line| line.split_once(" = "));
            crates.extend(lines.map(|(name, _)| name.to_owned()));
        }
    }
    assert!(crates.len() > 20, "{crates:?}");
    assert_eq!(crates, reasons);
}
