//! The settings of the process: whom it serves, how it ends.

use std::sync::Arc;

use super::addresses::{directory, some_path};
use super::kind::{secs, DraftPlace, FOREVER_SECS};
use super::{Custom, Section, SettingKey, SettingKind};
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
    key(
        "state_file",
        "The file in which what operators [change](administration.md#over-a-restart) is kept over \
         a restart, with the passwords of `PutTenant`. Without it a restart ends all of that.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| some_path(value, &mut draft.config.state_file),
            show: |draft| draft.config.state_file.as_ref().map(|file| file.display().to_string()),
            is_list: false,
        }),
    ),
    live(
        "dsn_cert_dir",
        "Directory of the certificate files that a DSN may name. Without it a DSN may name no \
         file.",
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
            "Whether clients may register tenants by a DSN that they send, beside those of the \
             [file](#tenants).",
            SettingKind::Switch(|d| &mut d.config.allow_client_dsn),
        )
    },
    live(
        "allowed_hosts",
        "The [hosts](security.md#hosts-that-clients-may-name) that DSNs of clients may name, with \
         commas; an empty list allows all.",
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
        "The silence after which a client is pinged.",
        (1, 86_400),
        |d| &mut d.config.keepalive_time,
    ),
    time(
        "keepalive_timeout",
        "How long a client has to answer the ping; otherwise its streams and calls end, and with a \
         `Session` its lease.",
        (1, 86_400),
        |d| &mut d.config.keepalive_timeout,
    ),
    live_time(
        "leak_warning",
        "How long a lease may be held before it is named in the log, with its holder.",
        (1, FOREVER_SECS),
        |d| &mut d.config.leak_warning,
    ),
    key(
        "no_reflection",
        "Does not answer gRPC's reflection, with which `grpcurl` and other clients ask for the \
         services and their types; see [proto/](../proto/README.md#without-files).",
        SettingKind::Switch(|d| &mut d.no_reflection),
    ),
    key(
        "core_dumps",
        "Allows core dumps, and debuggers and tracers of the same account. Both see the passwords \
         of all tenants. Without the flag the limit of cores is 0 and the process is not dumpable.",
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
