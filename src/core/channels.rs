//! Which listeners want which channels, and which LISTEN and UNLISTEN that requires.

use std::collections::{BTreeMap, BTreeSet};

/// Names one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(u64);

/// The last that a listener has received about its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Nothing yet.
    Waits,
    /// That all of them are listened to.
    Hears,
    /// That they were listened to until the connection was lost.
    Lost,
}

struct Listener {
    channels: BTreeSet<String>,
    hearing: Hearing,
}

/// The listeners of one connection, and the channels that it listens to for them.
#[derive(Default)]
pub struct Channels {
    listeners: BTreeMap<ListenerId, Listener>,
    /// Channel to the number of its listeners.
    wanted: BTreeMap<String, usize>,
    /// What the connection listens to.
    heard: BTreeSet<String>,
    last: u64,
}

/// What the connection must change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Change {
    /// Channels to LISTEN to.
    pub listen: Vec<String>,
    /// Channels to UNLISTEN: no listener wants them any more.
    pub unlisten: Vec<String>,
}

impl Change {
    /// True if there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.listen.is_empty() && self.unlisten.is_empty()
    }
}

impl Channels {
    pub fn add(&mut self, channels: BTreeSet<String>) -> ListenerId {
        self.last += 1;
        let id = ListenerId(self.last);
        for channel in &channels {
            *self.wanted.entry(channel.clone()).or_default() += 1;
        }
        self.listeners.insert(id, Listener { channels, hearing: Hearing::Waits });
        id
    }

    /// Removes a listener. False: it was removed before.
    pub fn remove(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listeners.remove(&id) else {
            return false;
        };
        for channel in listener.channels {
            if let Some(count) = self.wanted.get_mut(&channel) {
                *count -= 1;
                if *count == 0 {
                    self.wanted.remove(&channel);
                }
            }
        }
        true
    }

    /// How many listeners there are.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// How many channels are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// How many of these channels are not wanted yet.
    pub fn fresh(&self, channels: &BTreeSet<String>) -> usize {
        channels.iter().filter(|channel| !self.wanted.contains_key(*channel)).count()
    }

    /// What a listener was last told; `None` if it was removed.
    pub fn hearing(&self, id: ListenerId) -> Option<Hearing> {
        self.listeners.get(&id).map(|listener| listener.hearing)
    }

    /// What the connection must change now.
    pub fn change(&self) -> Change {
        let listen = self.wanted.keys().filter(|channel| !self.heard.contains(*channel));
        let unlisten = self.heard.iter().filter(|channel| !self.wanted.contains_key(*channel));
        Change { listen: listen.cloned().collect(), unlisten: unlisten.cloned().collect() }
    }

    /// Notes that the connection has made the change. Returns the listeners whose channels are now
    /// all listened to, each with its state before.
    pub fn changed(&mut self, change: &Change) -> Vec<(ListenerId, Hearing)> {
        self.heard.extend(change.listen.iter().cloned());
        for channel in &change.unlisten {
            self.heard.remove(channel);
        }
        let mut told = Vec::new();
        for (id, listener) in &mut self.listeners {
            if listener.hearing != Hearing::Hears && listener.channels.is_subset(&self.heard) {
                told.push((*id, listener.hearing));
                listener.hearing = Hearing::Hears;
            }
        }
        told
    }

    /// Notes that the connection was lost, and with it all LISTENs.
    pub fn lost(&mut self) {
        self.heard.clear();
        for listener in self.listeners.values_mut() {
            if listener.hearing == Hearing::Hears {
                listener.hearing = Hearing::Lost;
            }
        }
    }

    /// The listeners that get a notification on this channel.
    pub fn hearers(&self, channel: &str) -> Vec<ListenerId> {
        let hears = |listener: &Listener| {
            listener.hearing == Hearing::Hears && listener.channels.contains(channel)
        };
        self.listeners.iter().filter(|(_, l)| hears(l)).map(|(id, _)| *id).collect()
    }

    /// The listeners whose channels were never listened to yet; with `all`, every listener.
    pub fn waiting(&self, all: bool) -> Vec<ListenerId> {
        let waits = |listener: &Listener| all || listener.hearing == Hearing::Waits;
        self.listeners.iter().filter(|(_, l)| waits(l)).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    fn change(listen: &[&str], unlisten: &[&str]) -> Change {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Change { listen: own(listen), unlisten: own(unlisten) }
    }

    #[test]
    fn a_channel_is_listened_to_once_and_until_its_last_listener_goes() {
        let mut channels = Channels::default();
        let first = channels.add(set("a b"));
        assert_eq!(channels.change(), change(&["a", "b"], &[]));
        let step = channels.change();
        assert_eq!(channels.changed(&step), [(first, Hearing::Waits)]);
        let second = channels.add(set("b c"));
        assert_eq!(channels.fresh(&set("a c d")), 1);
        // It receives nothing before all its channels are listened to.
        assert_eq!(channels.hearers("b"), [first]);
        let step = channels.change();
        assert_eq!(step, change(&["c"], &[]));
        assert_eq!(channels.changed(&step), [(second, Hearing::Waits)]);
        assert_eq!(channels.hearers("b"), [first, second]);
        assert!(channels.remove(first));
        assert!(!channels.remove(first));
        assert_eq!(channels.change(), change(&[], &["a"]));
        let step = channels.change();
        assert_eq!(channels.changed(&step), []);
        assert!(channels.change().is_empty());
        assert_eq!((channels.listeners(), channels.wanted()), (1, 2));
    }

    #[test]
    fn a_loss_is_told_to_those_who_had_heard() {
        let mut channels = Channels::default();
        let old = channels.add(set("a"));
        let step = channels.change();
        channels.changed(&step);
        let new = channels.add(set("b"));
        channels.lost();
        assert_eq!(channels.hearers("a"), []);
        assert_eq!(channels.hearing(old), Some(Hearing::Lost));
        assert_eq!(channels.waiting(false), [new]);
        assert_eq!(channels.waiting(true), [old, new]);
        let step = channels.change();
        assert_eq!(step, change(&["a", "b"], &[]));
        assert_eq!(channels.changed(&step), [(old, Hearing::Lost), (new, Hearing::Waits)]);
        channels.remove(old);
        assert_eq!(channels.hearing(old), None);
    }

    #[test]
    fn a_channel_that_was_left_and_wanted_again_meanwhile_is_listened_to_again() {
        let mut channels = Channels::default();
        let first = channels.add(set("a"));
        let step = channels.change();
        channels.changed(&step);
        channels.remove(first);
        let step = channels.change();
        // While that is being said, another comes.
        let second = channels.add(set("a"));
        assert_eq!(channels.changed(&step), []);
        let step = channels.change();
        assert_eq!(step, change(&["a"], &[]));
        assert_eq!(channels.changed(&step), [(second, Hearing::Waits)]);
    }
}
