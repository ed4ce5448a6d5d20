//! Settings while they are put together.

use std::path::PathBuf;

use crate::config::{GrpcTls, ServerConfig};

/// Settings while they are put together: what the table of keys reads and writes.
#[derive(Debug, Clone)]
pub struct Draft {
    /// All that one key alone decides.
    pub config: ServerConfig,
    /// gRPC without TLS.
    pub insecure: bool,
    /// gRPC's reflection is not answered.
    pub no_reflection: bool,
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Draft {
    /// Settings as they are in force, as a draft again.
    pub fn of(config: &ServerConfig) -> Draft {
        let (mut cert, mut key) = ("certs/cert.pem".into(), "certs/key.pem".into());
        if let GrpcTls::Files { cert: chain, key: private } = &config.tls {
            (cert, key) = (chain.clone(), private.clone());
        }
        let insecure = matches!(config.tls, GrpcTls::Insecure);
        let no_reflection = !config.reflection;
        Draft { config: config.clone(), insecure, no_reflection, cert, key }
    }

    /// The settings.
    pub fn finish(self) -> ServerConfig {
        let Draft { mut config, insecure, no_reflection, cert, key } = self;
        config.reflection = !no_reflection;
        config.tls = if insecure { GrpcTls::Insecure } else { GrpcTls::Files { cert, key } };
        config
    }
}

impl Default for Draft {
    fn default() -> Draft {
        Draft::of(&ServerConfig::default())
    }
}
