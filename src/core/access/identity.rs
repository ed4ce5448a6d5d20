//! A caller who is known by name.

use std::fmt;

use crate::core::callers::CallerId;

/// An identity: a name for the log, the limits and the rules of tenants, with what it may do beyond
/// using tenants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallerIdentity {
    id: CallerId,
    role: Option<Role>,
}

/// What an identity may do beyond using tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sees all tenants, leases and backends, and changes nothing.
    Observer,
    /// It sees and changes everything.
    Admin,
}

impl Role {
    /// The words in the file.
    pub const WORDS: [(&'static str, Role); 2] =
        [("admin", Role::Admin), ("observer", Role::Observer)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Observer => "observer",
            Role::Admin => "admin",
        }
    }

    /// True if who has this role has the other one too.
    pub fn includes(self, other: Role) -> bool {
        self == other || self == Role::Admin
    }
}

/// By what an identity proves who it is, and its role. Shown as
/// `(tokens: 2, role: admin)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proofs {
    /// How many tokens it has.
    pub tokens: usize,
    /// How many names of certificates.
    pub certificates: usize,
    /// Its role, if it has one.
    pub role: Option<Role>,
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, count) in [("tokens", self.tokens), ("certificates", self.certificates)] {
            if count > 0 {
                parts.push(format!("{name}: {count}"));
            }
        }
        parts.extend(self.role.map(|role| format!("role: {}", role.as_str())));
        write!(f, "({})", parts.join(", "))
    }
}

/// The most characters of a name: as many as a tenant's.
const NAME_MAX: usize = 128;

impl CallerIdentity {
    /// An identity of this name: 1 to 128 ASCII letters, digits and `. _ - @ : /`, so that it can
    /// stand in a log line as it is.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: &str, role: Option<Role>) -> Result<CallerIdentity, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:/".contains(&byte);
        match (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_allowed) {
            true => Ok(CallerIdentity { id: CallerId::of_identity(name), role }),
            false => Err(format!(
                "must be named with 1 to {NAME_MAX} ASCII letters, digits and . _ - @ : /"
            )),
        }
    }

    pub fn name(&self) -> &str {
        self.id.as_str()
    }

    /// Who its leases are counted for.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// Its role, if it has one.
    pub fn role(&self) -> Option<Role> {
        self.role
    }
}
