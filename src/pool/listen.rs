//! Notifications: all listeners of a tenant share one backend.
//!
//! The first listener asks for a backend like any request; the worker that gets it
//! stays with it, listens to all channels that are wanted, and hands out what
//! comes. With the last listener it ends, and the backend goes back. When the
//! connection is lost, another backend is asked for, and every listener that had
//! started receives a message that it may have missed something.

mod asking;
mod handing;
mod mailbox;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::core::budget::Share;
use crate::core::channels::{Channels, Hearing, ListenerId};
use crate::error::{QueuePosition, RequestError};
use crate::lock::Leaf;
use crate::pool::account::Account;
use crate::pool::caller::Caller;
use crate::pool::job::{Job, LEAST_PATIENCE};
use crate::threads::alarms::Alarm;

pub use mailbox::{Letter, Mailbox};

/// The time limit of the backend that all listeners share; each has one of its own, which is no
/// longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A place among a tenant's listeners. Dropped, it is given up.
pub struct Listening {
    hub: Weak<Hub>,
    id: ListenerId,
}

/// Who gives the listeners their backend: a tenant.
pub trait Host: Send + Sync {
    /// Lets a request for a backend in. `Err` gives it back from a tenant that has closed.
    fn admit(self: Arc<Self>, job: Job, wait: Duration) -> Result<(), Job>;

    /// The position of the first request in the queue.
    fn standing(&self) -> QueuePosition;
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            drop(hub.remove(self.id));
        }
    }
}

/// The listeners of one tenant.
pub struct Hub {
    state: Leaf<HubState>,
    account: Arc<Account>,
    host: Weak<dyn Host>,
    /// Where letters count that wait for them.
    memory: Share,
}

/// Guards who listens and how far their backend is. A leaf lock: mailboxes are
/// written to, and what is removed is dropped, when it is free again.
#[derive(Default)]
struct HubState {
    channels: Channels,
    members: BTreeMap<ListenerId, Member>,
    phase: ListenPhase,
    /// Backends refused, or lost at once, since notifications were received.
    attempts: u32,
    /// Pauses there have been.
    pauses: u64,
    lost_at: Option<Instant>,
    closed: bool,
}

#[derive(Clone)]
struct Member {
    mailbox: Arc<dyn Mailbox>,
    since: Instant,
    /// Ends its wait for the start.
    wait: Arc<Leaf<Option<Alarm>>>,
}

/// Where the backend is.
#[derive(Default)]
enum ListenPhase {
    /// Nobody needs one. Exit: `Asked`.
    #[default]
    None,
    /// It was asked for. Exits: `Running`, or back to `None` or `Pausing`.
    Asked(Arc<Caller>),
    /// A worker listens with it. Exits: `None`, or `Asked` when it is lost.
    Running(Arc<Watch>),
    /// One will be asked for again when the alarm rings, which is kept here once it
    /// is set. Exits: `Asked`, or `None`.
    Pausing { pause: u64, _until: Option<Alarm> },
}

/// What became of a listener that receives nothing more.
struct Removed {
    member: Member,
    /// Nobody is left for whom this backend was asked; it is taken back when this
    /// is dropped.
    asked: Option<Arc<Caller>>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Some(caller) = &self.asked {
            caller.leave();
        }
    }
}

impl Hub {
    /// Nobody listens yet. `host` gives the backend.
    pub(super) fn new(account: &Arc<Account>, host: Weak<dyn Host>) -> Arc<Hub> {
        let memory = account.context().memory.letters(account.memory());
        Arc::new(Hub { state: Leaf::default(), account: Arc::clone(account), host, memory })
    }

