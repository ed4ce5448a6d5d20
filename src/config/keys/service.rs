//! The settings of the process: where it listens, how it is secured, how it ends.

use std::path::PathBuf;
use std::sync::Arc;

use super::addresses::{directory, http_address, shown_address};
use super::kind::{secs, DraftPlace, FOREVER_SECS};
use super::{Custom, Section, SettingKey, SettingKind};
use crate::config::ClientCertificates;
use crate::core::allowed_hosts::{AllowedHosts, ALLOWED_HOSTS_MAX};
use crate::settings::{SettingFault, SettingValue};

pub(super) const fn key(name: &'static str, help: &'static str, kind: SettingKind) -> SettingKey {
    SettingKey { name, table: Section::Service, also: &[], help, default: None, live: false, kind }
}

/// The same for what a reload changes.
pub(super) const fn live(name: &'static str, help: &'static str, kind: SettingKind) -> SettingKey {
    SettingKey { live: true, ..key(name, help, kind) }
}

pub(super) const KEYS: &[SettingKey] = &[
    key("port", "gRPC port; 0 takes any free one.", SettingKind::Port(|d| &mut d.config.port)),
    key(
        "listen",
        "Host or address gRPC listens on; :: is every one, of IPv6 and IPv4.",
        SettingKind::Custom(Custom {
            value: "HOST",
            allowed: "a name or an address",
            set: |draft, value| {
                let host = value.text()?;
                if host.is_empty() {
                    return Err(value.fault("must be a name or an address"));
                }
                draft.config.listen = host.to_owned();
                Ok(())
            },
            show: |draft| Some(draft.config.listen.clone()),
            is_list: false,
        }),
    ),
    key(
        "cert",
        "PEM certificate chain of the gRPC server.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| path(value, &mut draft.cert),
            show: |draft| Some(draft.cert.display().to_string()),
            is_list: false,
        }),
    ),
    key(
        "key",
        "PEM private key of the gRPC server.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| path(value, &mut draft.key),
            show: |draft| Some(draft.key.display().to_string()),
            is_list: false,
        }),
    ),
    key(
        "client_ca",
        "PEM certificates of the authority that signs clients' certificates. Without it clients \
         are not asked for one.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| {
                let mut file = PathBuf::new();
                path(value, &mut file)?;
                draft.config.client_ca = Some(file);
                Ok(())
            },
            show: |draft| draft.config.client_ca.as_ref().map(|file| file.display().to_string()),
            is_list: false,
        }),
    ),
    key(
        "client_certificates",
        "Whether every client needs a certificate, or only one that is shown must be good.",
        SettingKind::Custom(Custom {
            value: "MODE",
            allowed: "required, optional",
            set: |draft, value| {
                draft.config.client_certificates = value.choice(&ClientCertificates::WORDS)?;
                Ok(())
            },
            show: |draft| {
                let in_force = draft.config.client_certificates;
                let word = ClientCertificates::WORDS.iter().find(|(_, it)| *it == in_force);
                word.map(|(word, _)| (*word).to_owned())
            },
            is_list: false,
        }),
    ),
    key(
        "insecure",
        "Serve gRPC without TLS. Anyone on the network path can read DSNs and leases.",
        SettingKind::Switch(|d| &mut d.insecure),
    ),
    key(
        "http",
        "Where /health and /metrics listen: HOST:PORT, or :PORT for every address.",
        SettingKind::Custom(Custom {
            value: "ADDRESS",
            allowed: "HOST:PORT or :PORT",
            set: |draft, value| {
                let text = value.text()?;
                draft.config.http = http_address(text).map_err(|rule| value.fault_shown(rule))?;
                Ok(())
            },
            show: |draft| Some(shown_address(draft.config.http)),
            is_list: false,
        }),
    ),
    key(
        "http_admin",
        "Another address, where HTTP serves all pages; the first one then serves /health and \
         /health/live only.",
        SettingKind::Custom(Custom {
            value: "ADDRESS",
            allowed: "HOST:PORT or :PORT",
            set: |draft, value| {
                let text = value.text()?;
                let address = http_address(text).map_err(|rule| value.fault_shown(rule))?;
                draft.config.http_admin = Some(address);
                Ok(())
            },
            show: |draft| draft.config.http_admin.map(shown_address),
            is_list: false,
        }),
    ),
    key(
        "http_auth",
        "Show all pages but /health and /health/live only to who has the token of an identity with \
         a role.",
        SettingKind::Switch(|d| &mut d.config.http_auth),
    ),
    key(
        "http_tls",
        "Serve HTTP over TLS, with the certificate of gRPC.",
        SettingKind::Switch(|d| &mut d.config.http_tls),
    ),
    key(
        "state_file",
        "File in which what operators change is kept over a restart, with passwords. Without it a \
         restart ends all of that.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| {
                let mut file = PathBuf::new();
                path(value, &mut file)?;
                draft.config.state_file = Some(file);
                Ok(())
            },
            show: |draft| draft.config.state_file.as_ref().map(|file| file.display().to_string()),
            is_list: false,
        }),
    ),
    live(
        "dsn_cert_dir",
        "Directory of the certificate files that a DSN may name (sslrootcert, sslcert, sslkey). \
         Without it a DSN may name no file.",
        SettingKind::Custom(Custom {
            value: "DIR",
            allowed: "a directory",
            set: |draft, value| {
                let dir = directory(value.text()?).map_err(|rule| value.fault_shown(rule))?;
                draft.config.dsn_cert_dir = Some(dir);
                Ok(())
            },
            show: |draft| {
                let dir = draft.config.dsn_cert_dir.as_ref();
                dir.map(|dir| dir.display().to_string())
            },
            is_list: false,
        }),
    ),
    SettingKey {
        default: Some("on, unless the file has tenants"),
        ..live(
            "allow_client_dsn",
            "Let clients register tenants by a DSN that they send.",
            SettingKind::Switch(|d| &mut d.config.allow_client_dsn),
        )
    },
    live(
        "allowed_hosts",
        "The hosts that DSNs of clients may name; an empty list allows all.",
        SettingKind::Custom(Custom {
            value: "LIST",
            allowed: "names, addresses and networks such as 10.0.0.0/8, 1000 at most",
            set: |draft, value| {
                draft.config.allowed_hosts = hosts(value)?;
                Ok(())
            },
            show: |draft| {
                let hosts = &draft.config.allowed_hosts;
                (!hosts.is_empty()).then(|| hosts.to_string())
            },
            is_list: true,
        }),
    ),
    live_time(
        "drain_timeout",
        "How long a stop waits for leases to end.",
        (0, FOREVER_SECS),
        |d| &mut d.config.drain_timeout,
    ),
    time(
        "keepalive_time",
        "How long a client may be silent before it gets a keepalive ping.",
        (1, 86_400),
        |d| &mut d.config.keepalive_time,
    ),
    time(
        "keepalive_timeout",
        "How long a client may take to answer the ping before its connection is closed.",
        (1, 86_400),
        |d| &mut d.config.keepalive_timeout,
    ),
    live_time(
        "leak_warning",
        "A lease held for longer is reported in the log.",
        (1, FOREVER_SECS),
        |d| &mut d.config.leak_warning,
    ),
    key(
        "no_reflection",
        "Do not answer gRPC's reflection, with which clients ask for the services and their \
         types.",
        SettingKind::Switch(|d| &mut d.no_reflection),
    ),
    key(
        "core_dumps",
        "Allow core dumps and debuggers. Both can read all tenants' passwords.",
        SettingKind::Switch(|d| &mut d.config.core_dumps),
    ),
];

