//! Who calls, and what they may do: decided from a table, before anything that costs.
//!
//! A caller proves who it is by a bearer token, or by a client certificate that the TLS handshake
//! has verified. A token decides where there is one; a certificate that no identity lists only
//! opens the connection. Secrets are known by their SHA-256 digests alone.

pub mod bearer;
mod failure;
mod identity;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::core::ids::TenantId;

pub use failure::{AccessDenied, AuthFailure};
pub use identity::{CallerIdentity, Proofs, Role};
pub use tokens::{AccessToken, TokenDigest};
pub use users::{IdentityPattern, TenantUsers};

/// The identities that callers may have.
#[derive(Clone, Default, PartialEq)]
pub struct Access {
    identities: BTreeMap<String, Arc<CallerIdentity>>,
    tokens: Vec<(AccessToken, Arc<CallerIdentity>)>,
    certificates: BTreeMap<String, Arc<CallerIdentity>>,
    /// Who may use the tenants that the operator has configured.
    tenants: BTreeMap<TenantId, TenantUsers>,
    /// Clients may not bring tenants of their own.
    only_configured: bool,
    /// Some tenant may be used by everybody, or could be until it was configured anew.
    has_anonymous: bool,
}

/// What a call has shown.
#[derive(Debug, Default)]
pub struct ShownCredentials {
    /// The digest of its bearer token, or what is wrong with its header.
    pub token: Option<Result<TokenDigest, AuthFailure>>,
    /// The names in its verified client certificate that count; none without a certificate.
    pub certificate: Option<Vec<String>>,
}

/// What is known of a caller.
#[derive(Clone, Debug, Default)]
pub enum Authentication {
    /// It has shown nothing.
    #[default]
    Anonymous,
    /// It has shown a certificate of the client CA that no identity lists.
    UnlistedCertificate,
    /// It is this one.
    Known(Arc<CallerIdentity>),
}

impl Access {
    /// Adds an identity with the digests of its tokens and the names of its certificates.
    ///
    /// # Errors
    /// The name of the identity that has the same name, token or certificate; then nothing is
    /// added.
    pub fn add(
        &mut self,
        identity: CallerIdentity,
        tokens: Vec<AccessToken>,
        certificates: Vec<String>,
    ) -> Result<(), String> {
        let same_token =
            |known: &AccessToken| tokens.iter().any(|token| token.sha256.is(&known.sha256));
        let taken = self.identities.get(identity.name());
        let taken = taken.or_else(|| {
            self.tokens.iter().find(|(known, _)| same_token(known)).map(|(_, owner)| owner)
        });
        let taken =
            taken.or_else(|| certificates.iter().find_map(|name| self.certificates.get(name)));
        if let Some(owner) = taken {
            return Err(owner.name().to_owned());
        }
        let identity = Arc::new(identity);
        let owned = |token| (token, Arc::clone(&identity));
        self.tokens.extend(tokens.into_iter().map(owned));
        let named = |name| (name, Arc::clone(&identity));
        self.certificates.extend(certificates.into_iter().map(named));
        self.identities.insert(identity.name().to_owned(), identity);
        Ok(())
    }

    /// Lets these use a tenant that the operator has configured.
    pub fn configure(&mut self, tenant: TenantId, users: TenantUsers) {
        self.has_anonymous |= users.anonymous;
        self.tenants.insert(tenant, users);
    }

    /// Whether there are no tenants but those that the operator has configured.
    pub fn set_only_configured(&mut self, only: bool) {
        self.only_configured = only;
    }

    /// Whether a caller may use a tenant. One that clients bring themselves may be used by every
    /// identity: its DSN is the proof.
    ///
    /// # Errors
    /// It may not. Whether there is such a tenant is not told.
    pub fn may_use(&self, tenant: &TenantId, caller: &Authentication) -> Result<(), AccessDenied> {
        let users = self.tenants.get(tenant);
        if self.is_open() && users.is_none_or(|users| users.is_nobody())
            || users.is_some_and(|users| users.anonymous)
        {
            return Ok(());
        }
        let identity = caller.required()?;
        let may = match users {
            Some(users) => users.include(identity.name()),
            None => !self.only_configured,
        };
        match may {
            true => Ok(()),
            false => {
                Err(AccessDenied::Tenant { identity: Arc::clone(identity), tenant: tenant.clone() })
            }
        }
    }

    /// Whether a caller may see that there is a tenant, and how it is.
    ///
    /// # Errors
    /// It may not use the tenant and is no observer.
    pub fn may_see(&self, tenant: &TenantId, caller: &Authentication) -> Result<(), AccessDenied> {
        match caller.expect_role(Role::Observer) {
            Ok(_) => Ok(()),
            Err(_) => self.may_use(tenant, caller),
        }
    }

    /// Whether it has the same identities as `other`, with the same roles, tokens and
    /// certificates.
    pub fn has_identities_of(&self, other: &Access) -> bool {
        (&self.identities, &self.tokens, &self.certificates)
            == (&other.identities, &other.tokens, &other.certificates)
    }

    /// Whether the same identities may use this tenant as in `other`.
    pub fn has_users_of(&self, other: &Access, tenant: &TenantId) -> bool {
        self.tenants.get(tenant) == other.tenants.get(tenant)
    }

