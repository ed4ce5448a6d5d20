//! A table of values, from which each is taken by its key. What nobody takes is unknown.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::SHOWN_MAX;
use super::{nearest, Content, Origin, SettingFault, SettingFaults, SettingValue};

/// A table of a file. Reading it means to [`take`](Self::take) every key that has a meaning, and to
/// [`finish`](Self::finish): a key that was not taken is an error, with those that were as what is
/// allowed.
#[derive(Debug)]
pub struct Table {
    /// Its own name, with the tables it lies in: `services.users`. Empty for the whole file.
    pub key: String,
    /// Where it begins.
    pub origin: Origin,
    entries: BTreeMap<String, TableEntry>,
    /// The keys that were asked for.
    known: BTreeSet<&'static str>,
}

#[derive(Debug)]
enum TableEntry {
    Value(SettingValue),
    Table(Table),
    Tables(Vec<Table>, Origin),
}

/// More keys than these are not listed: the nearest one says enough.
const LISTED_MAX: usize = 40;

impl Table {
    /// An empty table.
    pub(super) fn new(key: &str, origin: Origin) -> Table {
        Table { key: key.to_owned(), origin, entries: BTreeMap::new(), known: BTreeSet::new() }
    }

    /// A key in this table, as messages name it.
    pub fn key_of(&self, name: &str) -> String {
        match self.key.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.key),
        }
    }

    /// A fault of the table itself: of a key that is missing, say.
    pub fn fault(&self, rule: impl Into<String>) -> SettingFault {
        SettingFault::new(&self.key, self.origin.clone(), rule)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// It is a table.
    pub fn take(&mut self, name: &'static str) -> Result<Option<SettingValue>, SettingFault> {
        match self.remove(name) {
            None => Ok(None),
            Some(TableEntry::Value(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(name, &other, "must be a value, and is a table")),
        }
    }

    /// The table of a name, `[name]`.
    ///
    /// # Errors
    /// It is something else.
    pub fn take_table(&mut self, name: &'static str) -> Result<Option<Table>, SettingFault> {
        match self.remove(name) {
            None => Ok(None),
            Some(TableEntry::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.wrong(name, &other, "must be a table")),
        }
    }

    /// The tables of a name that may be there several times, `[[name]]`.
    ///
    /// # Errors
    /// It is something else.
    pub fn take_tables(&mut self, name: &'static str) -> Result<Vec<Table>, SettingFault> {
        match self.remove(name) {
            None => Ok(Vec::new()),
            Some(TableEntry::Tables(tables, _)) => Ok(tables),
            Some(TableEntry::Table(table)) => Ok(vec![table]),
            Some(TableEntry::Value(SettingValue { content: Content::List(none), .. }))
                if none.is_empty() =>
            {
                Ok(Vec::new())
            }
            Some(other) => Err(self.wrong(name, &other, "must be an array of tables")),
        }
    }

    /// All tables in this one with their names, where the names are the writer's own:
    /// `[services.NAME]`.
    ///
    /// # Errors
    /// Each key that is no table.
    pub fn into_named(self) -> Vec<(String, Result<Table, SettingFault>)> {
        let named = |(name, entry): (String, TableEntry)| match entry {
            TableEntry::Table(table) => (name, Ok(table)),
            other => {
                let fault =
                    SettingFault::new(&dotted(&self.key, &name), other.origin(), "must be a table");
                (name, Err(fault))
            }
        };
        self.entries.into_iter().map(named).collect()
    }

    /// Adds a fault for each key that nobody took.
    pub fn finish(self, faults: &mut SettingFaults) {
        self.finish_with(faults, |_| None);
    }

    /// The same, where `elsewhere` may know where a key belongs.
    pub fn finish_with(
        self,
        faults: &mut SettingFaults,
        elsewhere: impl Fn(&str) -> Option<String>,
    ) {
        for (name, entry) in &self.entries {
            let mut rule = "is not known".to_owned();
            if faults.0.len() >= SHOWN_MAX {
                // It is only counted.
                faults.add(SettingFault::new(&self.key_of(name), entry.origin(), rule));
                continue;
            }
            let known = self.known.iter().copied();
            if let Some(place) = elsewhere(name) {
                rule.push_str(&format!(" here; {place}"));
            } else if let Some(meant) = nearest(name, 0, known.clone()) {
                rule.push_str(&format!("; did you mean {meant}?"));
            }
            if (1..=LISTED_MAX).contains(&self.known.len()) {
                let known: Vec<&str> = known.collect();
                rule.push_str(&format!(" (allowed here: {})", known.join(", ")));
            }
            faults.add(SettingFault::new(&self.key_of(name), entry.origin(), rule));
        }
    }

    /// Adds a value under its name.
    pub(super) fn put_value(&mut self, name: &str, value: SettingValue) {
        self.entries.insert(name.to_owned(), TableEntry::Value(value));
    }

    /// Adds a table under its name.
    pub(super) fn put_table(&mut self, name: &str, table: Table) {
        self.entries.insert(name.to_owned(), TableEntry::Table(table));
    }

    /// Adds an array of tables under its name.
    pub(super) fn put_tables(&mut self, name: &str, tables: Vec<Table>, origin: Origin) {
        self.entries.insert(name.to_owned(), TableEntry::Tables(tables, origin));
    }

    fn remove(&mut self, name: &'static str) -> Option<TableEntry> {
        self.known.insert(name);
        self.entries.remove(name)
    }

    fn wrong(&self, name: &str, entry: &TableEntry, rule: &str) -> SettingFault {
        SettingFault::new(&self.key_of(name), entry.origin(), rule)
    }
}

impl TableEntry {
    fn origin(&self) -> Origin {
        match self {
            TableEntry::Value(value) => value.origin.clone(),
            TableEntry::Table(table) => table.origin.clone(),
            TableEntry::Tables(_, origin) => origin.clone(),
        }
    }
}

/// A key in a table of this name.
pub(super) fn dotted(table: &str, name: &str) -> String {
    match table.is_empty() {
        true => name.to_owned(),
        false => format!("{table}.{name}"),
    }
}
