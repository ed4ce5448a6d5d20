//! Addresses, files and directories that settings name.

use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use crate::settings::{SettingFault, SettingValue};

/// A directory, as an absolute path, so that a DSN may name a file by its absolute path.
pub(super) fn directory(path: &str) -> Result<PathBuf, String> {
    match std::path::absolute(path) {
        Ok(dir) if dir.is_dir() => Ok(dir),
        Ok(_) => Err("must be a directory".to_owned()),
        Err(error) => Err(format!("must be a directory ({error})")),
    }
}

/// A file's path.
pub(super) fn path(value: &SettingValue, at: &mut PathBuf) -> Result<(), SettingFault> {
    let text = value.text()?;
    if text.is_empty() {
        return Err(value.fault("must be the path of a file"));
    }
    *at = text.into();
    Ok(())
}

/// A file's path, where there may be none.
pub(super) fn some_path(
    value: &SettingValue,
    at: &mut Option<PathBuf>,
) -> Result<(), SettingFault> {
    let mut file = PathBuf::new();
    path(value, &mut file)?;
    *at = Some(file);
    Ok(())
}

/// As it would be given.
pub(super) fn shown_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(at) if at.ip().is_unspecified() => format!(":{}", at.port()),
        at => at.to_string(),
    }
}

/// `:8082` means every address of IPv6 and IPv4.
pub(super) fn http_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| "must have a port from 0 to 65535".to_owned())?;
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    text.to_socket_addrs()
        .map_err(|error| format!("must be HOST:PORT or :PORT ({error})"))?
        .next()
        .ok_or_else(|| "must have a host with an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_address_takes_a_bare_port_and_is_shown_as_it_is_given() {
        assert_eq!(http_address(":8082").map(|at| at.to_string()), Ok("[::]:8082".into()));
        for text in [":8082", "127.0.0.1:0", "[::1]:8082"] {
            assert_eq!(http_address(text).map(shown_address), Ok(text.into()));
        }
        let refused = |text| http_address(text).expect_err(text);
        assert_eq!(refused(":70000"), "must have a port from 0 to 65535");
        assert!(refused("nonsense").starts_with("must be HOST:PORT or :PORT ("));
    }
}
