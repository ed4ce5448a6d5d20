//! How long a file and a function may be.

use crate::{assert_none, is_test, sources, Source};

/// Lines of a file without what is compiled for tests only.
const FILE_MAX: usize = 300;

/// Lines of a function: what a screen shows.
const FUNCTION_MAX: usize = 60;

/// Files that are longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that are longer, each with the reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("error/display.rs", "fmt", "one match over every error, so that none is forgotten"),
    ("rpc/convert/status/parts.rs", "of", "one match over every error, so that none is forgotten"),
    ("metrics/families.rs", "new", "the table of the metrics"),
];

/// Name, first line and length of each function.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let lines = source.outside_tests();
    let mut found = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let ends =
            |line: &str| line.len() - line.trim_start().len() == indent && line.trim() == "}";
        // One without a body, or with all of it on this line, has no brace of its own.
        if line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        if let Some(end) = lines[at..].iter().find(|(_, line)| ends(line)) {
            found.push((name, *number, end.0 - number + 1));
        }
    }
    found
}

fn function(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let is_item = before.split_whitespace().all(|word| {
        word.starts_with("pub")
            || ["const", "async", "unsafe", "extern"].contains(&word)
            || word.ends_with(')')
    });
    is_item.then(|| super::word(after).to_owned()).filter(|name| !name.is_empty())
}

#[test]
fn a_file_holds_one_concept_and_a_function_fits_a_screen() {
    let (mut found, mut long_files, mut long_functions) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        let lines = source.outside_tests().len();
        if lines > FILE_MAX {
            long_files.push(source.name.clone());
            if !LONG_FILES.iter().any(|(file, _)| *file == source.name) {
                found.push(format!("{} has {lines} lines, more than {FILE_MAX}", source.name));
            }
        }
        for (name, number, lines) in functions(source) {
            if lines <= FUNCTION_MAX {
                continue;
            }
            long_functions.push((source.name.clone(), name.clone()));
            let excepted = |(file, function, _): &&(&str, &str, &str)| {
                *file == source.name && *function == name
            };
            if !LONG_FUNCTIONS.iter().any(|one| excepted(&one)) {
                let at = format!("{}:{number}", source.name);
                found.push(format!("{at}: {name} has {lines} lines, more than {FUNCTION_MAX}"));
            }
        }
    }
    for (file, _) in LONG_FILES {
        if !long_files.iter().any(|long| long == file) {
            found.push(format!("{file} is no exception any more"));
        }
    }
    for (file, name, _) in LONG_FUNCTIONS {
        if !long_functions.iter().any(|(at, long)| at == file && long == name) {
            found.push(format!("{name} of {file} is no exception any more"));
        }
    }
    assert_none(&found);
}

/// The fields and the methods of one type, wherever in the source its blocks lie.
const TENANT: (usize, usize) = (10, 50);

#[test]
fn a_tenant_does_not_do_everything_itself() {
    let (mut fields, mut methods, mut blocks) = (0, 0, 0);
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        let (mut is_struct, mut is_impl) = (false, false);
        for (_, line) in source.outside_tests() {
            match line {
                "pub struct Tenant {" => is_struct = true,
                "}" => (is_struct, is_impl) = (false, false),
                _ if line.starts_with("impl ") && line.ends_with(" Tenant {") => {
                    (is_impl, blocks) = (true, blocks + 1);
                }
                _ => {}
            }
            // Those of the type itself stand in by four spaces.
            let Some(item) = line.strip_prefix("    ").filter(|item| !item.starts_with(' ')) else {
                continue;
            };
            let is_item = !item.starts_with('/') && !item.starts_with('#');
            fields += usize::from(is_struct && is_item && item.ends_with(','));
            methods += usize::from(is_impl && function(item).is_some());
        }
    }
    assert!(fields > 5 && methods > 20 && blocks > 5, "this test looks wrongly");
    assert!(fields <= TENANT.0, "Tenant has {fields} fields");
    assert!(methods <= TENANT.1, "Tenant has {methods} methods in {blocks} blocks");
}
