//! Every setting of the service, validated and typed, with its default and the
//! reason for it.
//!
//! Two steps lead there: [`raw`] gathers what was given, each value with its key and where it came
//! from, and [`load`] makes of it a [`ServerConfig`] that keeps all rules. [`keys`] is the table of
//! all that can be set.

pub mod changes;
mod checks;
mod contradiction;
pub mod document;
mod doubts;
mod draft;
pub mod dsn;
mod elsewhere;
mod exposure;
mod identities;
pub mod keys;
pub mod lease;
mod limits;
pub mod load;
mod message_sizes;
pub mod plan;
mod pool;
mod ports;
pub mod profile;
pub mod raw;
#[cfg(test)]
mod reference;
mod tenant_keys;
pub mod tenants;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::core::access::Access;
use crate::core::allowed_hosts::AllowedHosts;
use crate::logging::DEFAULT_LEVEL;

pub use crate::logging::LogFormat;
pub use checks::SelfCheck;
pub use contradiction::Contradiction;
pub use draft::Draft;
pub use limits::{
    Limits, ListenLimits, CLIENT_CONNECTIONS, STRAY_BYTES, STRAY_FOR, UNREAD_BYTES,
    UNREAD_BYTES_IN_ALL,
};
pub use pool::{Reset, TcpKeepalive, TenantPoolConfig, LEAST_LIFETIME};
use tenants::Tenants;

/// Settings of one running service.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Host or address gRPC listens on. gRPC takes both `::` and `0.0.0.0` for every address of
    /// both families.
    pub listen: String,
    /// gRPC port; 0 takes any free one.
    pub port: u16,
    /// How gRPC is secured.
    pub tls: GrpcTls,
    /// The authority of clients' certificates, as PEM; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client needs a certificate.
    pub client_certificates: ClientCertificates,
    /// Where HTTP listens; `[::]` is every address of both families.
    pub http: SocketAddr,
    /// Where HTTP serves all but liveness, which is then all that `http` serves.
    pub http_admin: Option<SocketAddr>,
    /// HTTP shows all but liveness to identities with a role only.
    pub http_auth: bool,
    /// HTTP over TLS, with the certificate of gRPC.
    pub http_tls: bool,
    /// How long a stop waits for leases to end.
    pub drain_timeout: Duration,
    /// How long a client connection may be silent before it gets a keepalive ping.
    pub keepalive_time: Duration,
    /// How long it may take to answer the ping; then it counts as dead.
    pub keepalive_timeout: Duration,
    /// How the service checks that it can be reached.
    pub self_check: SelfCheck,
    /// A certificate of the service that expires sooner is reported in the log; zero: none is.
    pub certificate_warning: Duration,
    /// A lease held for longer is reported in the log.
    pub leak_warning: Duration,
    /// A request that runs SQL for longer is logged; zero: none is.
    pub slow_statement: Duration,
    /// The form of the log's lines.
    pub log_format: LogFormat,
    /// Which of its lines are written, as `RUST_LOG` has it.
    pub log_level: String,
    /// Whether gRPC's reflection is answered.
    pub reflection: bool,
    /// The file in which what operators change is kept over a restart; `None`: a restart ends it.
    pub state_file: Option<PathBuf>,
    /// The directory of the certificate files that a client's DSN may name; `None`: it may name no
    /// file.
    pub dsn_cert_dir: Option<PathBuf>,
    /// Clients may register tenants by a DSN that they send.
    pub allow_client_dsn: bool,
    /// The hosts that their DSNs may name.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// The configured tenants.
    pub tenants: Arc<Tenants>,
    /// Core dumps and debuggers are allowed.
    pub core_dumps: bool,
    /// Who may call; empty: everybody.
    pub access: Arc<Access>,
    /// Limits of each tenant's pool.
    pub pool: TenantPoolConfig,
    /// Limits of the service.
    pub limits: Limits,
}

