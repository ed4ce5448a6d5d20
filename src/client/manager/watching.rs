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
    /// Held for some comparisons. Only the keeper looks.
    looks: Leaf<FileLooks>,
}

/// What was found so far.
struct FileLooks {
    /// What was taken, or told.
    last: Read,
    /// What the look before has found.
    before: Option<Read>,
}

impl FileLooks {
    /// Whether this is to be taken: it is not what was taken, and the look before has found the
    /// same, because somebody may be writing it.
    fn is_due(&mut self, read: &Read) -> bool {
        let before = self.before.replace(read.clone());
        self.last != *read && before.as_ref() == Some(read)
    }

    /// Keeps what came of it. Returns the error if it was not told before.
    fn keep(&mut self, taken: Read) -> Option<String> {
        let is_news = self.last != taken;
        self.last = taken;
        self.last.as_ref().err().filter(|_| is_news).cloned()
    }
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
        if !self.looks.lock().is_due(&read) {
            return;
        }
        let taken = match (read, config, self.manager.upgrade()) {
            (Ok(services), Ok(config), Some(manager)) => {
                let applied = ConnectionManager(manager).apply(&config);
                applied.map(|_| services).map_err(|error: PoolError| error.to_string())
            }
            (read, ..) => read,
        };
        let error = self.looks.lock().keep(taken);
        if let Some(error) = error {
            let (file, error) = (self.path.display().to_string(), Quoted(&error));
            let file = Quoted(&file);
            log::error!("event=client_settings_invalid file={file} error={error}");
        }
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
            looks: Leaf::new(FileLooks { last: Ok(file.services.clone()), before: None }),
        });
        let kept: Arc<dyn Tended> = Arc::clone(&watching) as Arc<dyn Tended>;
        self.0.context.keeper.keep(Arc::downgrade(&kept));
        // A manager is opened once.
        let _ = self.0.watching.set(watching);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(size: usize) -> Read {
        let mut one = ServiceConfig::test("127.0.0.1", 1);
        one.pool.size = size;
        Ok(BTreeMap::from([("users".to_owned(), one)]))
    }

    #[test]
    fn what_is_new_is_taken_when_two_looks_in_a_row_have_found_it() {
        let mut looks = FileLooks { last: of(1), before: None };
        assert!(!looks.is_due(&of(1)) && !looks.is_due(&of(1)), "it is what holds");
        assert!(!looks.is_due(&of(2)), "somebody may be writing it");
        assert!(!looks.is_due(&Err("half of it".to_owned())));
        assert!(!looks.is_due(&of(2)), "it was other things meanwhile");
        assert!(looks.is_due(&of(2)));
        assert_eq!(looks.keep(of(2)), None);
        assert!(!looks.is_due(&of(2)), "it was taken");
    }

    #[test]
    fn an_error_is_told_once_and_what_has_failed_is_tried_again() {
        let (bad, mut looks) =
            (Err("no such key".to_owned()), FileLooks { last: of(1), before: None });
        let told = |looks: &mut FileLooks, taken: &Read| looks.keep(taken.clone()).is_some();
        assert!(!looks.is_due(&of(2)) && looks.is_due(&of(2)));
        // A file of TLS that it names is bad, for three looks.
        assert!(told(&mut looks, &bad));
        for _ in 0..2 {
            assert!(looks.is_due(&of(2)) && !told(&mut looks, &bad));
        }
        assert!(looks.is_due(&of(2)) && !told(&mut looks, &of(2)), "it is good by now");
        assert!(!looks.is_due(&bad) && looks.is_due(&bad) && told(&mut looks, &bad));
        assert!(!looks.is_due(&bad), "what is wrong with the file itself is not tried again");
    }
}