    /// Who may use a tenant, if that was said.
    pub fn users_of(&self, tenant: &TenantId) -> Option<&TenantUsers> {
        self.tenants.get(tenant)
    }

    /// True if no identity is known: then callers need none.
    pub fn is_open(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether a caller may be one who uses some tenant: all may if no identity is known, or if
    /// somewhere none is needed. Costs nothing.
    pub fn lets_in(&self, caller: &Authentication) -> bool {
        self.is_open() || self.has_anonymous || caller.identity().is_some()
    }

    /// Whether a caller is known where it has to be.
    ///
    /// # Errors
    /// Some identity is known, and the caller has none.
    pub fn expect_identity(&self, caller: &Authentication) -> Result<(), AccessDenied> {
        match self.is_open() {
            true => Ok(()),
            false => Ok(caller.required().map(drop)?),
        }
    }

    /// True if some identity has a role.
    pub fn has_roles(&self) -> bool {
        self.identities.values().any(|identity| identity.role().is_some())
    }

    /// The identity of this name.
    pub fn identity(&self, name: &str) -> Option<&Arc<CallerIdentity>> {
        self.identities.get(name)
    }

    /// An identity that a certificate proves.
    pub fn by_certificate(&self) -> Option<&str> {
        self.certificates.values().next().map(|owner| owner.name())
    }

    /// The names of certificates, and the identity that each proves.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.certificates.iter().map(|(name, owner)| (name.as_str(), owner.name()))
    }

    /// By what the identity of this name proves who it is, and its role.
    pub fn proofs(&self, name: &str) -> Proofs {
        let is_its = |owner: &&Arc<CallerIdentity>| owner.name() == name;
        let tokens = self.tokens.iter().map(|(_, owner)| owner).filter(is_its).count();
        let certificates = self.certificates.values().filter(is_its).count();
        let role = self.identities.get(name).and_then(|identity| identity.role());
        Proofs { tokens, certificates, role }
    }

    /// The names of all identities.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.identities.keys().map(String::as_str)
    }

    /// The identities with tokens that have expired.
    pub fn expired(&self, unix_secs: i64) -> impl Iterator<Item = (&str, i64)> {
        self.tokens.iter().filter_map(move |(token, owner)| {
            token.expires.filter(|at| *at <= unix_secs).map(|at| (owner.name(), at))
        })
    }

    /// Tells who a caller is. The time it takes depends on the number of tokens in the table, not
    /// on what they have in common with the one that was shown.
    ///
    /// # Errors
    /// The call has shown something that proves nothing.
    pub fn authenticate(
        &self,
        shown: &ShownCredentials,
        unix_secs: i64,
    ) -> Result<Authentication, AuthFailure> {
        if let Some(token) = &shown.token {
            let found = self.owner(token.as_ref().map_err(|failure| *failure)?);
            let (token, owner) = found.ok_or(AuthFailure::UnknownToken)?;
            return match token.expires {
                Some(at) if at <= unix_secs => Err(AuthFailure::ExpiredToken),
                _ => Ok(Authentication::Known(Arc::clone(owner))),
            };
        }
        let Some(names) = &shown.certificate else { return Ok(Authentication::Anonymous) };
        let mut owners = names.iter().filter_map(|name| self.certificates.get(name));
        let Some(owner) = owners.next() else { return Ok(Authentication::UnlistedCertificate) };
        match owners.all(|other| other == owner) {
            true => Ok(Authentication::Known(Arc::clone(owner))),
            false => Err(AuthFailure::AmbiguousCertificate),
        }
    }

    fn owner(&self, shown: &TokenDigest) -> Option<(&AccessToken, &Arc<CallerIdentity>)> {
        let mut found = None;
        // Not `find`, which would end with the first.
        for (token, owner) in &self.tokens {
            if token.sha256.is(shown) {
                found = Some((token, owner));
            }
        }
        found
    }
}

/// Digests are no secrets, and say nothing to anybody.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("identities", &self.identities.values()).finish()
    }
}

impl Authentication {
    /// The identity, if the caller has one.
    pub fn identity(&self) -> Option<&Arc<CallerIdentity>> {
        match self {
            Authentication::Known(identity) => Some(identity),
            Authentication::Anonymous | Authentication::UnlistedCertificate => None,
        }
    }

    /// The identity.
    ///
    /// # Errors
    /// The caller has none.
    pub fn required(&self) -> Result<&Arc<CallerIdentity>, AuthFailure> {
        match self {
            Authentication::Known(identity) => Ok(identity),
            Authentication::Anonymous => Err(AuthFailure::NoCredentials),
            Authentication::UnlistedCertificate => Err(AuthFailure::UnlistedCertificate),
        }
    }

    /// Whether the caller has this role, or one that includes it. Without identities nobody has
    /// one.
    ///
    /// # Errors
    /// It has no identity, or not the role.
    pub fn expect_role(&self, role: Role) -> Result<&Arc<CallerIdentity>, AccessDenied> {
        let identity = self.required()?;
        match identity.role().is_some_and(|held| held.includes(role)) {
            true => Ok(identity),
            false => Err(AccessDenied::Role { identity: Arc::clone(identity), role }),
        }
    }
}

#[cfg(test)]
mod tests;
