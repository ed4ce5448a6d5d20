//! One name stands for one type in the whole crate.

use std::collections::BTreeMap;

use crate::{assert_none, is_test, sources, word, Source};

/// Names that several types share, each with the reason. None may be added; one that is unique
/// again is to be struck out.
const SHARED: &[(&str, &str)] = &[
    ("Answer", "the client has its own, and names nothing of the service"),
    ("Attempt", "the client has its own, and names nothing of the service"),
    ("Bell", "the client has its own, and names nothing of the service"),
    ("Budget", "the client has its own, and names nothing of the service"),
    ("Call", "a call of gRPC; how a repeated request joins another in the pool"),
    ("Change", "the client has its own, and names nothing of the service"),
    ("Config", "the client has its own, and names nothing of the service"),
    ("Context", "the client has its own, and names nothing of the service"),
    ("Counts", "the client has its own, and names nothing of the service"),
    ("Delivery", "the client has its own, and names nothing of the service"),
    ("Ended", "the client has its own, and names nothing of the service"),
    ("Ends", "the client has its own, and names nothing of the service"),
    ("Error", "the error of the service, and that of the public client"),
    ("Fault", "the client has its own, and names nothing of the service"),
    ("Faults", "the client has its own, and names nothing of the service"),
    ("Figures", "the client has its own, and names nothing of the service"),
    ("Found", "the client has its own, and names nothing of the service"),
    ("Identity", "the client has its own, and names nothing of the service"),
    ("Key", "the client has its own, and names nothing of the service"),
    ("Layer", "the client has its own, and names nothing of the service"),
    ("Lent", "the client has its own, and names nothing of the service"),
    ("Line", "the client has its own, and names nothing of the service"),
    ("Lines", "the client has its own, and names nothing of the service"),
    ("Loan", "the client has its own, and names nothing of the service"),
    ("Meter", "the client has its own, and names nothing of the service"),
    ("Numbers", "the client has its own, and names nothing of the service"),
    ("Place", "the client has its own, and names nothing of the service"),
    ("PoolConfig", "public settings of the service, and of the public client"),
    ("Refusal", "the client has its own, and names nothing of the service"),
    ("Reply", "the client has its own, and names nothing of the service"),
    ("Seat", "the client has its own, and names nothing of the service"),
    ("Seen", "the client has its own, and names nothing of the service"),
    ("Series", "the client has its own, and names nothing of the service"),
    ("Server", "the public server; a database server in the core"),
    ("Session", "the stream in the public client; a backend with its permit in the pool"),
    ("Settings", "the client has its own, and names nothing of the service"),
    ("Slot", "the client has its own, and names nothing of the service"),
    ("Start", "the client has its own, and names nothing of the service"),
    ("State", "the client has its own, and names nothing of the service"),
    ("Table", "the client has its own, and names nothing of the service"),
    ("Tls", "public settings of the service, and of the public client"),
    ("Value", "a value of SQL; of a setting; of a header"),
    ("View", "the client has its own, and names nothing of the service"),
    ("Wants", "the client has its own, and names nothing of the service"),
];

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
    let is_shared = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name);
    let mut found = Vec::new();
    for (name, files) in places.iter().filter(|(_, files)| files.len() > 1) {
        if !is_shared(name) {
            found.push(format!("{name} is defined in {}", files.join(", ")));
        }
    }
    for (name, _) in SHARED {
        if places.get(*name).is_none_or(|files| files.len() < 2) {
            found.push(format!("{name} is no exception any more"));
        }
    }
    assert_none(&found);
}
