//! Rings of files and of folders that name each other, found from their imports.

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

/// What a file belongs to inside a folder: `listen` of `pool/listen/asking.rs` and of
/// `pool/listen.rs` in `pool`. `None`: it lies elsewhere.
pub fn room<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    let inside = match folder {
        "" => file,
        folder => file.strip_prefix(folder)?.strip_prefix('/')?,
    };
    let end = inside.find(['/', '.'])?;
    Some(&inside[..end])
}

/// All to which a way of arrows leads.
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

/// The rings, each as the names in it.
fn rings(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reached: BTreeMap<&String, _> =
        arrows.keys().map(|file| (file, reached(file, arrows))).collect();
    let mut rings = BTreeSet::new();
    for (file, far) in &reached {
        let back = |to: &&String| far.contains(*to) && reached[*to].contains(*file);
        rings.insert(arrows.keys().filter(back).map(String::as_str).collect::<Vec<_>>());
    }
    rings.remove(&Vec::new());
    rings.iter().map(|ring| ring.join(" ")).collect()
}

#[test]
fn files_do_not_name_each_other_in_rings() {
    let arrows = arrows();
    assert_none(&rings(&arrows));
    assert!(arrows["pool/service.rs"].len() > 5, "this test looks wrongly");
}

#[test]
fn folders_do_not_name_each_other_in_rings() {
    // A folder is one room with the file of its name: the files of two of them may form no ring
    // where the folders do.
    let arrows = arrows();
    let mut folders = BTreeSet::from([""]);
    for file in arrows.keys() {
        folders.extend(file.match_indices('/').map(|(at, _)| &file[..at]));
    }
    let (mut found, mut named) = (Vec::new(), 0);
    for folder in &folders {
        let mut rooms = BTreeMap::<String, BTreeSet<String>>::new();
        for (file, to) in &arrows {
            let Some(own) = room(file, folder) else { continue };
            let others = to.iter().filter_map(|other| room(other, folder));
            let others = others.filter(|other| *other != own).map(str::to_owned);
            rooms.entry(own.to_owned()).or_default().extend(others);
        }
        named += rooms.values().map(BTreeSet::len).sum::<usize>();
        found.extend(rings(&rooms).into_iter().map(|ring| format!("src/{folder}: {ring}")));
    }
    assert_none(&found);
    assert!(folders.len() > 30 && named > 500, "{named} arrows of {folders:?}");
}
