//! Notifications: all listeners of a tenant share one backend.
//!
//! The first listener asks for a session like any request; the worker that gets it
//! stays with it, listens to all channels that are wanted, and hands out what
//! comes. With the last listener it ends, and the backend goes back. When the
//! connection is lost, another session is asked for, and all who listened before
//! are told that they may have missed something.

mod handing;
mod mailbox;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::core::backoff;
use crate::core::budget::Share;
use crate::core::channels::{Channels, Hearing, ListenerId};
use crate::error::{Error, QueuePosition};
use crate::lock::Leaf;
use crate::pool::account::Account;
use crate::pool::caller::Caller;
use crate::pool::job::{Job, LEAST_PATIENCE};
use crate::random;
use crate::threads::alarms::Alarm;

pub use mailbox::{Letter, Mailbox};

/// Listeners of one tenant.
const LISTENERS_MAX: usize = 1000;
/// The time limit of the session that all listeners share; each has one of its own, which is no
/// longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Channels of one tenant.
const CHANNELS_MAX: usize = 1000;
/// Pauses between attempts to get a session again.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A place among a tenant's listeners. Dropped, it is given up.
pub struct Listening {
    hub: Weak<Hub>,
    id: ListenerId,
}

/// Who gives the listeners their session: a tenant.
pub trait Host: Send + Sync {
    /// Lets a request for a session in. `Err` gives it back from a tenant that has closed.
    fn admit(self: Arc<Self>, job: Job, wait: Duration) -> Result<(), Job>;

    /// How things stand for whoever is first in the queue.
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
    state: Leaf<State>,
    account: Arc<Account>,
    host: Weak<dyn Host>,
    /// Where letters count that wait for them.
    memory: Share,
}

/// Guards who listens and how far their backend is. A leaf lock: mailboxes are
/// written to, and what is removed is dropped, when it is free again.
#[derive(Default)]
struct State {
    channels: Channels,
    members: BTreeMap<ListenerId, Member>,
    phase: Phase,
    /// Sessions asked for in vain, or lost at once, since notifications were heard.
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

/// Where the session is.
#[derive(Default)]
enum Phase {
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

/// What became of a listener that is to hear no more.
struct Removed {
    member: Member,
    /// Nobody is left for whom this session was asked; it is taken back when this
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

/// A question for a session that is answered in every case: lost on its way, it
/// is asked again.
struct Question {
    hub: Arc<Hub>,
    asked: Arc<Caller>,
}

impl Drop for Question {
    fn drop(&mut self) {
        // Does nothing if it was answered or taken back.
        self.hub.no_session(&self.asked, &Error::Internal("a request was lost"));
    }
}

impl Hub {
    /// Nobody listens yet. `host` gives the session.
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
            Phase::Asked(caller) if alone => Some(Arc::clone(caller)),
            _ => None,
        };
        if asked.is_some() {
            state.phase = Phase::None;
        }
        let watch = match &state.phase {
            Phase::Running(watch) => Some(Arc::clone(watch)),
            _ => None,
        };
        let paused = match &state.phase {
            Phase::Pausing { .. } if alone => Some(std::mem::take(&mut state.phase)),
            _ => None,
        };
        drop(state);
        drop(paused);
        if let Some(watch) = watch {
            watch.nudge();
        }
        Some(Removed { member, asked })
    }

    /// The backends have been replaced: the session that listens is to be one of the new.
    pub(super) fn replaced(&self) {
        let watch = match &self.state.lock().phase {
            Phase::Running(watch) => Some(Arc::clone(watch)),
            Phase::None | Phase::Asked(_) | Phase::Pausing { .. } => None,
        };
        // It looks at every nudge.
        watch.into_iter().for_each(|watch| watch.nudge());
    }

