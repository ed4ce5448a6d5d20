//! The worker that listens.

use std::sync::Arc;
use std::time::Duration;

use super::{Hub, ListenPhase};
use crate::backend::listen::Heard;
use crate::backend::session::RunError;
use crate::clock;
use crate::core::channels::{Change, Hearing};
use crate::error::{RequestError, Work};
use crate::logging;
use crate::pool::checkout::Checkout;

/// Without pings it wakes so often for nothing.
const LONG: Duration = Duration::from_secs(3600);

/// What is to be done next.
enum Next {
    /// Nobody listens any more.
    End,
    /// This, and then to wait.
    Change(Change),
}

/// Why a backend listens no longer.
#[derive(PartialEq, Eq)]
enum ListenEnd {
    /// Nobody listens any more.
    Over,
    /// It is lost.
    Lost,
    /// Its backend is to be closed for one of the new pool.
    Replaced,
}

/// The listening worker and its backend. However it leaves without an end, as in a
/// panic, the backend is lost.
struct Post {
    hub: Arc<Hub>,
    checkout: Option<Checkout>,
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            self.hub.lose_listener(checkout);
        }
    }
}

impl Hub {
    /// Listens with this backend until nobody listens any more, or it is lost.
    pub(super) fn stand(self: &Arc<Self>, checkout: Checkout) {
        let mut state = self.state.lock();
        let asked = match &state.phase {
            ListenPhase::Asked(asked) if !state.closed => Arc::clone(asked),
            _ => {
                drop(state);
                // All have left meanwhile.
                return checkout.reset();
            }
        };
        state.phase = ListenPhase::Running(Arc::clone(checkout.taken.backend.watch()));
        drop(state);
        // The request may still wait, if this is the backend of an earlier one.
        asked.leave();
        let mut post = Post { hub: Arc::clone(self), checkout: Some(checkout) };
        let ended = post.checkout.as_mut().map(|checkout| self.attend(checkout));
        let Some(checkout) = post.checkout.take_if(|_| ended != Some(ListenEnd::Lost)) else {
            return;
        };
        if ended == Some(ListenEnd::Replaced) {
            self.note_gap();
            checkout.reset();
            return self.ask_for_session();
        }
        checkout.reset();
    }

    fn attend(&self, checkout: &mut Checkout) -> ListenEnd {
        // A listener that starts or ends leaves a nudge.
        let mut nudged = true;
        let stall = self.account.context().live().limits.stall_timeout;
        // After so long without a word the connection is asked for one, as one at rest is.
        let ping = checkout.backends.settings.ping_interval;
        let silence = if ping.is_zero() { LONG } else { ping };
        // When to look for listeners that take nothing; none is behind before then.
        let mut look = None;
        loop {
            if nudged {
                match self.next_change() {
                    Next::End => return ListenEnd::Over,
                    Next::Change(_) if checkout.backends.is_retired() => {
                        return ListenEnd::Replaced
                    }
                    Next::Change(change) if !self.change(checkout, &change) => {
                        return ListenEnd::Lost
                    }
                    Next::Change(_) => {}
                }
            }
            let now = clock::now();
            let due = *look.get_or_insert(now + stall);
            if due <= now {
                look = self.give_up_stalled(now);
            }
            let wait = look.map_or(silence, |at| at.saturating_duration_since(now).min(silence));
            nudged = match checkout.taken.backend.hear(wait) {
                Ok(Heard::Notification(notification)) => {
                    self.hand_out(&notification);
                    false
                }
                Ok(Heard::Nudge) => true,
                Ok(Heard::Nothing) if ping.is_zero() => false,
                Ok(Heard::Nothing) => {
                    let backend = &mut *checkout.taken.backend;
                    if !checkout.backends.bounded(backend, |backend| backend.check()) {
                        return ListenEnd::Lost;
                    }
                    false
                }
                Err(_) => return ListenEnd::Lost,
            };
        }
    }

    /// Another backend is asked for after a pause, if anybody is left.
    fn lose_listener(self: &Arc<Self>, checkout: Checkout) {
        let listeners = self.note_gap();
        let pid = checkout.taken.backend.pid();
        if let Some(repeated) = logging::admits_state("listener_lost", self.account.id(), "") {
            log::warn!(
                "event=listener_lost tenant={} pid={pid} listeners={listeners}{repeated}",
                self.account.id()
            );
        }
        checkout.discard("lost");
        self.ask_again();
    }

    /// No listener receives anything until there is another backend. Returns how many listen.
    fn note_gap(&self) -> usize {
        let mut state = self.state.lock();
        state.channels.lost();
        let before = std::mem::take(&mut state.phase);
        state.lost_at.get_or_insert(clock::now());
        let listeners = state.channels.listeners();
        drop(state);
        drop(before);
        listeners
    }

    fn next_change(&self) -> Next {
        let mut state = self.state.lock();
        if state.members.is_empty() {
            // Under the same lock: a listener that starts now asks for a backend anew.
            let before = std::mem::take(&mut state.phase);
            state.attempts = 0;
            state.lost_at = None;
            state.channels.lost();
            drop(state);
            drop(before);
            return Next::End;
        }
        Next::Change(state.channels.change())
    }

    /// Makes a change, and reports it to those who receive from now on. False: the backend is lost.
    fn change(&self, checkout: &mut Checkout, change: &Change) -> bool {
        let mut outcome = Ok(());
        if !change.is_empty() {
            checkout.backends.bounded(&mut *checkout.taken.backend, |backend| {
                outcome = backend.listen(change);
                outcome.is_ok()
            });
        }
        if let Err(error) = outcome {
            let RunError::Fault(fault) = error else { return false };
            // As on a standby. A listener that receives its channels already goes on.
            let told = self.state.lock().channels.waiting(false);
            let work = Work::NOT_STARTED;
            for id in &told {
                self.fail(*id, RequestError::Sql { fault: fault.clone(), work });
            }
            return !told.is_empty();
        }
        let mut state = self.state.lock();
        let told = state.channels.changed(change);
        let lost_at = state.lost_at.take();
        state.attempts = 0;
        let members: Vec<_> = told
            .into_iter()
            .filter_map(|(id, hearing)| Some((hearing, state.members.get(&id)?.clone())))
            .collect();
        drop(state);
        for (hearing, member) in members {
            let wait = member.wait.lock().take();
            drop(wait);
            if hearing == Hearing::Lost {
                member.mailbox.gap(lost_at.unwrap_or_else(clock::now));
            } else {
                member.mailbox.started();
            }
        }
        true
    }
}
