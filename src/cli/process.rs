//! How the process is set up before it serves: its memory, and what a crash leaves.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{set_dumpable_behavior, setrlimit, DumpableBehavior, Resource, Rlimit};

/// What glibc's allocator is told by variables that it reads at the start of a process only.
/// Left alone it keeps much of what was freed: after ten results of some 3 MB each, 41 MB
/// of 73, and with these 7 of 67.
const ALLOCATOR: [(&str, &str); 3] = [
    // Larger pieces come from the system, and go back to it when they are freed. Setting it
    // also keeps glibc from raising it to the size of the largest piece ever freed.
    ("MALLOC_MMAP_THRESHOLD_", "262144"),
    // What is free at the end of the heap goes back from so many bytes on.
    ("MALLOC_TRIM_THRESHOLD_", "1048576"),
    // Each arena keeps free memory of its own; the default is eight for each core.
    ("MALLOC_ARENA_MAX", "2"),
];

/// Names the variables that we have set ourselves, and says that we were here.
const MARK: &str = "CPM_ALLOCATOR_SET";

/// The running program.
const SELF: &str = "/proc/self/exe";

/// Starts the program anew in its place, once, with the allocator's variables set that the
/// operator has not set. Must come before any thread, descriptor or log line. Returns when
/// that is done, or not needed.
///
/// # Errors
/// The system's, if it cannot be started anew; then the allocator does as it likes.
pub(super) fn settle_allocator() -> io::Result<()> {
    if !cfg!(target_env = "gnu") {
        return Ok(());
    }
    if let Some(mark) = env::var_os(MARK) {
        // They have done their work, and are no business of our children. No other thread
        // is there that could read the environment meanwhile.
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

/// The variables of the allocator that a mark names; it may have come from elsewhere.
fn ours(mark: &OsStr) -> impl Iterator<Item = &'static str> {
    let mark = mark.to_string_lossy().into_owned();
    let names = ALLOCATOR.iter().map(|(name, _)| *name);
    names.filter(move |name| mark.split(',').any(|word| word == *name))
}

/// By its own path, so that `ps` goes on showing its name; if that has become another file
/// meanwhile, by the file that runs.
fn program() -> io::Result<PathBuf> {
    let id = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    let (running, path) = (Path::new(SELF), env::current_exe()?);
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    // Who calls the loader by hand, with us as its argument, is not asked to do it again.
    if name.starts_with(b"ld-") || name.starts_with(b"ld.so") {
        return Err(io::Error::other("it was started by way of the loader"));
    }
    let same = id(&path).is_some() && id(&path) == id(running);
    Ok(if same { path } else { running.to_owned() })
}

/// Keeps passwords from files: the process leaves no core, and nobody but root may read its
/// memory. The limit holds for children, too.
///
/// # Errors
/// The system's.
pub(super) fn forbid_dumps() -> io::Result<()> {
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
