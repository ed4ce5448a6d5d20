//! The variables of the environment, and which of them are probably misspelt.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::keys::{ADDRESS, KEYS, SYNONYM};
use crate::client::error::Fault;
use crate::settings::nearest;

/// Variables that gRPC's libraries read themselves, and that are near to one of ours or may be.
const OF_GRPC: [&str; 10] = [
    "VERBOSITY",
    "TRACE",
    "DEFAULT_SSL_ROOTS_FILE_PATH",
    "NOT_USE_SYSTEM_SSL_ROOTS",
    "SYSTEM_SSL_ROOTS_DIR",
    "SSL_CIPHER_SUITES",
    "POLL_STRATEGY",
    "DNS_RESOLVER",
    "ENABLE_FORK_SUPPORT",
    "EXPERIMENTS",
];

/// What all variables begin with.
const START: &str = "GRPC_";

/// The variables of a process that begin with `GRPC_`.
pub(super) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    pub(super) fn of_process() -> Variables {
        let named = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(START).then_some((name, value))
        });
        Variables(named.collect())
    }

    /// None at all.
    #[cfg(feature = "config-file")]
    pub(super) fn none() -> Variables {
        Variables(BTreeMap::new())
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Variables {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        Variables(variables.iter().map(own).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// Variables with this prefix that are not known and near to one that is. They are no errors
    /// by themselves: other programs' variables begin with `GRPC_`, too.
    pub(super) fn misspelt(&self, prefix: &str) -> Vec<Fault> {
        let rest = self.0.keys().filter_map(|name| name.strip_prefix(prefix));
        let unknown = rest.filter(|rest| !is_anybodys(rest));
        unknown.filter_map(|rest| meant(prefix, rest)).collect()
    }
}

/// The ends of all names that are known.
fn known() -> impl Iterator<Item = &'static str> + Clone {
    let keys = KEYS.iter().map(|key| key.variable).filter(|name| !name.is_empty());
    ADDRESS.iter().map(|(name, _)| *name).chain(keys).chain([SYNONYM.0])
}

/// It is known, is gRPC's own, or that of a service by its name: `USERS_HOST`.
fn is_anybodys(rest: &str) -> bool {
    let of_service = |name: &str| rest.strip_suffix(name).is_some_and(|start| start.ends_with('_'));
    OF_GRPC.contains(&rest) || known().any(|name| rest == name || of_service(name))
}

/// What was probably meant by the end of a name that is not known.
fn meant(prefix: &str, rest: &str) -> Option<Fault> {
    let said = |rule| Fault { key: format!("{prefix}{rest}"), rule };
    let spelt = |key: &str| key.to_ascii_uppercase().replace('.', "_");
    let is_last = |key: &str| key.rsplit('.').next().is_some_and(|last| spelt(last) == rest);
    // Somebody made it of the key in the file, which may have no variable, or another one.
    let key = KEYS.iter().find(|key| spelt(key.name) == rest);
    let key = key.or_else(|| KEYS.iter().find(|key| is_last(key.name)));
    let name = match key {
        Some(key) if key.variable.is_empty() => {
            return Some(said(format!("is not read: {} has no variable", key.name)));
        }
        Some(key) => key.variable,
        None => nearest(rest, 0, known())?,
    };
    Some(said(format!("is not known; did you mean {prefix}{name}?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_to_a_variable_is_named_and_what_is_others_is_not() {
        let misspelt = |name: &str, prefix: &str| Variables::of(&[(name, "1")]).misspelt(prefix);
        for (name, prefix, said) in [
            ("GRPC_POOL_SISE", "GRPC_", "is not known; did you mean GRPC_POOL_SIZE?"),
            ("GRPC_HSOT", "GRPC_", "is not known; did you mean GRPC_HOST?"),
            ("GRPC_USERS_PROT", "GRPC_USERS_", "is not known; did you mean GRPC_USERS_PORT?"),
            ("GRPC_CHECKOUT_TIMEOUT", "GRPC_", "did you mean GRPC_CHECKOUT_TIMEOUT_MS?"),
            ("GRPC_HEALTH_INTERVAL", "GRPC_", "did you mean GRPC_HEALTH_CHECK_INTERVAL_SECS?"),
            ("GRPC_KEEPALIVE_TIME", "GRPC_", "is not read: connection.keepalive_time has no"),
            ("GRPC_RETRY_MAX_ATTEMPTS", "GRPC_", "is not read: retry.max_attempts has no"),
        ] {
            let sentences = misspelt(name, prefix);
            assert_eq!(sentences.len(), 1, "{name}: {sentences:?}");
            let Fault { key, rule } = &sentences[0];
            assert!(key == name && rule.contains(said), "{sentences:?}");
        }
        for name in OF_GRPC.map(|name| format!("{START}{name}")) {
            assert_eq!(misspelt(&name, START), []);
        }
        for name in ["GRPC_POOL_SIZE", "GRPC_CONNECTION_POOL_SIZE", "GRPC_PORT"] {
            assert_eq!(misspelt(name, START), [], "it is known");
        }
        for name in ["GRPC_USERS_HOST", "GRPC_A_TLS", "GRPC_GO_LOG_SEVERITY_LEVEL", "GRPC_XDS_X"] {
            assert_eq!(misspelt(name, START), [], "it is somebody else's");
        }
        assert_eq!(misspelt("GRPC_PAY_PROT", "GRPC_USERS_"), []);
    }
}
