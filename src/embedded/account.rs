//! The account the server runs as: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use super::error::{io_failed, EmbeddedError};

/// The user and the group of an unprivileged account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerAccount {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account to change to, or `None` when the current user will do.
pub(super) fn server_account() -> Result<Option<ServerAccount>, EmbeddedError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let passwd = fs::read_to_string(path).map_err(io_failed("read", path))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| find_account(&passwd, name))
        .map(Some)
        .ok_or(EmbeddedError::NoAccount)
}

/// Gives a file to the server's account.
pub(super) fn give(path: &Path, account: Option<ServerAccount>) -> Result<(), EmbeddedError> {
    let Some(account) = account else { return Ok(()) };
    chown(path, Some(account.uid), Some(account.gid))
        .map_err(io_failed("change the owner of", path))
}

fn find_account(passwd: &str, name: &str) -> Option<ServerAccount> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find_map(|fields| match fields.as_slice() {
        [user, _, uid, gid, ..] if *user == name => {
            Some(ServerAccount { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "postgres2:x:7:8::/:/bin/sh\nbroken\npostgres:x:101:104:Admin:/var:/bin/sh\n";
        assert_eq!(find_account(passwd, "postgres"), Some(ServerAccount { uid: 101, gid: 104 }));
        assert_eq!(find_account(passwd, "nobody"), None);
    }
}
