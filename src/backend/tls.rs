//! TLS to PostgreSQL, with libpq's checks for each sslmode.
//!
//! The files that a DSN names are read for every connection, so that renewed
//! certificates are used without a restart.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{
    ConnectConfiguration, SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use postgres_openssl::set_postgresql_alpn;

use crate::backend::cert_files::CertFiles;
use crate::config::dsn::{RootCert, SslMode, SslNegotiation, TlsKeys};

/// How to make the TLS layer of one tenant's connections.
#[derive(Clone)]
pub struct BackendTls {
    connector: SslConnector,
    verify: Verify,
    direct: bool,
}

/// What is checked of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    /// That its chain leads to a trusted root.
    Chain,
    /// And that it names the host.
    ChainAndName,
}

impl Verify {
    /// libpq's table: `require` checks the chain if a root is given; `prefer` checks
    /// nothing, because it would otherwise continue in plaintext.
    fn of(keys: &TlsKeys) -> Verify {
        match keys.mode {
            SslMode::Disable | SslMode::Prefer => Verify::Nothing,
            SslMode::Require if keys.root.is_none() => Verify::Nothing,
            SslMode::Require | SslMode::VerifyCa => Verify::Chain,
            SslMode::VerifyFull => Verify::ChainAndName,
        }
    }

    fn mode(self) -> SslVerifyMode {
        match self {
            Verify::Nothing => SslVerifyMode::NONE,
            Verify::Chain | Verify::ChainAndName => SslVerifyMode::PEER,
        }
    }
}

/// The findings of a handshake. A leaf lock.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<TlsFinding>>);

#[derive(Default)]
struct TlsFinding {
    /// The server confirmed PostgreSQL's ALPN.
    alpn: bool,
    /// Why its certificate was refused.
    fault: Option<String>,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, TlsFinding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the server's certificate was refused, if it was.
    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }
}

impl BackendTls {
    /// TLS that checks nothing, for DSNs that name neither a root nor files.
    ///
    /// # Errors
    /// If OpenSSL cannot be set up.
    pub fn unverified() -> Result<BackendTls, ErrorStack> {
        let mut builder = builder()?;
        builder.set_cert_store(X509StoreBuilder::new()?.build());
        let connector = builder.build();
        Ok(BackendTls { connector, verify: Verify::Nothing, direct: false })
    }

    /// True if a DSN needs no more than [`BackendTls::unverified`].
    pub fn is_plain(keys: &TlsKeys) -> bool {
        Verify::of(keys) == Verify::Nothing
            && keys.client.is_none()
            && keys.negotiation == SslNegotiation::Postgres
    }

    /// TLS as a DSN asks for it, with the files it names.
    ///
    /// # Errors
    /// The key whose file cannot be used, and why; nothing of its content.
    pub fn new(keys: &TlsKeys, files: &CertFiles) -> Result<BackendTls, String> {
        let failed = |error: ErrorStack| format!("TLS cannot be set up: {error}");
        let verify = Verify::of(keys);
        let mut builder = builder().map_err(failed)?;
        if keys.root != Some(RootCert::System) || verify == Verify::Nothing {
            // The builder trusts the system's roots; here only the file's are trusted.
            let mut store = X509StoreBuilder::new().map_err(failed)?;
            if verify != Verify::Nothing {
                for certificate in files.roots()? {
                    store.add_cert(certificate).map_err(failed)?;
                }
            }
            builder.set_cert_store(store.build());
        }
        files.identify(&mut builder)?;
        set_postgresql_alpn(&mut builder).map_err(failed)?;
        let direct = keys.negotiation == SslNegotiation::Direct;
        Ok(BackendTls { connector: builder.build(), verify, direct })
    }

    /// True if the connection starts with the handshake, without an SSLRequest.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// One connection's configuration.
    ///
    /// # Errors
    /// If OpenSSL cannot be set up.
    pub fn configuration(
        &self,
        host: &str,
        findings: &Findings,
    ) -> Result<ConnectConfiguration, ErrorStack> {
        let mut configuration = self.connector.configure()?;
        prepare(&mut configuration, self.verify, host, findings);
        Ok(configuration)
    }

