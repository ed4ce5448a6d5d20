//! The whole name of a key or a table that is there twice: the parser tells its last part alone.

use toml::de::{DeTable, DeValue};

use crate::settings::table::dotted;

/// The name with the tables it lies in. `key` is there for the second time, at this place of the
/// text; the text before it can be parsed.
pub(super) fn name(text: &str, place: usize, key: &str) -> String {
    let (before, from) = text.split_at(place);
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or(from);
    if let Some(path) = header(line) {
        return shown(&path);
    }
    let before = text.get(..begin).unwrap_or_default();
    let Ok(root) = DeTable::parse(before) else { return key.to_owned() };
    // A line of a value may look like a header, but is none of a table that is there.
    let headers = before.lines().rev().filter_map(header);
    let table = headers.into_iter().find(|path| is_there(root.get_ref(), path));
    dotted(&table.map(|path| shown(&path)).unwrap_or_default(), key)
}

/// The names in a line such as `[tenants."a/b"]`.
fn header(line: &str) -> Option<Vec<String>> {
    if !line.trim_start().starts_with('[') {
        return None;
    }
    let root = DeTable::parse(line).ok()?;
    let (mut path, mut table) = (Vec::new(), root.get_ref());
    while let Some((name, value)) = table.iter().next() {
        path.push(name.get_ref().to_string());
        match last_table(value.get_ref()) {
            Some(inner) => table = inner,
            None => break,
        }
    }
    Some(path)
}

fn is_there(root: &DeTable<'_>, path: &[String]) -> bool {
    let mut table = Some(root);
    for part in path {
        let found = table.and_then(|table| {
            table.iter().find(|(name, _)| name.get_ref().as_ref() == part.as_str())
        });
        table = found.and_then(|(_, value)| last_table(value.get_ref()));
    }
    table.is_some()
}

fn last_table<'a, 'b>(value: &'a DeValue<'b>) -> Option<&'a DeTable<'b>> {
    match value {
        DeValue::Table(table) => Some(table),
        DeValue::Array(all) => all.iter().last().and_then(|one| last_table(one.get_ref())),
        _ => None,
    }
}

fn shown(path: &[String]) -> String {
    path.iter().fold(String::new(), |name, part| dotted(&name, part))
}
