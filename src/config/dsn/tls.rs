//! The keys of a connection's encryption, and their rules for each other.

use super::error::DsnError;
use super::modes::{ChannelBinding, SslMode, SslNegotiation};
use super::settings::DsnSettings;
use super::HostPort;
use std::path::{Component, Path};

/// How a connection is encrypted, and what is checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsKeys {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslnegotiation`.
    pub negotiation: SslNegotiation,
    /// `sslrootcert`: whom to trust.
    pub root: Option<RootCert>,
    /// `sslcert` and `sslkey`: who we are.
    pub client: Option<ClientCert>,
    /// `channel_binding`: whether SCRAM is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
}

/// The issuers that a server's certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// The roots that the system trusts.
    System,
    /// The certificates of a PEM file.
    File(String),
}

/// The files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// PEM certificate, with its chain.
    pub cert: String,
    /// PEM private key.
    pub key: String,
}

impl TlsKeys {
    /// Reads the keys and checks them against each other by libpq's rules.
    pub(super) fn from_settings(settings: &mut DsnSettings) -> Result<TlsKeys, DsnError> {
        let root = settings.text("sslrootcert").map(|value| match value.as_str() {
            "system" => RootCert::System,
            _ => RootCert::File(value),
        });
        let keys = TlsKeys {
            mode: match (settings.ssl_mode()?, &root) {
                (None, Some(RootCert::System)) => SslMode::VerifyFull,
                (mode, _) => mode.unwrap_or_default(),
            },
            negotiation: settings.choice("sslnegotiation")?.unwrap_or_default(),
            root,
            client: match (settings.text("sslcert"), settings.text("sslkey")) {
                (None, None) => None,
                (Some(cert), Some(key)) => Some(ClientCert { cert, key }),
                (Some(_), None) => return Err(DsnError::at("sslkey", "is required with sslcert")),
                (None, Some(_)) => return Err(DsnError::at("sslcert", "is required with sslkey")),
            },
            channel_binding: settings.choice("channel_binding")?.unwrap_or_default(),
        };
        keys.check()?;
        Ok(keys)
    }

    fn check(&self) -> Result<(), DsnError> {
        if self.root == Some(RootCert::System) && self.mode != SslMode::VerifyFull {
            // Anyone can get a certificate that the system trusts, so the name must be checked.
            return Err(DsnError::at("sslmode", "must be verify-full with sslrootcert=system"));
        }
        if self.mode >= SslMode::VerifyCa && self.root.is_none() {
            let what = match self.mode {
                SslMode::VerifyFull => "a file or system",
                _ => "a file",
            };
            let rule = format!("is required with sslmode={}: {what}", self.mode.as_str());
            return Err(DsnError::at("sslrootcert", rule));
        }
        if self.negotiation == SslNegotiation::Direct && self.mode < SslMode::Require {
            let rule = "direct needs sslmode=require, verify-ca or verify-full";
            return Err(DsnError::at("sslnegotiation", rule));
        }
        if self.channel_binding == ChannelBinding::Require && self.mode == SslMode::Disable {
            let rule = "require needs TLS, which sslmode=disable forbids";
            return Err(DsnError::at("channel_binding", rule));
        }
        Ok(())
    }

    /// A certificate can be checked against a name only if one is given.
    pub(super) fn check_hosts(&self, hosts: &[HostPort]) -> Result<(), DsnError> {
        if self.mode == SslMode::VerifyFull && hosts.iter().any(|at| at.host.is_none()) {
            let rule = "is required with sslmode=verify-full: the certificate is checked \
                        against it, never against hostaddr";
            return Err(DsnError::at("host", rule));
        }
        Ok(())
    }

    /// Each key that names a file, and the file.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let root = match &self.root {
            Some(RootCert::File(path)) => Some(path.as_str()),
            _ => None,
        };
        let client = self.client.as_ref();
        [
            ("sslrootcert", root),
            ("sslcert", client.map(|client| client.cert.as_str())),
            ("sslkey", client.map(|client| client.key.as_str())),
        ]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)))
    }

    /// Checks that a client's DSN names only files of one directory. It looks at no file, because a
    /// client must not learn which files exist elsewhere.
    ///
    /// # Errors
    /// The key that names a file which a client may not name.
    pub fn confine(&self, dir: Option<&Path>) -> Result<(), DsnError> {
        for (key, path) in self.files() {
            let Some(dir) = dir else {
                let rule = "a client may name files only if the service has a directory for \
                            them (--dsn-cert-dir)";
                return Err(DsnError::at(key, rule));
            };
            let path = Path::new(path);
            let climbs = path.components().any(|part| part == Component::ParentDir);
            if climbs || !dir.join(path).starts_with(dir) {
                let rule = "must name a file in the service's directory for them (--dsn-cert-dir)";
                return Err(DsnError::at(key, rule));
            }
        }
        Ok(())
    }
}
