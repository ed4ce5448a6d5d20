//! A file of settings that is looked at now and then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{ConnectionManager, Services};
use crate::client::config::{Config, ServiceConfig};
use crate::client::error::PoolError;
use crate::client::keeper::Tended;
use crate::clock;
use crate::core::quoted::Quoted;
use crate::lock::Leaf;

/// What a file was found to hold: settings that were taken, or what is wrong with them.
type Read = Result<BTreeMap<String, ServiceConfig>, String>;

/// Looks at the file of one manager.
pub(super) struct Watching {
    /// Weakly: the manager ends with its last user.
    manager: Weak<Services>,
    path: PathBuf,
    period: Duration,
    /// Held for a few instructions.
    next: Leaf<Instant>,
    /// What was taken, or told. Only the keeper looks.
    last: Leaf<Read>,
    /// What the look before has found.
    before: Leaf<Option<Read>>,
}

impl Tended for Watching {
    fn tend(&self) -> Option<Instant> {
        let now = clock::now();
        let mut next = self.next.lock();
        let is_due = *next <= now;
        if is_due {
            *next = now + self.period;
        }
        let due = *next;
        drop(next);
        if is_due {
            self.look();
        }
        Some(due)
    }
}

impl Watching {
    /// Takes what has changed. What is wrong is told once; it is tried again later, because a
    /// file that the settings name may be there by then.
    fn look(&self) {
        let config = Config::from_file(&self.path).map_err(|error| error.to_string());
        let read: Read = match &config {
            Ok(config) if config.services.is_empty() => Err("it has no services".to_owned()),
            Ok(config) => Ok(config.services.clone()),
            Err(error) => Err(error.clone()),
        };
        let last = self.last.lock().clone();
        let before = self.before.lock().replace(read.clone());
        // Somebody may be writing it: twice the same is done.
        if last == read || before.as_ref() != Some(&read) {
            return;
        }
        let taken = match (read, config, self.manager.upgrade()) {
            (Ok(services), Ok(config), Some(manager)) => {
                let applied = ConnectionManager(manager).apply(&config);
                applied.map(|_| services).map_err(|error: PoolError| error.to_string())
            }
            (read, ..) => read,
        };
        if let Some(error) = taken.as_ref().err().filter(|_| last != taken) {
            let (file, error) = (self.path.display().to_string(), Quoted(error));
            let file = Quoted(&file);
            log::error!("event=client_settings_invalid file={file} error={error}");
        }
        *self.last.lock() = taken;
    }
}

impl ConnectionManager {
    /// Looks at the file that it was opened from so often, if it was.
    pub(super) fn watch_file(&self, period: Option<Duration>) {
        let Some((file, period)) = self.0.file.as_ref().zip(period) else {
            return;
        };
        let watching = Arc::new(Watching {
            manager: Arc::downgrade(&self.0),
            path: file.path.clone(),
            period,
            next: Leaf::new(clock::now()),
            last: Leaf::new(Ok(file.services.clone())),
            before: Leaf::default(),
        });
        let kept: Arc<dyn Tended> = Arc::clone(&watching) as Arc<dyn Tended>;
        self.0.context.keeper.keep(Arc::downgrade(&kept));
        // A manager is opened once.
        let _ = self.0.watching.set(watching);
    }
}