    /// A listener goes because of this.
    fn fail(&self, id: ListenerId, error: Error) {
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
    ) -> Result<Listening, Error> {
        let now = clock::now();
        let member = Member { mailbox, since: now, wait: Arc::default() };
        let slot = Arc::clone(&member.wait);
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Draining);
        }
        let over = |what, used, limit| Err(Error::ServiceLimit { what, used, limit });
        if state.channels.listeners() >= LISTENERS_MAX {
            return over("listeners of one tenant", LISTENERS_MAX + 1, LISTENERS_MAX);
        }
        let wanted = state.channels.wanted() + state.channels.fresh(&channels);
        if wanted > CHANNELS_MAX {
            return over("channels of one tenant", wanted, CHANNELS_MAX);
        }
        let id = state.channels.add(channels);
        state.members.insert(id, member);
        let running = match &state.phase {
            Phase::Running(watch) => Some(Arc::clone(watch)),
            _ => None,
        };
        let idle = matches!(state.phase, Phase::None);
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
            Phase::Asked(caller) => Some(Arc::clone(caller)),
            Phase::Running(_) | Phase::None | Phase::Pausing { .. } => None,
        };
        let running = matches!(state.phase, Phase::Running(_));
        drop(state);
        let Some(Member { since, wait, .. }) = member else { return };
        if running || asked.is_some_and(|caller| !caller.is_queued()) {
            return self.expire_at(id, &wait, clock::now() + LEAST_PATIENCE);
        }
        let Some(host) = self.host.upgrade() else { return };
        let (tenant, standing) = (self.account.id().clone(), host.standing());
        let waited = clock::now().saturating_duration_since(since);
        self.fail(id, Error::WaitTimeout { tenant, waited, standing });
    }

    /// Asks for a session, unless somebody has.
    fn ask_for_session(self: &Arc<Self>) {
        let caller = Caller::nobody();
        let mut state = self.state.lock();
        if state.closed || state.members.is_empty() {
            return;
        }
        let before = match state.phase {
            Phase::None | Phase::Pausing { .. } => {
                std::mem::replace(&mut state.phase, Phase::Asked(Arc::clone(&caller)))
            }
            Phase::Asked(_) | Phase::Running(_) => return,
        };
        drop(state);
        drop(before);
        let question = Question { hub: Arc::clone(self), asked: Arc::clone(&caller) };
        let job = Job::new(&caller, move |session| match session {
            Ok(session) => question.hub.stand(session),
            Err(error) => question.hub.no_session(&question.asked, &error),
        });
        // Listeners have time limits of their own; this one only has to be longer.
        let refused = match self.host.upgrade() {
            Some(host) => host.admit(job, LONGEST_WAIT).err(),
            None => Some(job),
        };
        if let Some(job) = refused {
            (job.deliver)(Err(Error::Draining));
        }
    }

    /// There is none: who waits is told, who listened before waits for the next
    /// attempt.
    fn no_session(self: &Arc<Self>, asked: &Arc<Caller>, error: &Error) {
        let mut state = self.state.lock();
        let current = matches!(&state.phase, Phase::Asked(caller) if Arc::ptr_eq(caller, asked));
        if !current {
            // It was taken back, or has its session.
            return;
        }
        let before = std::mem::take(&mut state.phase);
        let passing = error.is_retryable() || matches!(error, Error::Internal(_));
        let told = state.channels.waiting(!passing);
        drop(state);
        drop(before);
        for id in told {
            self.fail(id, error.clone());
        }
        self.ask_again();
    }

    /// After a pause, if anybody is left.
    fn ask_again(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let needed = !state.closed && !state.members.is_empty();
        // A new listener may have been quicker.
        if !needed || !matches!(state.phase, Phase::None) {
            return;
        }
        state.pauses += 1;
        let (pause, attempt) = (state.pauses, state.attempts);
        state.attempts = attempt.saturating_add(1);
        state.phase = Phase::Pausing { pause, _until: None };
        drop(state);
        let delay = backoff::delay(attempt, PAUSE_MIN, PAUSE_MAX, 2.0, random::chance());
        let hub = Arc::downgrade(self);
        let alarm = self.account.context().tools.alarms.set(clock::now() + delay, move || {
            if let Some(hub) = hub.upgrade() {
                hub.ask_for_session();
            }
        });
        let mut state = self.state.lock();
        // The alarm may have been quicker. One that has rung must not be kept for
        // the next pause, which would have no end.
        let unneeded = match &mut state.phase {
            Phase::Pausing { pause: now, _until: until } if *now == pause => until.replace(alarm),
            _ => Some(alarm),
        };
        drop(state);
        drop(unneeded);
    }

    /// Ends all listening because of this; nobody is taken up any more.
    pub(super) fn end(&self, error: &Error) {
        let mut state = self.state.lock();
        state.closed = true;
        let told = state.channels.waiting(true);
        drop(state);
        for id in told {
            self.fail(id, error.clone());
        }
    }
}
