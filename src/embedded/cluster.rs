//! The files of the server: its directory, settings, log and pid file.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::account::{give, ServerAccount};
use super::error::{io_failed, EmbeddedError};
use super::Options;
use crate::dev_certs;
use crate::random;

/// The data directory's name within the server's directory.
pub(super) const DATA: &str = "data";
/// The log's name within the server's directory.
pub(super) const LOG: &str = "log";

/// Makes the server's directory, closed to all but its account (and root).
pub(super) fn make_dir(account: Option<ServerAccount>) -> Result<TempDir, EmbeddedError> {
    let parent = std::env::temp_dir();
    let dir = tempfile::Builder::new()
        .prefix("cpm-postgres-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .map_err(|source| EmbeddedError::TemporaryDirectory { path: parent, source })?;
    give(dir.path(), account)?;
    Ok(dir)
}

/// Draws the superuser's password and leaves it in a file for `initdb`.
pub(super) fn make_password(
    dir: &Path,
    account: Option<ServerAccount>,
) -> Result<String, EmbeddedError> {
    let bytes: [u8; 16] = random::bytes().map_err(EmbeddedError::Random)?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join("password");
    fs::write(&path, format!("{password}\n")).map_err(io_failed("write", &path))?;
    give(&path, account)?;
    Ok(password)
}

/// Makes the server's certificate. PostgreSQL requires that its account owns the key.
pub(super) fn make_certificate(
    dir: &Path,
    account: Option<ServerAccount>,
) -> Result<PathBuf, EmbeddedError> {
    let certs =
        dev_certs::write(dir, &dev_certs::DEFAULT_NAMES).map_err(EmbeddedError::Certificate)?;
    give(&certs.cert, account)?;
    give(&certs.key, account)?;
    Ok(certs.cert)
}

/// Writes the settings of a fresh cluster. Of two lines for one setting the
/// later wins: ours, then the caller's, then what keeps us on loopback.
pub(super) fn configure(dir: &Path, options: &Options) -> Result<(), EmbeddedError> {
    let max_connections = options.max_connections.to_string();
    let cert = dir.join("cert.pem");
    let key = dir.join("key.pem");
    let own = [
        ("max_connections", &*max_connections),
        ("ssl", "on"),
        ("ssl_cert_file", &*cert.to_string_lossy()),
        ("ssl_key_file", &*key.to_string_lossy()),
        // The data lives no longer than the process, so nothing need reach the disk.
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
    ]
    .map(|(name, value)| setting(name, value));
    let extra = options.extra.iter().map(|(name, value)| setting(name, value));
    let loopback = [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")]
        .map(|(name, value)| setting(name, value));
    let settings: String = own.into_iter().chain(extra).chain(loopback).collect();

    let path = dir.join(DATA).join("postgresql.conf");
    File::options()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(settings.as_bytes()))
        .map_err(io_failed("write", &path))?;
    let path = dir.join(DATA).join("pg_hba.conf");
    // `host` covers connections with TLS and without.
    fs::write(&path, "host all all 127.0.0.1/32 scram-sha-256\n")
        .map_err(io_failed("write", &path))?;
    let path = dir.join("password");
    fs::remove_file(&path).map_err(io_failed("remove", &path))
}

fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// The content of `postmaster.pid`: its first line is the process id, the
/// eighth the status (PostgreSQL 10 and later).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile(String);

impl PidFile {
    pub(super) fn pid(&self) -> Option<i32> {
        self.0.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// A standby's status is always "standby".
    pub(super) fn is_ready(&self) -> bool {
        self.0.lines().nth(7).is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
    }
}

pub(super) fn read_pid_file(dir: &Path) -> Option<PidFile> {
    fs::read_to_string(dir.join(DATA).join("postmaster.pid")).ok().map(PidFile)
}

/// The log's length, to read later what was added: see [`log_since`].
pub(super) fn log_len_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join(LOG)).map_or(0, |metadata| metadata.len())
}

/// The log from an offset on, at most [`LOG_READ_BYTES`] of it.
pub(super) fn log_since(dir: &Path, offset_bytes: u64) -> Option<String> {
    let mut file = File::open(dir.join(LOG)).ok()?;
    file.seek(SeekFrom::Start(offset_bytes)).ok()?;
    let mut content = Vec::new();
    file.take(LOG_READ_BYTES).read_to_end(&mut content).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

/// The last lines of the log, from its last [`LOG_READ_BYTES`] at most.
pub(super) fn log_tail(dir: &Path, lines: usize) -> String {
    let offset_bytes = log_len_bytes(dir).saturating_sub(LOG_READ_BYTES);
    let content = log_since(dir, offset_bytes).unwrap_or_default();
    let all: Vec<&str> = content.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Hundreds of lines, and a bound on what an error message can hold.
const LOG_READ_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_quoted() {
        assert_eq!(setting("search_path", r"it's\"), "search_path = 'it''s\\\\'\n");
    }

    #[test]
    fn a_pid_file_tells_a_postmaster_from_a_single_user_server() {
        let file = PidFile("-12\n/data\n".to_owned());
        assert_eq!((file.pid(), file.is_ready()), (None, false));
        let file = PidFile("12\n/data\n17\n5432\n\n127.0.0.1\n1 2\nready   \n".to_owned());
        assert_eq!((file.pid(), file.is_ready()), (Some(12), true));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(log_tail(dir.path(), 2), "");
        fs::write(dir.path().join(LOG), "one\ntwo\nthree\n").unwrap();
        assert_eq!(log_tail(dir.path(), 2), "two\nthree");
        assert_eq!(log_tail(dir.path(), 9), "one\ntwo\nthree");
    }
}