const fn time(
    name: &'static str,
    help: &'static str,
    (least, most): (u64, u64),
    at: DraftPlace<std::time::Duration>,
) -> SettingKey {
    key(name, help, SettingKind::Time(secs(least, most), at))
}

const fn live_time(
    name: &'static str,
    help: &'static str,
    range: (u64, u64),
    at: DraftPlace<std::time::Duration>,
) -> SettingKey {
    SettingKey { live: true, ..time(name, help, range, at) }
}

fn path(value: &SettingValue, at: &mut PathBuf) -> Result<(), SettingFault> {
    let text = value.text()?;
    if text.is_empty() {
        return Err(value.fault("must be the path of a file"));
    }
    *at = text.into();
    Ok(())
}

fn hosts(value: &SettingValue) -> Result<Arc<AllowedHosts>, SettingFault> {
    let (list, mut hosts) = (value.list()?, AllowedHosts::default());
    if list.len() > ALLOWED_HOSTS_MAX {
        return Err(value.fault(format!("must have {ALLOWED_HOSTS_MAX} entries at most")));
    }
    let mut rules = Vec::new();
    for one in list {
        if let Err(rule) = hosts.add(one.text()?) {
            rules.push(one.fault_shown(rule).rule);
        }
    }
    match rules.is_empty() {
        true => Ok(Arc::new(hosts)),
        false => Err(value.fault(rules.join("; "))),
    }
}
