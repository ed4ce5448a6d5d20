//! Rings of files that name each other, found from their imports.

use std::collections::{BTreeMap, BTreeSet};

use crate::{assert_none, is_test, sources, word};

/// The file in which a path of modules ends: the longest part of it that is a file.
fn file_of<'a>(path: &[&str], files: &'a BTreeMap<String, Vec<String>>) -> Option<&'a str> {
    (1..=path.len()).rev().find_map(|length| {
        let stem = path[..length].join("/");
        let names = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
        names.iter().find_map(|name| files.get_key_value(name)).map(|(name, _)| name.as_str())
    })
}

/// Where each file's modules lie that it names, outside tests, by `crate::` or `super::`.
pub fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    let mut files = BTreeMap::new();
    for source in sources.iter().filter(|source| !is_test(&source.name)) {
        let lines = source.outside_tests().into_iter().map(|(_, line)| line.to_owned());
        files.insert(source.name.clone(), lines.collect::<Vec<_>>());
    }
    let mut arrows = BTreeMap::new();
    for (name, lines) in &files {
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let here: Vec<&str> = stem.split('/').collect();
        let mut to = BTreeSet::new();
        for line in lines {
            for start in ["crate::", "super::"] {
                for (at, _) in line.match_indices(start) {
                    // Whoever may see it is not named by it.
                    if line[..at].ends_with("pub(in ") {
                        continue;
                    }
                    let up = line[at..].matches("super::").count().min(here.len());
                    let mut path: Vec<&str> = match start {
                        "crate::" => Vec::new(),
                        _ => here[..here.len().saturating_sub(up)].to_vec(),
                    };
                    let rest =
                        line[at..].trim_start_matches("super::").trim_start_matches("crate::");
                    path.extend(rest.split("::").map(word).take_while(|word| !word.is_empty()));
                    to.extend(file_of(&path, &files).map(str::to_owned));
                }
            }
        }
        to.remove(name);
        arrows.insert(name.clone(), to);
    }
    arrows
}

/// All files to which a way of arrows leads.
fn reached(from: &str, arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(file) = next.pop() {
        for to in &arrows[&file] {
            if seen.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    seen
}

#[test]
fn files_do_not_name_each_other_in_rings() {
    let arrows = arrows();
    let reached: BTreeMap<&String, _> =
        arrows.keys().map(|file| (file, reached(file, &arrows))).collect();
    let mut rings = BTreeSet::new();
    for (file, far) in &reached {
        let back = |to: &&String| far.contains(*to) && reached[*to].contains(*file);
        rings.insert(arrows.keys().filter(back).map(String::as_str).collect::<Vec<_>>());
    }
    rings.remove(&Vec::new());
    let found: Vec<String> = rings.iter().map(|ring| ring.join(" ")).collect();
    assert_none(&found);
    assert!(arrows["pool/service.rs"].len() > 5, "this test looks wrongly");
}
