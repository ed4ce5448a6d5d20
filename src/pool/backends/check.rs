//! Whether backends still answer.

use std::time::{Duration, Instant};

use super::Backends;
use crate::clock;
use crate::core::losses::Loss;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::manager::Slot;
use crate::pool::store::Taken;

impl Backends {
    /// The present generation of backends.
    pub(in crate::pool) fn generation(&self) -> u64 {
        self.losses.lock().generation()
    }

    /// True if so many others were lost that this one is in doubt too, or if it
    /// doubts itself whether its server is still what the DSN asks for.
    pub(in crate::pool) fn is_doubtful(&self, slot: &Slot) -> bool {
        slot.generation < self.generation() || slot.backend.is_doubtful()
    }

    /// The backend has answered; the question was asked in this generation.
    pub(in crate::pool) fn answered(&self, taken: &mut Taken, generation: u64, now: Instant) {
        taken.generation = generation;
        taken.answered_at = now;
        self.worked(now);
    }

    /// A backend of the tenant has just done its work.
    pub(in crate::pool) fn worked(&self, now: Instant) {
        self.record.lock().worked_at = now;
    }

    /// Whether a backend answers within `limit`.
    pub(in crate::pool) fn answers(&self, taken: &mut Taken, limit: Duration) -> bool {
        let generation = self.generation();
        let answers = self.bounded_by(&mut *taken.backend, limit, |backend| backend.check());
        if answers {
            self.answered(taken, generation, clock::now());
        }
        answers
    }

    /// Closes a backend that did not answer. True: others are in doubt.
    #[must_use]
    pub(in crate::pool) fn broken(&self, mut taken: Taken) -> bool {
        let in_doubt = self.note_loss(&mut taken);
        self.close(taken, "failed_check");
        in_doubt
    }

    /// If the connection of this backend is lost, others may be. True: those at rest are to
    /// be looked at before anybody gets them. Does not block.
    #[must_use]
    pub(in crate::pool) fn note_loss(&self, taken: &mut Taken) -> bool {
        if !taken.backend.is_closed() {
            return false;
        }
        let words = taken.backend.watch().last_words();
        let loss = Loss::of(words.as_ref().map(|words| &*words.sqlstate));
        let now = clock::now();
        let in_doubt = self.losses.lock().lost(loss, taken.generation, now);
        if in_doubt {
            if let Some(repeated) = logging::admits_state("idle_backends_suspect", self.id(), "") {
                let words = words.map_or_else(String::new, |words| words.to_string());
                let (id, words) = (self.id(), Quoted(&words));
                log::warn!("event=idle_backends_suspect tenant={id} last_words={words}{repeated}");
            }
        }
        self.trouble(now);
        in_doubt
    }
}
