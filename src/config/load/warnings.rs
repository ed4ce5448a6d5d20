//! What settings allow, and is seldom meant.

use super::{identity_key, Loaded};
use crate::config::GrpcTls;
use crate::core::access::TenantUsers;
use crate::settings::Origin;

impl Loaded {
    /// What the settings allow, and is seldom meant, at this time: each begins with its key and
    /// the place.
    pub fn warnings(&self, unix_secs: i64) -> Vec<String> {
        let mut told = Vec::new();
        self.warn_of_open_tokens(&mut told);
        for (name, _) in self.config.access.expired(unix_secs) {
            told.push(format!("{} has a token that has expired", self.identity_at(name)));
        }
        self.warn_of_what_does_nothing(&mut told);
        self.warn_of_stars(&mut told);
        told
    }

    /// A key, with where its value came from.
    fn key_at(&self, name: &str) -> String {
        format!("{name} ({})", self.origin_of(name))
    }

    fn identity_at(&self, name: &str) -> String {
        let at = self.identities.iter().find(|((known, _), _)| known == name);
        let at = at.map_or(&Origin::Default, |((_, at), _)| at);
        format!("{} ({at})", identity_key(name))
    }

    fn warn_of_open_tokens(&self, told: &mut Vec<String>) {
        let config = &self.config;
        let has_tokens = self.identities.iter().any(|(_, proofs)| proofs.tokens > 0);
        if has_tokens && matches!(config.tls, GrpcTls::Insecure) {
            told.push(format!(
                "{} lets everybody on the network path read the tokens of identities",
                self.key_at("insecure")
            ));
        }
        let pages = config.http_admin.unwrap_or(config.http);
        if config.http_auth && !config.http_tls && !pages.ip().is_loopback() {
            told.push(format!(
                "{} takes tokens that everybody on the network path can read, at {pages}: it \
                 needs http_tls, or an address of this machine alone",
                self.key_at("http_auth")
            ));
        }
    }

    fn warn_of_what_does_nothing(&self, told: &mut Vec<String>) {
        for (name, needed, is_there) in [
            ("client_certificates", "client_ca", self.config.client_ca.is_some()),
            ("request_burst", "requests_per_second", self.config.limits.requests_per_second > 0),
        ] {
            if !is_there && self.origin_of(name) != Origin::Default {
                told.push(format!("{} does nothing without {needed}", self.key_at(name)));
            }
        }
    }

    fn warn_of_stars(&self, told: &mut Vec<String>) {
        let access = &self.config.access;
        for (name, identity) in access.certificates() {
            if name.strip_prefix("*.").unwrap_or(name).contains('*') {
                let at = self.identity_at(identity);
                let rule = "stands for nothing there: names of certificates are compared exactly";
                told.push(format!("{at} has the certificate {name:?}, and * {rule}"));
            }
        }
        for tenant in self.config.tenants.keys() {
            let users = access.users_of(tenant).filter(|users| !users.anonymous);
            for pattern in users.into_iter().flat_map(|users| &users.identities) {
                let alone = TenantUsers { anonymous: false, identities: vec![pattern.clone()] };
                if !access.names().any(|name| alone.include(name)) {
                    let key = format!("tenants.{tenant}.identities");
                    let at = self.tenants.iter().find(|(known, _, _)| *known == key);
                    let at = at.map_or(&Origin::Default, |(_, _, at)| at);
                    let pattern = pattern.as_str();
                    told.push(format!("{key} ({at}) has {pattern:?}, which is no identity's name"));
                }
            }
        }
    }
}
