//! Warns of unknown `CPM_*` variables: a typing error would otherwise silently leave a default in
//! force.

use std::env;

use clap::Command;

use crate::core::quoted::Quoted;

/// The prefix of the service's variables.
const PREFIX: &str = "CPM_";
/// Variables without a flag: the directory of PostgreSQL's programs, for `demo`.
const OTHERS: [&str; 1] = ["CPM_PG_BIN"];
/// How many are named; of the others only the number is logged.
const NAMED: usize = 20;

/// Warns of each variable that has the prefix but is unknown, with the known name most like it.
/// Values are not read.
pub(super) fn warn_of_unknown(command: &Command) {
    let known = known(command);
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> =
        names.filter(|name| name.starts_with(PREFIX) && !known.contains(name)).collect();
    unknown.sort();
    for name in unknown.iter().take(NAMED) {
        let nearest = nearest(name, &known).map_or_else(String::new, |it| format!(" nearest={it}"));
        log::warn!("event=unknown_variable name={}{nearest}", Quoted(name));
    }
    if unknown.len() > NAMED {
        log::warn!("event=unknown_variables more={}", unknown.len() - NAMED);
    }
}

fn known(command: &Command) -> Vec<String> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let variables = commands.flat_map(Command::get_arguments).filter_map(clap::Arg::get_env);
    let variables = variables.map(|name| name.to_string_lossy().into_owned());
    variables.chain(OTHERS.map(str::to_owned)).collect()
}

/// The known name with the fewest changes, if they are few.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let most = (name.len() - PREFIX.len()).div_ceil(3).max(2);
    let with_distance = known.iter().map(|one| (distance(name, one), one.as_str()));
    with_distance.min().filter(|(distance, _)| *distance <= most).map(|(_, one)| one)
}

/// Letters to insert, remove or replace, and neighbours to swap, until one text is the
/// other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_nearest_variable_is_found_and_a_far_one_is_not() {
        let known = known(&Cli::command());
        assert!(known.len() > 30, "{known:?}");
        for (typed, meant) in [
            ("CPM_PROT", Some("CPM_PORT")),
            ("CPM_MAXCONNECTIONS", Some("CPM_MAX_CONNECTIONS")),
            ("CPM_MAX_CONECTIONS", Some("CPM_MAX_CONNECTIONS")),
            ("CPM_DRAIN_TIME", Some("CPM_DRAIN_TIMEOUT")),
            ("CPM_PG_BINS", Some("CPM_PG_BIN")),
            ("CPM_COMPLETELY_ELSE", None),
            ("CPM_", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
    }

    #[test]
    fn a_swap_is_one_change() {
        for (one, other, changes) in
            [("", "", 0), ("ab", "ba", 1), ("abc", "abd", 1), ("abc", "", 3), ("prot", "port", 1)]
        {
            assert_eq!(distance(one, other), changes, "{one} {other}");
        }
    }
}
