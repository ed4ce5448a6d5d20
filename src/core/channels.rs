//! Who listens to which channels, and what is to be said to the database about it.

use std::collections::{BTreeMap, BTreeSet};

/// Names one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(u64);

/// What a listener has been told of its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Nothing yet.
    Waits,
    /// That it hears all of them.
    Hears,
    /// That it heard them, before the connection was lost.
    Lost,
}

struct Listener {
    channels: BTreeSet<String>,
    hearing: Hearing,
}

/// The listeners of one connection, and the channels it listens to for them.
#[derive(Default)]
pub struct Channels {
    listeners: BTreeMap<ListenerId, Listener>,
    /// Channel to the number of its listeners.
    wanted: BTreeMap<String, usize>,
    /// What the connection listens to.
    heard: BTreeSet<String>,
    last: u64,
}

/// What the connection is to change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Change {
    /// Channels to listen to from now on.
    pub listen: Vec<String>,
    /// Channels that nobody wants any more.
    pub unlisten: Vec<String>,
}

impl Change {
    /// True if there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.listen.is_empty() && self.unlisten.is_empty()
    }
}

impl Channels {
    /// Takes a listener up.
    pub fn add(&mut self, channels: BTreeSet<String>) -> ListenerId {
        self.last += 1;
        let id = ListenerId(self.last);
        for channel in &channels {
            *self.wanted.entry(channel.clone()).or_default() += 1;
        }
        self.listeners.insert(id, Listener { channels, hearing: Hearing::Waits });
        id
    }

    /// A listener goes. False: it had gone before.
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

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// How many channels are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// How many more there would be with these.
    pub fn fresh(&self, channels: &BTreeSet<String>) -> usize {
        channels.iter().filter(|channel| !self.wanted.contains_key(*channel)).count()
    }

    /// What a listener has been told; `None` if it has gone.
    pub fn hearing(&self, id: ListenerId) -> Option<Hearing> {
        self.listeners.get(&id).map(|listener| listener.hearing)
    }

    /// What the connection is to change.
    pub fn change(&self) -> Change {
        let listen = self.wanted.keys().filter(|channel| !self.heard.contains(*channel));
        let unlisten = self.heard.iter().filter(|channel| !self.wanted.contains_key(*channel));
        Change { listen: listen.cloned().collect(), unlisten: unlisten.cloned().collect() }
    }

    /// The connection has made the change. Returns who hears all its channels from
    /// now on, and what each had been told before.
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

    /// The connection was lost, and hears nothing any more.
    pub fn lost(&mut self) {
        self.heard.clear();
        for listener in self.listeners.values_mut() {
            if listener.hearing == Hearing::Hears {
                listener.hearing = Hearing::Lost;
            }
        }
    }

    /// Who is to be given what comes on a channel.
    pub fn hearers(&self, channel: &str) -> Vec<ListenerId> {
        let hears = |listener: &Listener| {
            listener.hearing == Hearing::Hears && listener.channels.contains(channel)
        };
        self.listeners.iter().filter(|(_, l)| hears(l)).map(|(id, _)| *id).collect()
    }

    /// Those who have never heard anything; or all.
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
        // It hears nothing before all its channels are listened to.
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
