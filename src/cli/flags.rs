//! The flags of `serve`, `demo` and `check-config`, made from the table of settings.

use std::env;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::cli::{environment, logging, next_start, process};
use crate::config::keys::{self, SettingKey};
use crate::config::load::{self, Loaded};
use crate::config::raw::{RawSettings, SettingSources};
use crate::config::ServerConfig;
use crate::core::quoted::Quoted;
use crate::settings::SettingFaults;

/// The flags that were given.
#[derive(Clone, Default)]
pub(super) struct Flags {
    given: Vec<(&'static str, String)>,
    profile: Option<String>,
    file: Option<PathBuf>,
    /// Print a configuration file with every key, and end.
    pub(super) prints_defaults: bool,
}

const CONFIG: &str = "config";
const PROFILE: &str = "profile";
const PRINT: &str = "print-default-config";

impl Flags {
    /// The settings in force.
    ///
    /// # Errors
    /// Everything that is wrong with what was given.
    pub(super) fn load(&self) -> Result<Loaded, SettingFaults> {
        let raw = RawSettings::gather(&SettingSources {
            flags: self.given.clone(),
            profile: self.profile.clone(),
            file: self.file.clone(),
            variable: &|name| env::var_os(name),
        })?;
        load::load(&raw)
    }

    /// The same at the start of the process: sets the log accordingly, and warns of what is
    /// dubious.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn begin(&self) -> Result<Loaded, SettingFaults> {
        let loaded = self.load();
        if let Ok(loaded) = &loaded {
            logging::settle(&loaded.config);
        }
        process::warn_of_allocator();
        environment::warn_of_unknown();
        warn_of_exposed(&loaded);
        loaded
    }

    /// The same while a service runs that has started with other settings, perhaps.
    ///
    /// # Errors
    /// As [`load`](Self::load), and what the next start would refuse.
    pub(super) fn again(&self, running: &ServerConfig) -> Result<Loaded, SettingFaults> {
        let loaded = self.load();
        warn_of_exposed(&loaded);
        let loaded = loaded?;
        next_start::check(&loaded, running)?;
        Ok(loaded)
    }
}

fn warn_of_exposed(loaded: &Result<Loaded, SettingFaults>) {
    for path in loaded.iter().flat_map(|loaded| &loaded.exposed) {
        let path = path.display().to_string();
        log::warn!("event=config_readable_by_others path={}", Quoted(&path));
    }
}

fn argument(key: &'static SettingKey) -> Arg {
    let (flag, variable) = (key.flag(), key.variable());
    let default = match (key.default, key.default_text()) {
        (Some(words), _) => format!(" [default: {words}]"),
        (None, Some(text)) if !key.is_switch() => format!(" [default: {text}]"),
        (None, _) => String::new(),
    };
    let whole = keys::plain(key.help);
    let help = |words: &str| format!("{words} [env: {variable}]{default}");
    let argument = Arg::new(key.name)
        .long(flag.trim_start_matches('-').to_owned())
        .help(help(&key.summary()))
        .long_help(help(whole.trim_end_matches('.')));
    match key.is_switch() {
        true => argument.action(ArgAction::SetTrue),
        // Also a value that begins with a dash: the error names what is allowed instead.
        false => argument.value_name(key.kind.value_name()).allow_hyphen_values(true),
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for key in keys::keys() {
            let text = match key.is_switch() {
                true => matches.get_flag(key.name).then(|| "true".to_owned()),
                false => matches.get_one::<String>(key.name).cloned(),
            };
            self.given.extend(text.map(|text| (key.name, text)));
        }
        self.file = matches.get_one::<PathBuf>(CONFIG).cloned();
        self.profile = matches.get_one::<String>(PROFILE).cloned();
        self.prints_defaults = matches.get_flag(PRINT);
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let path = clap::value_parser!(PathBuf);
        let own = [
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .value_parser(path)
                .help("Configuration file [env: CPM_CONFIG]"),
            Arg::new(PROFILE)
                .long(PROFILE)
                .value_name("NAME")
                .help("Settings for a purpose: local, test or production [env: CPM_PROFILE]"),
            Arg::new(PRINT)
                .long(PRINT)
                .action(ArgAction::SetTrue)
                .help("Print a configuration file with every key and its default, and end"),
        ];
        command.args(own).args(keys::keys().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args(command)
    }
}