    /// Checks the findings of the handshake. With direct TLS, only ALPN confirms that the
    /// server is PostgreSQL.
    ///
    /// # Errors
    /// What is missing.
    pub fn confirm(&self, findings: &Findings) -> Result<(), String> {
        match self.direct && !findings.lock().alpn {
            true => Err(NO_ALPN.to_owned()),
            false => Ok(()),
        }
    }
}

/// TLS 1.2 or later, like libpq.
fn builder() -> Result<SslConnectorBuilder, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // One system call reads a whole record, instead of one for its header and one for its
    // body. A caller polls the socket only after a read returned `WouldBlock`, so nothing
    // is left in this buffer.
    builder.set_read_ahead(true);
    Ok(builder)
}

/// OpenSSL checks the name during verification. SNI is sent for names, not for addresses,
/// like libpq.
fn prepare(
    configuration: &mut ConnectConfiguration,
    verify: Verify,
    host: &str,
    findings: &Findings,
) {
    configuration.set_verify_hostname(verify == Verify::ChainAndName);
    let (findings, host) = (findings.clone(), host.to_owned());
    configuration.set_verify_callback(verify.mode(), move |good, context| {
        let mut found = findings.lock();
        found.alpn |= speaks_postgresql(context);
        if good || verify == Verify::Nothing {
            return true;
        }
        if is_named_address(context, &host) {
            context.set_error(X509VerifyResult::OK);
            return true;
        }
        found.fault.get_or_insert_with(|| fault(context, &host));
        false
    });
}

/// ALPN is negotiated before the certificate arrives, in TLS 1.2 and 1.3.
fn speaks_postgresql(context: &X509StoreContextRef) -> bool {
    let ssl = X509StoreContext::ssl_idx().ok().and_then(|index| context.ex_data(index));
    ssl.is_some_and(|ssl| ssl.selected_alpn_protocol() == Some(b"postgresql"))
}

/// OpenSSL matches a common name with host names only; libpq matches it with addresses too,
/// if the certificate has no other names.
fn is_named_address(context: &X509StoreContextRef, host: &str) -> bool {
    let is_named = |certificate: &X509Ref| {
        certificate.subject_alt_names().is_none() && names(certificate) == [host]
    };
    context.error().as_raw() == ADDRESS_MISMATCH && context.current_cert().is_some_and(is_named)
}

fn fault(context: &X509StoreContextRef, host: &str) -> String {
    let error = context.error();
    if matches!(error.as_raw(), NAME_MISMATCH | ADDRESS_MISMATCH) {
        let names = context.current_cert().map(names).unwrap_or_default();
        let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
        return format!("the server's certificate names {names}, not {host} (sslmode=verify-full)");
    }
    let whose = match context.error_depth() {
        0 => "the server's certificate",
        _ => "a certificate of the server's chain",
    };
    format!("certificate verify failed: {whose}: {}", error.error_string())
}

/// The names in a certificate, for an error text.
fn names(certificate: &X509Ref) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in certificate.subject_alt_names().iter().flatten() {
        match (name.dnsname(), name.ipaddress()) {
            (Some(name), _) => names.push(shown(name)),
            (None, Some(bytes)) => names.extend(address(bytes).map(|address| address.to_string())),
            (None, None) => {}
        }
    }
    // The common name counts only without other names.
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        let texts = common.filter_map(|entry| entry.data().to_string().ok());
        names.extend(texts.map(|text| shown(&text)));
    }
    if names.len() > NAMES_MAX {
        names.truncate(NAMES_MAX);
        names.push("…".to_owned());
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A text from the server, on one line and not too long.
fn shown(name: &str) -> String {
    name.escape_debug().take(NAME_MAX_CHARS).collect()
}

/// OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
const NAME_MISMATCH: i32 = 62;
const ADDRESS_MISMATCH: i32 = 64;

/// The most characters of the names in an error.
const NAMES_MAX: usize = 5;
const NAME_MAX_CHARS: usize = 100;

/// The error of `sslnegotiation=direct` for a server that does not confirm PostgreSQL's
/// ALPN.
const NO_ALPN: &str = "the server does not confirm by ALPN that it speaks PostgreSQL, which \
                       sslnegotiation=direct needs (PostgreSQL 17 and later)";
