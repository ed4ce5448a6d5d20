//! The documents name all that a user can meet, and their links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{assert_none, is_test, repository, sources, word};

/// A page by its path from the repository's root.
fn page(name: &str) -> String {
    fs::read_to_string(repository(name)).unwrap()
}

/// The pages, by their paths.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "examples/README.md".to_owned()];
    names.extend(["proto/README.md", "certs/README.md"].map(str::to_owned));
    for entry in fs::read_dir(repository("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        names.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    names.sort();
    assert!(names.len() > 12, "{names:?}");
    names.into_iter().map(|name| (name.clone(), page(&name))).collect()
}

/// The rows of all tables in a page whose first cell has this word as code.
fn rows<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let code = format!("`{word}`");
    let first = |line: &&str| {
        line.strip_prefix("| ").is_some_and(|row| row.split(" | ").next().unwrap().contains(&code))
    };
    text.lines().filter(first).collect()
}

/// The words as code in the first cells of a page's tables.
fn first_cells(text: &str) -> BTreeSet<&str> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells.flat_map(|cell| cell.split("`, `")).map(|name| name.trim_end_matches('`')).collect()
}

/// What comes after `prefix` and `opening` in string literals of our source, as far as it
/// is a word: with where it stands.
fn literals(prefix: &str, opening: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        for (_, line) in source.outside_tests() {
            let start = format!("{opening}{prefix}");
            for (at, _) in line.match_indices(&start) {
                let name = word(&line[at + opening.len()..]);
                found.insert((name.to_owned(), source.name.clone()));
            }
        }
    }
    found
}

