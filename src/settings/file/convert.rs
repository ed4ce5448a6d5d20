//! From the parser's tables to ours.

use toml::de::{DeTable, DeValue};

use super::LineEnds;
use crate::settings::table::dotted;
use crate::settings::{Content, Origin, SettingFault, SettingFaults, SettingValue, Table};

/// The parser's table as one of ours.
///
/// # Errors
/// Values that have no meaning in any setting: dates, and integers beyond 64 bits.
pub(super) fn table(
    key: &str,
    from: &DeTable<'_>,
    origin: Origin,
    lines: &LineEnds,
) -> Result<Table, SettingFaults> {
    let (mut to, mut faults) = (Table::new(key, origin), SettingFaults::default());
    for (name, value) in from {
        let (key, at) = (dotted(key, name.get_ref()), lines.origin(name.span().start));
        let name = name.get_ref().as_ref();
        let added = match value.get_ref() {
            DeValue::Table(inner) => table(&key, inner, at, lines).map(|it| to.put_table(name, it)),
            DeValue::Array(array) if is_of_tables(array.iter().map(|one| one.get_ref())) => {
                let inner = array.iter().map(|one| match one.get_ref() {
                    DeValue::Table(inner) => {
                        table(&key, inner, lines.origin(one.span().start), lines)
                    }
                    _ => Ok(Table::new(&key, at.clone())),
                });
                let tables: Result<Vec<Table>, SettingFaults> = inner.collect();
                tables.map(|tables| to.put_tables(name, tables, at.clone()))
            }
            other => {
                // The value's own line may be a later one.
                let at = lines.origin(value.span().start);
                content(&key, other, &at, lines).map_err(SettingFaults::from).map(|content| {
                    to.put_value(name, SettingValue { key: key.clone(), content, origin: at });
                })
            }
        };
        if let Err(wrong) = added {
            faults.0.extend(wrong.0);
        }
    }
    faults.ended().map(|()| to)
}

fn is_of_tables<'a>(mut values: impl ExactSizeIterator<Item = &'a DeValue<'a>>) -> bool {
    values.len() > 0 && values.all(|value| matches!(value, DeValue::Table(_)))
}

fn content(
    key: &str,
    value: &DeValue<'_>,
    at: &Origin,
    lines: &LineEnds,
) -> Result<Content, SettingFault> {
    let wrong = |rule: &str| SettingFault::new(key, at.clone(), rule);
    match value {
        DeValue::String(text) => Ok(Content::Text(text.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Content::Integer)
            .map_err(|_| wrong("must be an integer of 64 bits")),
        DeValue::Float(number) => {
            number.as_str().parse().map(Content::Float).map_err(|_| wrong("must be a number"))
        }
        DeValue::Boolean(flag) => Ok(Content::Boolean(*flag)),
        DeValue::Datetime(date) => Ok(Content::Text(date.to_string())),
        DeValue::Array(array) => {
            let values = array.iter().map(|one| {
                let origin = lines.origin(one.span().start);
                let content = content(key, one.get_ref(), &origin, lines)?;
                Ok(SettingValue { key: key.to_owned(), content, origin })
            });
            values.collect::<Result<Vec<SettingValue>, SettingFault>>().map(Content::List)
        }
        DeValue::Table(_) => Err(wrong("must not mix tables and values")),
    }
}