/// How gRPC is secured.
#[derive(Debug, Clone)]
pub enum GrpcTls {
    /// Plaintext, because `--insecure` asked for it.
    Insecure,
    /// TLS with this certificate chain and key.
    Files {
        /// PEM certificate chain.
        cert: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

/// Whether a client needs a certificate, where there is an authority for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Without a good one the handshake fails. The only defence against what a stranger can do to
    /// gRPC before a call has any metadata.
    Required,
    /// One that is shown must be good. Others prove who they are by tokens.
    Optional,
}

impl ClientCertificates {
    /// The words in the file.
    pub const WORDS: [(&'static str, ClientCertificates); 2] =
        [("required", ClientCertificates::Required), ("optional", ClientCertificates::Optional)];
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: "::".to_owned(),
            port: 50052,
            tls: GrpcTls::Files { cert: "certs/cert.pem".into(), key: "certs/key.pem".into() },
            client_ca: None,
            client_certificates: ClientCertificates::Required,
            http: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8082)),
            http_admin: None,
            http_auth: false,
            http_tls: false,
            drain_timeout: Duration::from_secs(30),
            // The lease of a client that vanished is released within the sum of both.
            keepalive_time: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            self_check: SelfCheck::default(),
            // Renewing by hand takes some days.
            certificate_warning: Duration::from_secs(14 * 24 * 3600),
            // Twice the default time to live: a client that keeps renewing may have forgotten to
            // release.
            leak_warning: Duration::from_secs(600),
            slow_statement: Duration::from_secs(1),
            log_format: LogFormat::Text,
            log_level: DEFAULT_LEVEL.to_owned(),
            reflection: true,
            // It has passwords: whoever wants such a file says where.
            state_file: None,
            // With a directory by default, any client that may send a DSN could use its files.
            dsn_cert_dir: None,
            // Without it nobody could use a service without configured tenants.
            allow_client_dsn: true,
            allowed_hosts: Arc::default(),
            tenants: Arc::default(),
            core_dumps: false,
            access: Arc::default(),
            pool: TenantPoolConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl ServerConfig {
    /// Rejects settings with which no client could be served, or not as promised.
    ///
    /// # Errors
    /// The rules that are broken, naming the settings.
    pub fn check(&self) -> Result<(), String> {
        Contradiction::all(&self.contradictions())
    }

    /// All rules that the settings break together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut broken = self.pool.contradictions();
        broken.extend(self.limits.contradictions());
        let insecure = matches!(self.tls, GrpcTls::Insecure);
        if self.client_ca.is_some() && insecure {
            let rule = "client_ca needs TLS: it cannot be given with insecure";
            broken.push(Contradiction::new(rule, &["client_ca", "insecure"]));
        }
        if let Some(name) = self.access.by_certificate().filter(|_| self.client_ca.is_none()) {
            broken.push(Contradiction {
                subject: format!("identities.{name}"),
                rule: "has certificates, so client_ca must name the authority that signs them"
                    .to_owned(),
                keys: &["client_ca"],
            });
        }
        broken.extend(self.http_contradictions());
        let (tenant, all) = (self.pool.max_connections, self.limits.max_backends);
        if tenant > all {
            // Otherwise no tenant could ever be opened.
            let rule = format!(
                "max connections of a tenant cannot be greater than those of all tenants: {tenant} > {all}"
            );
            broken.push(Contradiction::new(rule, &["max_connections", "max_backends"]));
        }
        broken.extend(tenants::contradictions(&self.tenants, all));
        broken
    }

    fn http_contradictions(&self) -> Vec<Contradiction> {
        let mut broken = Vec::new();
        if self.http_tls && matches!(self.tls, GrpcTls::Insecure) {
            let rule = "http_tls needs a certificate, and insecure uses none";
            broken.push(Contradiction::new(rule, &["http_tls", "insecure"]));
        }
        broken.extend(ports::contradictions(self));
        if self.http_auth && !self.access.has_roles() {
            let rule = "http_auth needs an identity with role = \"observer\" or \"admin\" in the \
                        file; without one nobody could look";
            broken.push(Contradiction::new(rule, &["http_auth"]));
        }
        broken
    }

    /// The most connections that a tenant's own DSN may ask for, so that one
    /// tenant cannot take the whole budget.
    pub fn most_connections(&self) -> usize {
        self.pool.max_connections.max(self.limits.connections_per_tenant)
    }
}

#[cfg(test)]
mod tests;
