//! Sets up the process before it serves: its allocator, and whether a crash leaves a core.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::core::quoted::Quoted;
use rustix::process::{set_dumpable_behavior, setrlimit, DumpableBehavior, Resource, Rlimit};

/// Settings of glibc's allocator, which it reads from the environment only when a process starts.
/// By default it keeps much of the freed memory: after ten results of some 3 MB each, 41 MB of 73;
/// with these settings, 7 of 67.
const ALLOCATOR: [(&str, &str); 3] = [
    // Larger allocations come from the system and return to it when freed. A fixed value also keeps
    // glibc from raising it to the size of the largest allocation ever freed.
    ("MALLOC_MMAP_THRESHOLD_", "262144"),
    // The free bytes at the end of the heap from which on they return to the system.
    ("MALLOC_TRIM_THRESHOLD_", "1048576"),
    // Each arena keeps free memory of its own; the default is eight for each core.
    ("MALLOC_ARENA_MAX", "2"),
];

/// Set by the first run, for the second: names the variables that it has set.
const MARK: &str = "CPM_ALLOCATOR_SET";

/// Why the allocator keeps its defaults.
static NOT_SET: OnceLock<String> = OnceLock::new();

/// The running program.
const SELF: &str = "/proc/self/exe";

/// Settles the allocator; a failure is told by [`warn_of_allocator`].
pub(super) fn settle_allocator() {
    if let Err(error) = run_again() {
        let _ = NOT_SET.set(error.to_string());
    }
}

/// Warns if the allocator keeps its defaults.
pub(super) fn warn_of_allocator() {
    if let Some(error) = NOT_SET.get() {
        log::warn!("event=allocator_not_set error={}", Quoted(error));
    }
}

/// Replaces the process by a new run of the same program, once, with the allocator's variables that
/// the operator has not set. Must be called before any thread, descriptor or log line exists.
/// Returns in the new run, or if none is needed.
///
/// # Errors
/// The system's, if the program cannot be run again; the allocator then keeps its
/// defaults.
fn run_again() -> io::Result<()> {
    if !cfg!(target_env = "gnu") {
        return Ok(());
    }
    if let Some(mark) = env::var_os(MARK) {
        // Child processes must not inherit them. No other thread exists that could read the
        // environment meanwhile.
        env::remove_var(MARK);
        ours(&mark).for_each(|name| env::remove_var(name));
        return Ok(());
    }
    let missing: Vec<_> =
        ALLOCATOR.iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (names, program) = (missing.iter().map(|(name, _)| *name), program()?);
    let names: Vec<&str> = names.collect();
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env(MARK, names.join(","));
    Err(again.envs(missing.iter().map(|(name, value)| (name, value))).exec())
}

/// The allocator's variables that a mark names. The mark is not trusted: anyone may have set it.
fn ours(mark: &OsStr) -> impl Iterator<Item = &'static str> {
    let mark = mark.to_string_lossy().into_owned();
    let names = ALLOCATOR.iter().map(|(name, _)| *name);
    names.filter(move |name| mark.split(',').any(|word| word == *name))
}

/// The path of the program, so that `ps` still shows its name; if that is another file meanwhile,
/// the running file.
fn program() -> io::Result<PathBuf> {
    let id = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    let (running, path) = (Path::new(SELF), env::current_exe()?);
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    // If the dynamic loader was called with this program as its argument, it cannot be run again.
    if name.starts_with(b"ld-") || name.starts_with(b"ld.so") {
        return Err(io::Error::other("the program was started through the dynamic loader"));
    }
    let same = id(&path).is_some() && id(&path) == id(running);
    Ok(if same { path } else { running.to_owned() })
}

/// Keeps passwords out of core dumps and debuggers, unless a setting allows them.
pub(super) fn guard_memory(core_dumps: bool) {
    if core_dumps {
        return;
    }
    if let Err(error) = forbid_dumps() {
        log::warn!("event=core_dumps_not_forbidden error={}", Quoted(&error.to_string()));
    }
}

/// Keeps passwords out of files: the process leaves no core, and only root may read its memory. The
/// limit applies to children too.
///
/// # Errors
/// The system's.
fn forbid_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn only_our_own_variables_are_taken_away_whatever_the_mark_says() {
        let ours = |mark: &str| ours(&OsString::from(mark)).collect::<Vec<_>>();
        assert_eq!(ours("MALLOC_ARENA_MAX,PATH,x"), ["MALLOC_ARENA_MAX"]);
        assert_eq!(ours(""), [""; 0]);
    }

    #[test]
    fn the_program_is_this_one_by_its_path() {
        assert_eq!(program().expect("/proc is there"), env::current_exe().expect("the same"));
    }
}
