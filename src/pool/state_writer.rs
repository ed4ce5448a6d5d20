//! Writes the state file: one write at a time, each of what is in force when it begins.

mod snapshot;

use std::sync::Arc;

use crate::config::changes::{self, CHANGES_MAX_BYTES};
use crate::config::ServerConfig;
use crate::core::quoted::Quoted;
use crate::pool::keeping::KeptOutcome;
use crate::pool::service::Service;
use crate::random;
use crate::settings::file::own::OwnFile;
use crate::settings::{Origin, SettingFault, SettingFaults};

impl Service {
    /// Keeps what is in force, and tells when it is kept, or why not. Does not block; `told` may be
    /// called at once.
    pub fn keep(&self, told: impl FnOnce(KeptOutcome) + Send + 'static) {
        let keeping = &self.context().keeping;
        let Some(file) = keeping.file() else { return told(Ok(())) };
        if !keeping.wait(Box::new(told)) {
            return;
        }
        let (file, writer) =
            (Arc::clone(file), StateWriter { service: self.clone(), is_done: false });
        // Without a thread the writer is dropped, and says so.
        self.context().tools.workers.run(move || writer.run(&file));
    }

    /// Checks that a start with other settings could take up again what is kept now, if anything is.
    ///
    /// # Errors
    /// What such a start would refuse.
    pub fn expect_next_start(&self, config: &ServerConfig) -> Result<(), SettingFaults> {
        let Some(file) = self.context().keeping.file() else { return Ok(()) };
        // Another file, or none, keeps nothing of this one.
        if config.state_file.as_deref() != Some(file.path()) {
            return Ok(());
        }
        let unmade = |why: String| SettingFault::new("", Origin::Default, why);
        let text = text_of(self).map_err(unmade)?;
        changes::of_text(file.path(), &text, config).map(drop)
    }
}

/// Writes until nobody waits. No other is there meanwhile, so that no older state replaces a newer
/// one.
struct StateWriter {
    service: Service,
    is_done: bool,
}

impl StateWriter {
    fn run(mut self, file: &OwnFile) {
        loop {
            let waiting = self.service.context().keeping.next_turn();
            if waiting.is_empty() {
                self.is_done = true;
                return;
            }
            let outcome = self.write(file);
            waiting.into_iter().for_each(|told| told(outcome.clone()));
        }
    }

    fn write(&self, file: &OwnFile) -> KeptOutcome {
        let context = self.service.context();
        let outcome = written(&self.service, file);
        context.tools.metrics.state_written(outcome.is_ok());
        if let Err(why) = &outcome {
            let path = file.path().display().to_string();
            log::error!("event=state_not_kept path={} error={}", Quoted(&path), Quoted(why));
        }
        outcome
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        for told in self.service.context().keeping.end_turns() {
            told(Err("no thread could write it".to_owned()));
        }
    }
}

/// The text of the file as it would be written now.
fn text_of(service: &Service) -> Result<String, String> {
    let context = service.context();
    // First, as a snapshot wants it.
    let config = context.live();
    let changes = snapshot::snapshot(&context.keeping, &service.registry, &config);
    let salt = random::bytes().map_err(|error| error.to_string())?;
    Ok(changes::text(&changes, &config, &salt))
}

fn written(service: &Service, file: &OwnFile) -> KeptOutcome {
    let text = text_of(service)?;
    if text.len() as u64 > CHANGES_MAX_BYTES {
        return Err(format!(
            "it would have {} bytes, and must not be longer than {CHANGES_MAX_BYTES}",
            text.len()
        ));
    }
    file.replace(&text).map_err(|error| error.to_string())
}
