//! Configuration files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Tenant;

/// A configuration file in a directory of its own, which only its owner reads.
pub struct ConfigFile {
    pub dir: tempfile::TempDir,
    pub path: String,
}

impl ConfigFile {
    /// A file with this text.
    pub fn new(text: &str) -> ConfigFile {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.toml").display().to_string();
        let file = ConfigFile { dir, path };
        file.write(text);
        file
    }

    /// Another text in its place.
    pub fn write(&self, text: &str) {
        self.beside("config.toml", text);
    }

    /// Another file in its directory.
    pub fn beside(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        permit(&path, 0o600);
        path
    }
}

/// Lets others read a file, or not.
pub fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is mine");
}

impl Tenant {
    /// Its table in a configuration file, with these lines beside its DSN.
    pub fn table(&self, lines: &str) -> String {
        format!("[tenants.\"{}\"]\ndsn = {:?}\n{lines}\n", self.name, self.dsn)
    }

    /// The same tenant as clients name it that is configured: without its DSN.
    pub fn by_name(&self) -> Tenant {
        Tenant { dsn: String::new(), ..self.clone() }
    }
}