    /// True while nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().members.is_empty()
    }

    /// A listener goes.
    fn remove(&self, id: ListenerId) -> Option<Removed> {
        let mut state = self.state.lock();
        state.channels.remove(id);
        let member = state.members.remove(&id)?;
        let alone = state.members.is_empty();
        let asked = match &state.phase {
            ListenPhase::Asked(caller) if alone => Some(Arc::clone(caller)),
            _ => None,
        };
        if asked.is_some() {
            state.phase = ListenPhase::None;
        }
        let watch = match &state.phase {
            ListenPhase::Running(watch) => Some(Arc::clone(watch)),
            _ => None,
        };
        let paused = match &state.phase {
            ListenPhase::Pausing { .. } if alone => Some(std::mem::take(&mut state.phase)),
            _ => None,
        };
        drop(state);
        drop(paused);
        if let Some(watch) = watch {
            watch.nudge();
        }
        Some(Removed { member, asked })
    }

    /// The backends have been replaced: the backend that listens is to be one of the new.
    pub(super) fn replaced(&self) {
        let watch = match &self.state.lock().phase {
            ListenPhase::Running(watch) => Some(Arc::clone(watch)),
            ListenPhase::None | ListenPhase::Asked(_) | ListenPhase::Pausing { .. } => None,
        };
        // It looks at every nudge.
        watch.into_iter().for_each(|watch| watch.nudge());
    }

    /// A listener goes because of this.
    fn fail(&self, id: ListenerId, error: RequestError) {
        if let Some(removed) = self.remove(id) {
            removed.member.mailbox.fail(error);
        }
    }

    fn mailboxes(&self, ids: &[ListenerId]) -> Vec<(ListenerId, Arc<dyn Mailbox>)> {
        let state = self.state.lock();
        let found = ids.iter().filter_map(|id| Some((*id, state.members.get(id)?)));
        found.map(|(id, member)| (id, Arc::clone(&member.mailbox))).collect()
    }

    fn all_mailboxes(&self) -> Vec<(ListenerId, Arc<dyn Mailbox>)> {
        let state = self.state.lock();
        state.members.iter().map(|(id, member)| (*id, Arc::clone(&member.mailbox))).collect()
    }
}

impl Hub {
    /// Takes a listener up, who waits until `wait` is over for its start.
    ///
    /// # Errors
    /// If there are too many, or the tenant goes.
    pub(super) fn listen(
        self: &Arc<Self>,
        channels: BTreeSet<String>,
        mailbox: Arc<dyn Mailbox>,
        wait: Duration,
    ) -> Result<Listening, RequestError> {
        let now = clock::now();
        let most = self.account.context().live();
        let most = &most.limits.listening;
        let member = Member { mailbox, since: now, wait: Arc::default() };
        let slot = Arc::clone(&member.wait);
        let mut state = self.state.lock();
        if state.closed {
            return Err(RequestError::Draining);
        }
        let over = |what, used, limit| Err(RequestError::ServiceLimit { what, used, limit });
        let listeners = state.channels.listeners() + 1;
        if listeners > most.listeners {
            return over("listeners of one tenant", listeners, most.listeners);
        }
        let wanted = state.channels.wanted() + state.channels.fresh(&channels);
        if wanted > most.channels {
            return over("channels of one tenant", wanted, most.channels);
        }
        let id = state.channels.add(channels);
        state.members.insert(id, member);
        let running = match &state.phase {
            ListenPhase::Running(watch) => Some(Arc::clone(watch)),
            _ => None,
        };
        let idle = matches!(state.phase, ListenPhase::None);
        drop(state);
        let listening = Listening { hub: Arc::downgrade(self), id };
        if let Some(watch) = running {
            watch.nudge();
        }
        if idle {
            self.ask_for_session();
        }
        self.expire_at(id, &slot, now + wait);
        Ok(listening)
    }

    fn expire_at(self: &Arc<Self>, id: ListenerId, slot: &Leaf<Option<Alarm>>, at: Instant) {
        let hub = Arc::downgrade(self);
        let alarm = self.account.context().tools.alarms.set(at, move || {
            if let Some(hub) = hub.upgrade() {
                hub.expire_listener(id);
            }
        });
        let before = slot.lock().replace(alarm);
        drop(before);
    }

    /// The time of a listener is over in which it waits for its start. One that
    /// does not wait for others has a moment more: its start is being made.
    fn expire_listener(self: &Arc<Self>, id: ListenerId) {
        let state = self.state.lock();
        let waits = state.channels.hearing(id) == Some(Hearing::Waits);
        let member = state.members.get(&id).filter(|_| waits).cloned();
        let asked = match &state.phase {
            ListenPhase::Asked(caller) => Some(Arc::clone(caller)),
            ListenPhase::Running(_) | ListenPhase::None | ListenPhase::Pausing { .. } => None,
        };
        let running = matches!(state.phase, ListenPhase::Running(_));
        drop(state);
        let Some(Member { since, wait, .. }) = member else { return };
        if running || asked.is_some_and(|caller| !caller.is_queued()) {
            return self.expire_at(id, &wait, clock::now() + LEAST_PATIENCE);
        }
        let Some(host) = self.host.upgrade() else { return };
        let (tenant, standing) = (self.account.id().clone(), host.standing());
        let waited = clock::now().saturating_duration_since(since);
        self.fail(id, RequestError::WaitTimeout { tenant, waited, standing });
    }

    /// Ends all listening because of this; no listener is accepted any more.
    pub(super) fn end(&self, error: &RequestError) {
        let mut state = self.state.lock();
        state.closed = true;
        let told = state.channels.waiting(true);
        drop(state);
        for id in told {
            self.fail(id, error.clone());
        }
    }
}
