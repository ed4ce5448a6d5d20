//! Why a caller is refused.

use std::fmt;
use std::sync::Arc;

use super::{CallerIdentity, Role};
use crate::core::ids::TenantId;

/// Why nobody knows who a caller is. No variant carries what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// An identity is needed, and the call has shown nothing.
    NoCredentials,
    /// An identity is needed, and none lists the certificate.
    UnlistedCertificate,
    /// The names of the certificate belong to several identities.
    AmbiguousCertificate,
    /// `authorization` is there several times, or is not `Bearer` and a token.
    MalformedToken,
    /// No identity has the token.
    UnknownToken,
    /// The token has expired.
    ExpiredToken,
}

/// Why a caller may not do what it asks for.
#[derive(Clone, Debug)]
pub enum AccessDenied {
    /// It needs an identity and has none.
    Unauthenticated(AuthFailure),
    /// Its identity may not use the tenant, or there is no such tenant: which of both is not told.
    Tenant {
        /// Who it is.
        identity: Arc<CallerIdentity>,
        tenant: TenantId,
    },
    /// Its identity has not the role that the call needs.
    Role {
        /// Who it is.
        identity: Arc<CallerIdentity>,
        role: Role,
    },
}

impl AuthFailure {
    /// Its name in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthFailure::NoCredentials => "no_credentials",
            AuthFailure::UnlistedCertificate => "unlisted_certificate",
            AuthFailure::AmbiguousCertificate => "ambiguous_certificate",
            AuthFailure::MalformedToken => "malformed_token",
            AuthFailure::UnknownToken => "unknown_token",
            AuthFailure::ExpiredToken => "expired_token",
        }
    }
}

impl AccessDenied {
    /// All names.
    pub const NAMES: [&'static str; 8] = [
        "no_credentials",
        "unlisted_certificate",
        "ambiguous_certificate",
        "malformed_token",
        "unknown_token",
        "expired_token",
        "tenant_denied",
        "role_denied",
    ];

    /// Its name in metrics and in the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            AccessDenied::Unauthenticated(failure) => failure.as_str(),
            AccessDenied::Tenant { .. } => "tenant_denied",
            AccessDenied::Role { .. } => "role_denied",
        }
    }

    /// The tenant that it is about, if it is.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            AccessDenied::Tenant { tenant, .. } => Some(tenant),
            AccessDenied::Unauthenticated(_) | AccessDenied::Role { .. } => None,
        }
    }

    /// Who it is about, if that is known.
    pub fn identity(&self) -> Option<&CallerIdentity> {
        match self {
            AccessDenied::Unauthenticated(_) => None,
            AccessDenied::Tenant { identity, .. } | AccessDenied::Role { identity, .. } => {
                Some(identity)
            }
        }
    }
}

impl From<AuthFailure> for AccessDenied {
    fn from(failure: AuthFailure) -> AccessDenied {
        AccessDenied::Unauthenticated(failure)
    }
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthFailure::NoCredentials => {
                "the call needs an identity: a client certificate, or a token in the metadata \
                 `authorization: Bearer TOKEN`"
            }
            AuthFailure::UnlistedCertificate => {
                "the call needs an identity, and none lists a name of this client certificate"
            }
            AuthFailure::AmbiguousCertificate => {
                "the names of this client certificate belong to several identities"
            }
            AuthFailure::MalformedToken => {
                "the metadata authorization must be there once, as `Bearer TOKEN`"
            }
            AuthFailure::UnknownToken => "the token is not known",
            AuthFailure::ExpiredToken => "the token has expired",
        })
    }
}

impl fmt::Display for AccessDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessDenied::Unauthenticated(failure) => failure.fmt(f),
            AccessDenied::Tenant { identity, tenant } => write!(
                f,
                "identity {} may not use tenant {tenant}, or there is no such tenant",
                identity.name()
            ),
            AccessDenied::Role { identity, role } => {
                write!(f, "identity {} has not the role {}", identity.name(), role.as_str())
            }
        }
    }
}
