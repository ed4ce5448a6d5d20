//! The authority of clients' certificates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use grpcio::CertificateRequestType;
use openssl::error::ErrorStack;
use openssl::x509::X509;

use super::own_client::{self, OwnClient};
use super::{check_dates, holds, read};
use crate::config::ClientCertificates;
use crate::rpc::bind_error::{BindError, PemFile};

const SETTING: &str = "client_ca";

/// Whose certificates clients must have, or may.
pub(super) struct ClientCa {
    path: PathBuf,
    certificates: ClientCertificates,
    own: OwnClient,
}

impl ClientCa {
    /// The authority in this file.
    ///
    /// # Errors
    /// OpenSSL cannot make a certificate for the service's own calls.
    pub(super) fn new(
        path: &Path,
        certificates: ClientCertificates,
    ) -> Result<ClientCa, BindError> {
        let unmade = |error: ErrorStack| {
            let why = format!("no certificate can be made for the service's own calls: {error}");
            PemFile { setting: SETTING, path }.refused(why)
        };
        let own = own_client::make().map_err(unmade)?;
        Ok(ClientCa { path: path.to_owned(), certificates, own })
    }

    /// The certificate of the service's own calls.
    pub(super) fn own(&self) -> &OwnClient {
        &self.own
    }

    /// What gRPC asks of a client in the handshake.
    pub(super) fn request(&self) -> CertificateRequestType {
        match self.certificates {
            ClientCertificates::Required => {
                CertificateRequestType::RequestAndRequireClientCertificateAndVerify
            }
            ClientCertificates::Optional => {
                CertificateRequestType::RequestClientCertificateAndVerify
            }
        }
    }

    /// Reads the certificates that are trusted, as PEM: those of the file, and our own. An expiry
    /// within `warning` is logged.
    ///
    /// # Errors
    /// The file cannot be used, and why.
    pub(super) fn roots_pem(&self, warning: Duration) -> Result<Vec<u8>, BindError> {
        let file = PemFile { setting: SETTING, path: &self.path };
        let mut pem = read(file)?;
        if holds(&pem, "PRIVATE KEY-----") {
            let why = "it holds a private key: only the authority's certificate belongs here";
            return Err(file.refused(why));
        }
        let roots = X509::stack_from_pem(&pem).unwrap_or_default();
        if roots.is_empty() {
            return Err(file.refused("it holds no PEM certificate"));
        }
        for root in &roots {
            check_dates(file, root, warning)?;
        }
        let own = self.own.certificate.to_pem();
        let own = own.map_err(|error| file.refused(error.to_string()))?;
        pem.push(b'\n');
        pem.extend(own);
        Ok(pem)
    }
}