#[test]
fn every_flag_and_variable_is_documented_with_its_default() {
    let table = page("docs/configuration.md");
    let help = |name: &str| {
        let program = env!("CARGO_BIN_EXE_connection-pool-manager");
        let out = Command::new(program).args([name, "--help"]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let serve = help("serve");
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for option in serve.split("\n      --").skip(1) {
        let flag = format!("--{}", option.split_whitespace().next().unwrap());
        seen.insert(flag.clone());
        let within =
            |start: &str, end| Some(option.split_once(start)?.1.split(end).next().unwrap());
        let Some(variable) = within("[env: ", ']') else {
            if !table.contains(&format!("`{flag}`")) {
                found.push(format!("docs/configuration.md: no {flag}"));
            }
            continue;
        };
        let cell = format!("| `{flag}` | `{variable}` | ");
        match table.lines().find_map(|line| line.strip_prefix(&cell)) {
            None => found.push(format!("docs/configuration.md: no row with {cell}")),
            Some(row) => {
                // One that depends on others is told in words.
                let default = within("[default: ", ']').filter(|text| !text.contains(' '));
                if default.is_some_and(|value| !row.starts_with(&format!("`{value}` |"))) {
                    found.push(format!("{flag}: the default is {default:?}, not as in {row}"));
                }
            }
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
    for gone in first_cells(&table) {
        if gone.starts_with("--") && !seen.contains(gone) {
            found.push(format!("docs/configuration.md: there is no flag {gone}"));
        }
    }
    for name in ["demo", "dev-certs", "health"] {
        for option in help(name).split("--").skip(1) {
            let flag = option.split(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap();
            if !table.contains(&format!("--{flag}")) && flag != "help" {
                found.push(format!("docs/configuration.md: no --{flag} of {name}"));
            }
        }
    }
    for (name, file) in literals("CPM_", "\"") {
        // The prefix alone is how unknown ones are found.
        if name != "CPM_" && !table.contains(&name) {
            found.push(format!("docs/configuration.md: no {name} of src/{file}"));
        }
    }
    assert_none(&found);
}

/// What is wrong with a page's table of metrics of these prefixes, of which the source has more
/// than `least`.
fn metrics(page_name: &str, prefixes: &[&str], least: usize) -> Vec<String> {
    let table = page(page_name);
    let mut names = BTreeSet::new();
    for prefix in prefixes {
        let of = literals(prefix, "\"").into_iter();
        names.extend(of.filter(|(_, file)| file.contains("metrics")).map(|(name, _)| name));
    }
    assert!(names.len() > least, "{names:?}");
    let mut found = Vec::new();
    for name in &names {
        if rows(&table, name).len() != 1 {
            found.push(format!("{page_name}: not one row of {name}"));
        }
    }
    for name in first_cells(&table) {
        let is_metric = prefixes.iter().any(|it| name.starts_with(it));
        if is_metric && !names.contains(name) {
            found.push(format!("{page_name}: there is no metric {name}"));
        }
    }
    found
}

#[test]
fn every_metric_is_documented_and_what_is_documented_is_there() {
    assert_none(&metrics("docs/operation.md", &["connpool_", "pool_connections_", "process_"], 60));
    assert_none(&metrics("docs/client.md", &["grpc_client_"], 20));
}

#[test]
fn every_reason_of_an_error_is_documented() {
    let (proto, table) = (page("proto/errors.proto"), page("docs/errors.md"));
    let of = |line: &str| {
        let (name, number) = line.trim().strip_prefix("REASON_")?.split_once(" = ")?;
        (number != "0;").then(|| name.to_owned())
    };
    let names: BTreeSet<String> = proto.lines().filter_map(of).collect();
    assert!(names.len() > 20, "{names:?}");
    // Other tables name some of them again.
    let row = |name: &str| table.contains(&format!("\n| `{name}` | "));
    let missing = names.iter().filter(|name| !row(name));
    let found: Vec<String> =
        missing.map(|name| format!("docs/errors.md: no row of {name}")).collect();
    assert_none(&found);
}

/// An event of the log: its name and the fields that its format names.
fn events() -> Vec<(String, BTreeSet<String>, String)> {
    let mut events = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.name)) {
        let lines: Vec<&str> = source.outside_tests().into_iter().map(|(_, line)| line).collect();
        let text = lines.join("\n");
        for (at, _) in text.match_indices("\"event=") {
            let format = literal(&text[at + 1..]);
            let (name, fields) =
                format["event=".len()..].split_once([' ', '\n']).unwrap_or((&format[6..], ""));
            // What is said of whose it is, in braces behind the name.
            let name = name.split_once("{w").map_or(name, |(name, _)| name);
            let fields = fields_of(fields);
            match name {
                "tenant_{}" => {
                    for level in ["tenant_degraded", "tenant_unhealthy"] {
                        events.push((level.to_owned(), fields.clone(), source.name.clone()));
                    }
                }
                _ => events.push((name.to_owned(), fields, source.name.clone())),
            }
        }
    }
    events
}

/// The string literal that begins here, up to its closing quote.
fn literal(text: &str) -> String {
    let mut escaped = false;
    let ends = |c: char| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    };
    let end = text.find(ends).unwrap_or(text.len());
    text[..end].to_owned()
}

/// The `name=` of a format, without what stands in a text of it.
fn fields_of(format: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for piece in format.split_whitespace() {
        if let Some((name, _)) = piece.split_once('=') {
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                fields.insert(name.to_owned());
            }
        }
    }
    fields
}

#[test]
fn every_event_of_the_log_is_documented_with_its_fields() {
    let table = page("docs/logs.md");
    let events = events();
    assert!(events.len() > 50, "{events:?}");
    let mut found = Vec::new();
    for (name, fields, file) in &events {
        let rows = rows(&table, name);
        let [row] = rows[..] else {
            found.push(format!("docs/logs.md: not one row of {name} (src/{file})"));
            continue;
        };
        for field in fields.iter().filter(|field| !row.contains(&format!("`{field}`"))) {
            found.push(format!("docs/logs.md: {name} has no {field} (src/{file})"));
        }
    }
    for name in first_cells(&table) {
        if !events.iter().any(|(event, _, _)| event == name) {
            found.push(format!("docs/logs.md: there is no event {name}"));
        }
    }
    assert_none(&found);
}

#[test]
fn every_promise_of_other_pools_has_a_number_and_a_test_that_is_there_or_a_page() {
    const PAGE: &str = "docs/client-promises.md";
    let page = page(PAGE);
    let mut files = Vec::new();
    for room in ["tests", "src"] {
        crate::walk(&repository(room), &mut files);
    }
    let sources: Vec<(String, String)> = files
        .iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            Some((name, fs::read_to_string(path).ok()?))
        })
        .collect();
    let (mut found, mut named, mut number) = (Vec::new(), 0, 0);
    let is_head = |line: &&str| line.ends_with("| shown by |");
    for row in page.lines().filter(|line| line.starts_with("| ") && !is_head(line)) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if let Ok(own) = cells[0].parse::<usize>() {
            number += 1;
            if own != number {
                found.push(format!("{PAGE}: {own} stands where {number} should"));
            }
        }
        let shown = cells.last().unwrap();
        if !shown.contains("::") && !shown.contains("](") {
            found.push(format!("{PAGE}: nothing shows {row}"));
        }
        for (at, _) in shown.match_indices("::") {
            let (file, test) = (shown[..at].rsplit('`').next().unwrap(), word(&shown[at + 2..]));
            named += 1;
            let is_it = format!("fn {test}()");
            if !sources.iter().any(|(name, text)| name == file && text.contains(&is_it)) {
                found.push(format!("{PAGE}: there is no test {file}::{test}"));
            }
        }
    }
    assert!(number == 121 && named > 150, "{number} promises, {named} tests: this looks wrongly");
    assert_none(&found);
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// The anchors of a page, and its lines outside code.
fn anchors_and_prose(text: &str) -> (BTreeSet<String>, Vec<(usize, &str)>) {
    let (mut anchors, mut prose, mut code) = (BTreeSet::new(), Vec::new(), false);
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            code = !code;
        } else if !code {
            if line.starts_with('#') {
                anchors.insert(anchor(line.trim_start_matches('#')));
            }
            prose.push((i + 1, line));
        }
    }
    (anchors, prose)
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let (mut found, mut links) = (Vec::new(), 0);
    for (name, text) in pages() {
        let place = repository(&name);
        for (number, line) in anchors_and_prose(&text).1 {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split(')').next().unwrap();
                if target.starts_with("https://") {
                    continue;
                }
                links += 1;
                let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
                let file = match file {
                    "" => place.clone(),
                    file => place.parent().unwrap().join(file),
                };
                let there = match wanted {
                    "" => file.exists(),
                    wanted => fs::read_to_string(&file)
                        .is_ok_and(|text| anchors_and_prose(&text).0.contains(wanted)),
                };
                if !there {
                    found.push(format!("{name}:{number}: {target} leads nowhere"));
                }
            }
        }
    }
    assert_none(&found);
    assert!(links > 40, "{links} links: this test looks wrongly");
}

