//! What the libraries in use do badly, and that no code of ours walks into it.

use std::collections::BTreeSet;
use std::fs;

use crate::{repository, walk};

#[test]
fn no_code_asks_the_driver_to_run_a_query_of_types_unknown_to_it_in_one_step() {
    // `query_typed` and its kin wait for ever for the look-up of a type while the
    // rows that are on their way fill the driver's channel.
    let mut files = Vec::new();
    walk(&repository("src"), &mut files);
    for path in &files {
        let source = fs::read_to_string(path).unwrap();
        assert!(!source.contains("query_typed"), "{}", path.display());
    }
    assert!(files.len() > 100, "only {} files were looked at", files.len());
}

/// The names that follow `before` in a source file, from `start` on.
fn names(path: &str, start: &str, before: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(repository(path)).unwrap();
    let (_, source) = source.split_once(start).unwrap_or_else(|| panic!("{path}: {start}"));
    let names = source.split(before).skip(1).filter_map(|rest| rest.split('"').next());
    let is_name = |name: &&str| name.chars().all(|c| c == '_' || c.is_ascii_lowercase());
    names.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn no_name_of_a_label_begins_like_another_so_that_no_two_series_become_one() {
    // The metrics crate looks a series up by its values one after the other: a reason
    // "ab" of tenant "c" would be counted as a reason "a" of tenant "bc".
    let mut reasons = names("src/error/kinds.rs", "The name in metrics: short", "=> \"");
    reasons.insert("caller_gone".to_owned());
    let mut files = Vec::new();
    walk(&repository("src/pool"), &mut files);
    let mut closes = BTreeSet::new();
    for file in files {
        let file = file.to_str().unwrap();
        closes.extend(names(file, "", "taken, \""));
        closes.extend(names(file, "", "discard(\""));
        closes.extend(names(file, "", ".then_some(\""));
    }
    closes.extend(["max_lifetime", "idle"].map(str::to_owned));
    let opens = names("src/error/connect.rs", "The name in metrics of an attempt", "=> \"");
    assert!(reasons.len() > 20 && closes.len() > 8 && opens.len() > 6, "{closes:?} {opens:?}");
    for set in [reasons, closes, opens] {
        let sorted: Vec<String> = set.into_iter().collect();
        for pair in sorted.windows(2) {
            assert!(!pair[1].starts_with(&pair[0]), "{pair:?}");
        }
    }
}
