//! One name stands for one type in the whole crate.

use std::collections::BTreeMap;

use crate::{assert_none, is_test, sources, word, Source};

/// The types that a file defines outside its tests. Associated types stand in an `impl` or a
/// trait, so they are indented.
fn types(source: &Source) -> impl Iterator<Item = String> + '_ {
    source.outside_tests().into_iter().filter_map(|(_, line)| {
        let item = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.trim_start(),
            None => line,
        };
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let rest = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
        Some(word(rest).to_owned())
    })
}

#[test]
fn no_two_types_have_the_same_name() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        for name in types(source) {
            places.entry(name).or_default().push(source.name.clone());
        }
    }
    assert!(places.len() > 300, "{places:?}");
    let mut found = Vec::new();
    for (name, files) in places.iter().filter(|(_, files)| files.len() > 1) {
        found.push(format!("{name} is defined in {}", files.join(", ")));
    }
    assert_none(&found);
}
