//! Who may use a tenant.

/// Who may use a configured tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantUsers {
    /// Everybody, with an identity or without one.
    pub anonymous: bool,
    /// The identities that may.
    pub identities: Vec<IdentityPattern>,
}

/// Names identities: one exactly, or all that differ in one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern(String);

impl TenantUsers {
    /// True if nobody may.
    pub fn is_nobody(&self) -> bool {
        !self.anonymous && self.identities.is_empty()
    }

    /// Whether this identity may.
    pub fn include(&self, identity: &str) -> bool {
        self.anonymous || self.identities.iter().any(|pattern| pattern.matches(identity))
    }
}

impl IdentityPattern {
    /// Reads a pattern: a name, in which one part between slashes may be `*` for any such part, as
    /// in `spiffe://example.com/*/shop`. `*` alone is every identity.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<IdentityPattern, String> {
        let stars = text.matches('*').count();
        let whole = text.split('/').filter(|part| *part == "*").count();
        if text.is_empty() || stars != whole || stars > 1 {
            return Err(
                "must be the names of identities, in which one part between slashes may be *"
                    .to_owned(),
            );
        }
        Ok(IdentityPattern(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, if it is that of one identity.
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }

    fn matches(&self, identity: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        let (mut wanted, mut parts) = (self.0.split('/'), identity.split('/'));
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some("*"), Some(part)) if !part.is_empty() => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_part_of_a_name_and_alone_every_name() {
        let matches = |pattern: &str, name: &str| {
            IdentityPattern::parse(pattern).expect("a pattern").matches(name)
        };
        for (pattern, name) in [
            ("shop", "shop"),
            ("*", "shop"),
            ("*", "spiffe://x/shop"),
            ("spiffe://x/*", "spiffe://x/shop"),
            ("spiffe://x/*/web", "spiffe://x/shop/web"),
            ("*/web", "shop/web"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("shop", "shops"),
            ("shop", "Shop"),
            ("shop", "shop/web"),
            ("spiffe://x/*", "spiffe://x/"),
            ("spiffe://x/*", "spiffe://x/shop/web"),
            ("spiffe://x/*", "spiffe://y/shop"),
            ("spiffe://x/*/web", "spiffe://x/shop/db"),
            ("*/web", "web"),
            ("*/web", "a/b/web"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        for wrong in ["", "sh*", "*shop", "a/*/b/*", "**", "a/**"] {
            assert!(IdentityPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
