//! How the listeners get their backend: asked for like any request, and again after a pause
//! when it is refused or lost.

use std::sync::Arc;

use super::{Hub, ListenPhase, LONGEST_WAIT};
use crate::clock;
use crate::core::backoff;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::random;

/// A question for a backend that is answered in every case: lost on its way, it
/// is asked again.
struct SessionRequest {
    hub: Arc<Hub>,
    asked: Arc<Caller>,
}

impl Drop for SessionRequest {
    fn drop(&mut self) {
        // Does nothing if it was answered or taken back.
        self.hub.no_session(&self.asked, &RequestError::Internal("a request was lost"));
    }
}

impl Hub {
    /// Asks for a backend, unless somebody has.
    pub(super) fn ask_for_session(self: &Arc<Self>) {
        let caller = Caller::nobody();
        let mut state = self.state.lock();
        if state.closed || state.members.is_empty() {
            return;
        }
        let before = match state.phase {
            ListenPhase::None | ListenPhase::Pausing { .. } => {
                std::mem::replace(&mut state.phase, ListenPhase::Asked(Arc::clone(&caller)))
            }
            ListenPhase::Asked(_) | ListenPhase::Running(_) => return,
        };
        drop(state);
        drop(before);
        let question = SessionRequest { hub: Arc::clone(self), asked: Arc::clone(&caller) };
        let job = Job::new(&caller, move |checkout| match checkout {
            Ok(checkout) => question.hub.stand(checkout),
            Err(error) => question.hub.no_session(&question.asked, &error),
        });
        // Listeners have time limits of their own; this one only has to be longer.
        let refused = match self.host.upgrade() {
            Some(host) => host.admit(job, LONGEST_WAIT).err(),
            None => Some(job),
        };
        if let Some(job) = refused {
            (job.deliver)(Err(RequestError::Draining));
        }
    }

    /// There is no backend. Listeners that have not started fail; those that have wait for the next
    /// attempt.
    pub(super) fn no_session(self: &Arc<Self>, asked: &Arc<Caller>, error: &RequestError) {
        let mut state = self.state.lock();
        let current =
            matches!(&state.phase, ListenPhase::Asked(caller) if Arc::ptr_eq(caller, asked));
        if !current {
            // It was taken back, or has its backend.
            return;
        }
        let before = std::mem::take(&mut state.phase);
        let passing = error.is_retryable() || matches!(error, RequestError::Internal(_));
        let told = state.channels.waiting(!passing);
        drop(state);
        drop(before);
        for id in told {
            self.fail(id, error.clone());
        }
        self.ask_again();
    }

    /// After a pause, if anybody is left.
    pub(super) fn ask_again(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let needed = !state.closed && !state.members.is_empty();
        // A new listener may have been quicker.
        if !needed || !matches!(state.phase, ListenPhase::None) {
            return;
        }
        state.pauses += 1;
        let (pause, attempt) = (state.pauses, state.attempts);
        state.attempts = attempt.saturating_add(1);
        state.phase = ListenPhase::Pausing { pause, _until: None };
        drop(state);
        let live = self.account.context().live();
        let (pause_min, pause_max) = (live.limits.listening.pause, live.limits.listening.pause_max);
        let delay = backoff::delay(attempt, pause_min, pause_max, 2.0, random::chance());
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
            ListenPhase::Pausing { pause: now, _until: until } if *now == pause => {
                until.replace(alarm)
            }
            _ => Some(alarm),
        };
        drop(state);
        drop(unneeded);
    }
}
