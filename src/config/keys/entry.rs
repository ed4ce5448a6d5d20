//! Where the service listens, over gRPC and HTTP, and how that is secured.

use super::addresses::{http_address, path, shown_address, some_path};
use super::service::key;
use super::{Custom, SettingKey, SettingKind};
use crate::config::ClientCertificates;

pub(super) const KEYS: &[SettingKey] = &[
    key(
        "port",
        "gRPC port; 0 takes any free one. `-port` is understood too.",
        SettingKind::Port(|d| &mut d.config.port),
    ),
    key(
        "listen",
        "Host or address gRPC listens on. `::` is every address of IPv6 and IPv4, or of IPv4 where \
         the system knows no IPv6; so is `0.0.0.0`, because gRPC treats them alike. Any other \
         address is used as it is.",
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
        "Certificate chain of the gRPC server, PEM.",
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
        "Private key of the gRPC server, PEM, without a passphrase.",
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
        "Certificates of the authority that signs [clients' \
         certificates](security.md#client-certificates), PEM. Without it clients are not asked for \
         one.",
        SettingKind::Custom(Custom {
            value: "FILE",
            allowed: "a file",
            set: |draft, value| some_path(value, &mut draft.config.client_ca),
            show: |draft| draft.config.client_ca.as_ref().map(|file| file.display().to_string()),
            is_list: false,
        }),
    ),
    key(
        "client_certificates",
        "With `--client-ca`: whether every client needs a certificate in the TLS handshake, or \
         only one that is shown must be good.",
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
        "gRPC without TLS: anyone on the network path can read DSNs and leases.",
        SettingKind::Switch(|d| &mut d.insecure),
    ),
    key(
        "http",
        "Where HTTP listens: `HOST:PORT`, or `:PORT` for every address of IPv6 and IPv4. \
         `0.0.0.0:PORT` is IPv4 alone.",
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
        "Another address, where HTTP serves all pages; that of `--http` then serves `/health` and \
         `/health/live` only.",
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
        "All pages but `/health` and `/health/live` need `Authorization: Bearer TOKEN` of an \
         [identity](security.md#identities) with a role.",
        SettingKind::Switch(|d| &mut d.config.http_auth),
    ),
    key(
        "http_tls",
        "HTTP over TLS 1.2 or 1.3, with `--cert` and `--key`.",
        SettingKind::Switch(|d| &mut d.config.http_tls),
    ),
];
