//! What operators had changed before the start.

use std::sync::mpsc;

use crate::config::{changes, ServerConfig};
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::service::Service;
use crate::settings::file::own::OwnFile;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// Takes up what the state file keeps, if there is to be one, and writes it anew: a file that cannot
/// be written is an error now, and not when somebody relies on it.
///
/// # Errors
/// The file is another process's or none of the service, cannot be read or written, or keeps what
/// the settings leave no room for.
pub(super) fn restore(service: &Service, config: &ServerConfig) -> Result<(), SettingFaults> {
    let Some(path) = &config.state_file else { return Ok(()) };
    let file = OwnFile::take(path)?;
    let kept = changes::read(path, config)?;
    for dropped in &kept.dropped {
        let (what, at) = (&dropped.what, dropped.origin.to_string());
        log::warn!(
            "event=state_dropped key={} what={} at={} message=\"the configuration has changed since\"",
            Quoted(&dropped.key),
            Quoted(what),
            Quoted(&at)
        );
    }
    let keeping = &service.context().keeping;
    keeping.begin(file);
    service.registry.restore(&kept.changes).map_err(|not| {
        let key = format!("tenants.{}", not.tenant);
        let at = kept.shown.iter().find(|(known, _, _)| *known == key);
        let at = at.map_or(Origin::Default, |(_, _, at)| at.clone());
        SettingFault::new(&key, at, format!("cannot be taken up again: {}", not.error))
    })?;
    if let Some(level) = &kept.changes.log_level {
        // It was checked when it was read.
        let _ = logging::set_level(level);
        keeping.log_level(Some(level));
    }
    for (key, what, at) in &kept.shown {
        let at = at.to_string();
        log::info!(
            "event=state_restored key={} what={} at={}",
            Quoted(key),
            Quoted(what),
            Quoted(&at)
        );
    }
    let (told, outcome) = mpsc::channel();
    service.keep(move |kept| drop(told.send(kept)));
    let unwritten = |why: String| {
        let path = path.display().to_string().into();
        SettingFault::new("", Origin::File { path, line: 0 }, format!("cannot be written: {why}"))
    };
    let outcome = outcome.recv().unwrap_or_else(|_| Err("its writer has ended".to_owned()));
    outcome.map_err(|why| unwritten(why).into())
}
