//! What the next start would refuse, of files that settings name, in its words. Nothing is written.

use crate::config::changes::{self, KeptChanges};
use crate::config::keys;
use crate::config::load::Loaded;
use crate::config::ServerConfig;
use crate::rpc::server::Certificate;
use crate::server::ALL_GONE;
use crate::settings::file::own;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// What is wrong with the certificates.
pub(super) struct BadCertificates {
    pub(super) fault: SettingFault,
    /// Nobody has said where they are.
    pub(super) is_default: bool,
}

/// Looks at the files of the certificates.
pub(super) fn certificates(loaded: &Loaded) -> Option<BadCertificates> {
    let ServerConfig { tls, client_ca, client_certificates, certificate_warning, .. } =
        &loaded.config;
    let (ca, warning) = (client_ca.as_deref(), *certificate_warning);
    let error = Certificate::load(tls, ca, *client_certificates, warning).err()?;
    let names = error.settings();
    let mut found = names.iter().filter_map(|name| keys::find(name));
    let is_default = found.all(|key| loaded.origin(key) == Origin::Default);
    Some(BadCertificates { fault: fault(loaded, &error.to_string(), names), is_default })
}

fn fault(loaded: &Loaded, text: &str, names: &[&str]) -> SettingFault {
    SettingFault::new("", Origin::Default, loaded.with_places(text, names))
}

/// Looks at what the state file keeps, if there is to be one.
///
/// # Errors
/// It is none, or cannot be written.
pub(super) fn state(loaded: &Loaded) -> Result<KeptChanges, SettingFaults> {
    let Some(path) = &loaded.config.state_file else { return Ok(KeptChanges::default()) };
    let kept = own::expect_directory(path).and_then(|()| changes::read(path, &loaded.config));
    kept.map_err(|wrong| fault(loaded, &format!("--state-file: {wrong}"), &["state_file"]).into())
}

/// Looks at the files of the settings for a service that runs: `running` are the settings of its
/// start.
///
/// # Errors
/// What its next start would refuse.
pub(super) fn check(loaded: &Loaded, running: &ServerConfig) -> Result<(), SettingFaults> {
    if loaded.config.access.is_open() && !running.access.is_open() {
        // What else is wrong with a file that is being written leads elsewhere.
        return Err(SettingFault::new("identities", Origin::Default, ALL_GONE).into());
    }
    let mut faults = SettingFaults::default();
    faults.0.extend(certificates(loaded).map(|found| found.fault));
    if loaded.config.state_file != running.state_file {
        faults.0.extend(state(loaded).err().into_iter().flat_map(|wrong| wrong.0));
    }
    faults.ended()
}
