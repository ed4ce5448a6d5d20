//! No file of tests is forgotten: the compiler takes only what some `mod` names.

use std::fs;
use std::path::Path;

use crate::{assert_none, repository, walk};

#[test]
fn every_file_of_the_tests_is_a_module_of_its_program() {
    let root = repository("tests");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let mut found = Vec::new();
    for file in &files {
        let within = file.strip_prefix(&root).unwrap();
        let alone = within.components().count() == 1 || within.starts_with("tonic-client");
        if alone || within.ends_with("main.rs") || within == Path::new("harness/mod.rs") {
            continue;
        }
        // `a/b.rs` and `a/b/mod.rs` are both the module `b` of `a`.
        let module = if file.ends_with("mod.rs") { file.parent().unwrap() } else { file };
        let name = module.file_stem().unwrap().to_str().unwrap();
        let above = module.parent().unwrap();
        let named = [above.join("mod.rs"), above.join("main.rs"), above.with_extension("rs")]
            .iter()
            .filter_map(|parent| fs::read_to_string(parent).ok())
            .any(|parent| {
                let line = format!("mod {name};");
                parent.lines().any(|is| is.trim_start_matches("pub ") == line)
            });
        if !named {
            found.push(within.display().to_string());
        }
    }
    assert!(files.len() > 90, "{files:?}");
    assert_none(&found);
}
