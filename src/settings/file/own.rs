//! A file that the program keeps for itself: nobody else reads it, and one process at a time has it.
//!
//! It is replaced as a whole: after a crash at any moment, it is the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{accessat, flock, Access, AtFlags, FlockOperation, OFlags, CWD};
use rustix::io::Errno;

use super::{parse, text_of, wrong};
use crate::settings::{SettingFaults, Table};

/// Something else lies where the lock is to be.
fn no_file(path: &Path, lock: &Path) -> SettingFaults {
    wrong(path, format!("needs {} to be a regular file, or not to be there", lock.display()))
}

fn unwritten(path: &Path, error: io::Error) -> SettingFaults {
    wrong(path, format!("needs a directory that can be written: {error}"))
}

/// A file that this process has until it is dropped.
pub struct OwnFile {
    path: PathBuf,
    /// Where the next one is written. What a crash left there is replaced.
    next: PathBuf,
    directory: PathBuf,
    /// Another file, because the locked one must not be replaced.
    _lock: File,
}

impl OwnFile {
    /// Takes the file of this path, which need not be there.
    ///
    /// # Errors
    /// Another process has it, or its directory cannot be written.
    pub fn take(path: &Path) -> Result<OwnFile, SettingFaults> {
        let (lock, next) = (beside(path, ".lock"), beside(path, ".new"));
        let directory = directory_of(path);
        // A FIFO would be waited for, and a link would lead elsewhere.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(&lock).map_err(|error| match fs::symlink_metadata(&lock) {
            Ok(other) if !other.is_file() => no_file(path, &lock),
            _ => unwritten(path, error),
        })?;
        if !file.metadata().is_ok_and(|lock| lock.is_file()) {
            return Err(no_file(path, &lock));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(OwnFile { path: path.to_owned(), next, directory, _lock: file }),
            Err(Errno::WOULDBLOCK) => {
                let lock = lock.display();
                Err(wrong(path, format!("is in use by another process, which has locked {lock}")))
            }
            Err(error) => Err(unwritten(path, error.into())),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it by a file of this text. On return it outlives a crash of the system.
    ///
    /// # Errors
    /// The system's; then the old one stays.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        match fs::remove_file(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.next)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&self.next, &self.path)) {
            // It may be full of passwords.
            let _ = fs::remove_file(&self.next);
            return Err(error);
        }
        File::open(&self.directory)?.sync_all()
    }
}

/// Reads such a file; `None`: it is not there.
///
/// # Errors
/// It is another account's, others may read or write it, or it is no TOML of at most so many bytes.
pub fn read(path: &Path, most: u64) -> Result<Option<Table>, SettingFaults> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let (text, found) = text_of(path, most).map_err(|rule| wrong(path, rule))?;
    let account = rustix::process::geteuid();
    // The superuser may look at everybody's.
    if found.uid() != account.as_raw() && !account.is_root() {
        return Err(wrong(path, "must belong to the account that runs the service".to_owned()));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let rule = format!("must be open to its owner only (chmod 600), and has mode {mode:03o}");
        return Err(wrong(path, rule));
    }
    parse(&path.display().to_string(), &text).map(Some)
}

/// Looks whether such a file could be taken, and writes nothing.
///
/// # Errors
/// Its directory is not there, or this account may not write there.
pub fn expect_directory(path: &Path) -> Result<(), SettingFaults> {
    let directory = directory_of(path);
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let looked = match fs::metadata(&directory) {
        Ok(found) if !found.is_dir() => Err(Errno::NOTDIR.into()),
        found => found.and_then(|_| Ok(accessat(CWD, &directory, wanted, AtFlags::EACCESS)?)),
    };
    looked.map_err(|error| unwritten(path, error))
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// The path with an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests;
