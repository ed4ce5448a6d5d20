//! Where PostgreSQL's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::EmbeddedError;

/// The programs of one PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// The directory that holds `initdb` and `postgres`.
    pub(super) bin_dir: PathBuf,
}

impl Programs {
    /// Finds a directory with the server's programs. A directory given by argument or by
    /// `CPM_PG_BIN` is the only one searched.
    pub(super) fn find(bin_dir: Option<&Path>) -> Result<Programs, EmbeddedError> {
        let asked = bin_dir
            .map(Path::to_path_buf)
            .or_else(|| env::var_os("CPM_PG_BIN").filter(|dir| !dir.is_empty()).map(PathBuf::from));
        let searched = asked.map_or_else(usual_dirs, |dir| vec![dir]);
        match searched.iter().find(|dir| has_server(dir)) {
            Some(dir) => Ok(Programs { bin_dir: dir.clone() }),
            None => Err(EmbeddedError::ProgramsMissing { searched }),
        }
    }

    /// `psql` of this installation, or the one in `PATH` when only the server
    /// is there. The caller's `PG*` variables are taken away, for they would
    /// change what we connect to.
    pub(super) fn psql(&self) -> Command {
        let own = self.bin_dir.join("psql");
        let mut command = Command::new(if own.is_file() { own } else { PathBuf::from("psql") });
        clear_pg_variables(&mut command);
        command
    }
}

/// Takes away the `PG*` variables that a child would inherit and sets the
/// language of its messages, which we read.
pub(super) fn clear_pg_variables(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
}

fn usual_dirs() -> Vec<PathBuf> {
    let debian = versioned(Path::new("/usr/lib/postgresql"), "");
    let red_hat = versioned(Path::new("/usr"), "pgsql-");
    let path = env::var_os("PATH").unwrap_or_default();
    debian.into_iter().chain(red_hat).chain(env::split_paths(&path)).collect()
}

/// The `bin` directories below `parent/{prefix}{version}`, newest first.
fn versioned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            let numbers =
                version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            Some((numbers, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn has_server(dir: &Path) -> bool {
    // An empty or relative entry of PATH would change with the directory.
    dir.is_absolute() && ["initdb", "postgres"].iter().all(|name| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9.6", "15", "nonsense", "9.10", "100"] {
            fs::create_dir_all(parent.path().join(name)).unwrap();
        }
        let expected: Vec<PathBuf> = ["100", "15", "9.10", "9.6"]
            .iter()
            .map(|name| parent.path().join(name).join("bin"))
            .collect();
        assert_eq!(versioned(parent.path(), ""), expected);
    }

    #[test]
    fn an_empty_directory_that_was_asked_for_is_an_error_that_says_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        let error = Programs::find(Some(empty.path())).unwrap_err().to_string();
        assert!(error.contains("apt-get install postgresql"), "{error}");
        assert!(error.contains(&*empty.path().to_string_lossy()), "{error}");
    }
}