/// The value of a constant of the source as a document writes it: `2 s`, `64 MiB`, `128`.
fn constant(path: &str) -> Option<String> {
    let (module, name) = path.rsplit_once("::")?;
    let file = format!("src/{}", module.replace("::", "/"));
    let text = [format!("{file}.rs"), format!("{file}/mod.rs")];
    let text = text.iter().find_map(|name| fs::read_to_string(repository(name)).ok())?;
    let line = text.lines().find(|line| line.contains(&format!("const {name}: ")))?;
    let value = line.split_once(" = ")?.1.trim_end_matches(';');
    let within = |opening: &str| value.strip_prefix(opening)?.strip_suffix(')');
    if let Some(number) = within("Duration::from_secs(") {
        return Some(format!("{number} s"));
    }
    if let Some(number) = within("Duration::from_millis(") {
        return Some(format!("{number} ms"));
    }
    match value.split_once(" << ") {
        Some((number, "10")) => Some(format!("{number} KiB")),
        Some((number, "20")) => Some(format!("{number} MiB")),
        Some((number, "30")) => Some(format!("{number} GiB")),
        Some(_) => None,
        None => Some(value.replace('_', "")),
    }
}

#[test]
fn what_is_fixed_is_documented_with_its_value() {
    let table = page("docs/limits.md");
    let (_, table) = table.split_once("## What is fixed, and why").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with("` |"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 15, "{rows:?}");
    let mut found = Vec::new();
    for row in &rows {
        let [what, values, why, constants] = row[..] else { panic!("{row:?}") };
        let of_source: Vec<String> = constants
            .split(", ")
            .map(|path| constant(path.trim_matches('`')).unwrap_or_else(|| format!("no {path}")))
            .collect();
        if values != of_source.join(", ") || why.is_empty() {
            found.push(format!("docs/limits.md: {what}: {values}, in the source {of_source:?}"));
        }
    }
    assert_none(&found);
}
