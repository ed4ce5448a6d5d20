//! Whether the service wants requests, for those who watch that.

use futures_channel::mpsc::{channel, Receiver, Sender};

use crate::lock::Leaf;

/// Its last state, and who is notified of a change.
#[derive(Default)]
pub struct Serving(Leaf<Watched>);

#[derive(Default)]
struct Watched {
    serving: Option<bool>,
    watchers: Vec<Sender<()>>,
}

impl Serving {
    /// Tells all who watch, if it is a change.
    pub fn set(&self, serving: bool) {
        let mut watched = self.0.lock();
        if watched.serving == Some(serving) {
            return;
        }
        watched.serving = Some(serving);
        let mut watchers = std::mem::take(&mut watched.watchers);
        drop(watched);
        // A full channel means that its watcher has yet to look.
        watchers.retain_mut(|watcher| match watcher.try_send(()) {
            Ok(()) => true,
            Err(error) => error.is_full(),
        });
        self.0.lock().watchers.append(&mut watchers);
    }

    /// Gets a message after each change; what has changed is to be looked up.
    pub fn watch(&self) -> Receiver<()> {
        let (tell, told) = channel(1);
        let mut watched = self.0.lock();
        watched.watchers.retain(|watcher| !watcher.is_closed());
        watched.watchers.push(tell);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_hears_of_changes_only_and_one_that_left_is_forgotten() {
        let serving = Serving::default();
        serving.set(true);
        let (mut one, two) = (serving.watch(), serving.watch());
        serving.set(true);
        assert!(one.try_recv().is_err());
        drop(two);
        serving.set(false);
        assert!(one.try_recv().is_ok());
        assert_eq!(serving.0.lock().watchers.len(), 1);
    }
}
