//! Whether the channels of a pool work, by probes.

use std::time::{Duration, Instant};

use super::{Down, Duty, Lineup, LineupSlot, Phase, Place, Reason, SlotId};
use crate::core::health::Round;

/// A channel that did not answer, or whose server does not serve, is asked again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// When channels are probed, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// One that was idle for so long is probed; `None`: only in rounds.
    pub ping: Option<Duration>,
    /// One that did not answer so often in a row is replaced.
    pub tries: u32,
    /// One whose server did not serve is lent again after so many good answers in a row.
    pub successes: u32,
}

/// What a probe has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server has answered.
    Alive,
    /// The server says that it does not serve.
    NotServing,
    /// There was no answer, for this reason.
    Silent(String),
}

/// What a probe has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// The channel is not lent any more.
    Sick,
    /// It is lent again.
    Well,
}

/// What is known of one channel.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// When it was last used or has answered.
    heard: Instant,
    /// A probe is under way.
    probing: bool,
    /// A round waits for it.
    in_round: bool,
    /// Probes in a row without an answer.
    silent: u32,
    /// Good answers in a row since it is sick.
    good: u32,
    /// Why it is not lent.
    sick: Option<Down>,
}

impl Check {
    pub(super) fn new(now: Instant) -> Check {
        Check { heard: now, probing: false, in_round: false, silent: 0, good: 0, sick: None }
    }

    /// Somebody has used it.
    pub(super) fn used(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Its server does not serve. True if that is news.
    pub(super) fn refuse(&mut self, now: Instant) -> bool {
        self.good = 0;
        let is_news = self.sick.is_none();
        if is_news {
            let error = "the server says that it does not serve".to_owned();
            self.sick = Some(Down { error, since: now });
        }
        is_news
    }

    /// Its server serves. True if that is news.
    pub(super) fn serve(&mut self) -> bool {
        self.sick.take().is_some()
    }

    /// When it is probed next, unless a round begins.
    fn due(&self, checks: Checks) -> Option<Instant> {
        let doubtful = self.silent > 0 || self.sick.is_some();
        let pause = if doubtful { Some(AGAIN) } else { checks.ping };
        pause.filter(|_| !self.probing).map(|pause| self.heard + pause)
    }
}

impl<C: Clone, W> Lineup<C, W> {
    /// Begins a round: all channels that nobody has are probed.
    pub fn begin_round(&mut self) {
        for slot in &mut self.slots {
            slot.check.in_round = slot.is_connected() && slot.lent == 0;
        }
    }

    /// The channels to probe now; true: for a round. A lent one is not, its calls tell enough.
    pub fn probes(&mut self, now: Instant) -> Vec<(SlotId, C, bool)> {
        let checks = self.settings.checks;
        let mut probes = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| slot.is_connected() && slot.lent == 0) {
            let is_due = slot.check.due(checks).is_some_and(|due| due <= now);
            if let Some(channel) = slot
                .channel
                .clone()
                .filter(|_| (is_due || slot.check.in_round) && !slot.check.probing)
            {
                slot.check.probing = true;
                probes.push((slot.id, channel, slot.check.in_round));
            }
        }
        probes
    }

    /// When the next channel is to be probed.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        let idle = self.slots.iter().filter(|slot| slot.is_connected() && slot.lent == 0);
        idle.filter_map(|slot| slot.check.due(self.settings.checks)).min()
    }

    /// Takes in what a probe has found. One that did not answer for too often goes, and is
    /// replaced; one whose server does not serve stays, and is not lent.
    pub fn checked(
        &mut self,
        slot: SlotId,
        found: &ProbeOutcome,
        chance: u64,
        now: Instant,
    ) -> (Option<HealthChange>, Duty<C, W>) {
        let (mut duty, checks) = (Duty::default(), self.settings.checks);
        let Some(index) = self.index(slot) else {
            return (None, duty);
        };
        let place = self.place(self.slots[index].address);
        let refuses = place.is_some_and(Place::refuses);
        let LineupSlot { check, phase, .. } = &mut self.slots[index];
        if !check.probing {
            // It was asked of a connection that is gone.
            return (None, duty);
        }
        (check.probing, check.in_round, check.heard) = (false, false, now);
        let mut change = None;
        match found {
            ProbeOutcome::Alive => {
                check.silent = 0;
                check.good += 1;
                if check.good >= checks.successes && !refuses && check.serve() {
                    change = Some(HealthChange::Well);
                }
            }
            ProbeOutcome::NotServing => {
                check.silent = 0;
                change = check.refuse(now).then_some(HealthChange::Sick);
            }
            ProbeOutcome::Silent(_) => {
                (check.silent, check.good) = (check.silent + 1, 0);
                if check.silent >= checks.tries && matches!(phase, Phase::Ready { .. }) {
                    *phase = Phase::Draining(Reason::Health);
                    self.settle(index, &mut duty);
                }
            }
        }
        self.serve(&mut duty, chance, now);
        self.despair(&mut duty, now);
        (change, duty)
    }

    /// How many channels work and how many do not, unless a round is under way.
    pub fn round(&self) -> Option<Round> {
        let is_over = !self.slots.iter().any(|slot| slot.check.in_round && slot.check.probing);
        let working = self.ready();
        let failed = self.wanted().saturating_sub(working);
        is_over.then_some(Round { working, failed })
    }
}

impl<C> LineupSlot<C> {
    /// It stands, and its server serves.
    pub(super) fn may_be_lent(&self) -> bool {
        self.is_connected() && self.check.sick.is_none()
    }

    /// Why it stands and is not lent.
    pub(super) fn sick(&self) -> Option<&Down> {
        self.check.sick.as_ref().filter(|_| self.is_connected())
    }

    /// While it stands and nobody has it: when it was last used or probed.
    pub(super) fn heard(&self) -> Option<Instant> {
        (self.is_connected() && self.lent == 0).then_some(self.check.heard)
    }

    /// Probes in a row that were not answered.
    pub(super) fn silent(&self) -> u32 {
        self.check.silent
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }
}
