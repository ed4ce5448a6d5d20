//! The settings of the log.

use super::kind::secs;
use super::service::{key, live};
use super::{Custom, SettingKey, SettingKind};
use crate::config::LogFormat;
use crate::logging::filter::LogFilter;
use crate::logging::DEFAULT_LEVEL;

pub(super) const KEYS: &[SettingKey] = &[
    live(
        "slow_statement",
        "A request whose SQL runs for longer is reported in the log, without its text \
         (`slow_statement`); 0 = none.",
        SettingKind::Time(secs(0, 86_400), |d| &mut d.config.slow_statement),
    ),
    key(
        "log_format",
        "The form of the [log](logs.md): text, or a JSON object a line.",
        SettingKind::Custom(Custom {
            value: "FORM",
            allowed: "text, json",
            set: |draft, value| {
                draft.config.log_format = value.choice(&LogFormat::WORDS)?;
                Ok(())
            },
            show: |draft| Some(draft.config.log_format.as_str().to_owned()),
            is_list: false,
        }),
    ),
    SettingKey {
        also: &["RUST_LOG"],
        ..live(
            "log_level",
            "Which lines of the [log](logs.md) are written: `LEVEL` or `TARGET=LEVEL`, several \
             with commas. What no part names is written from `warn` on. `RUST_LOG` means the same.",
            SettingKind::Custom(Custom {
                value: "LEVEL",
                allowed: "off, error, warn, info, debug, trace, each also with TARGET= before it",
                set: |draft, value| {
                    // An empty RUST_LOG asks for nothing.
                    let spec = Some(value.text()?).filter(|spec| !spec.is_empty());
                    let spec = spec.unwrap_or(DEFAULT_LEVEL);
                    LogFilter::parse(spec).map_err(|rule| value.fault_shown(rule))?;
                    draft.config.log_level = spec.to_owned();
                    Ok(())
                },
                show: |draft| Some(draft.config.log_level.clone()),
                is_list: false,
            }),
        )
    },
];
