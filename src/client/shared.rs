//! What the handles, the guards and the keeper of one pool share.

mod change;
mod checkout;
mod choice;
mod health;
mod leaks;
mod listening;
mod names;
mod outliers;
mod reload;
mod report;
mod settings;
mod upkeep;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::bell::KeeperBell;
use super::breakers::Breakers;
use super::budget::RetryBudget;
use super::channel::Link;
use super::config::{Checked, ServiceConfig, SIZE_MAX};
use super::dialer::Dialer;
use super::dice::Dice;
use super::directory::Directory;
use super::error::{ConfigError, Fault, PoolError};
use super::lineup::{ChannelView, Duty, Lineup, Reason};
use super::pick::Picker;
use super::probe::Prober;
use super::reporter::Reporter;
use super::resolver::{Desk, Resolver};
use super::seat::CheckoutSeat;
use super::watch::Watcher;
use crate::clock;
use crate::lock::{Leaf, LeafGuard};

pub(super) use checkout::Patience;
use health::Rounds;
use leaks::Leaks;
use settings::{settings, times};

type PoolLineup = Lineup<Arc<Link>, Arc<CheckoutSeat>>;

/// A pool.
pub(super) struct Shared {
    pub(super) service: String,
    /// What holds now. Held for a few instructions.
    config: Leaf<Arc<ServiceConfig>>,
    pub(super) dialer: Dialer,
    pub(super) reporter: Reporter,
    /// Held for a few instructions.
    breakers: Leaf<Arc<Breakers>>,
    /// Of repeats.
    pub(super) budget: Leaf<RetryBudget>,
    bell: KeeperBell,
    dice: Dice,
    closed: AtomicBool,
    /// Guards who has what. Never held over gRPC, a log line or the drop of a channel.
    lineup: Leaf<PoolLineup>,
    /// What the addresses stand for. Held for some arithmetic.
    directory: Leaf<Directory>,
    desk: Desk,
    /// There may be several addresses, of which one may be taken out.
    has_several: AtomicBool,
    /// The program's own choice.
    pick: Option<Picker>,
    prober: Prober,
    /// `None`: servers are asked, and not listened to. Held for a few instructions.
    watcher: Leaf<Option<Arc<Watcher>>>,
    /// Servers are to be listened to as the settings say by now.
    listens_anew: AtomicBool,
    /// Held for a few instructions.
    rounds: Leaf<Rounds>,
    /// When the files of TLS are looked at next. Held for a few instructions.
    reload_at: Leaf<Instant>,
    /// Held for some arithmetic.
    leaks: Leaf<Leaks>,
    /// When observers were last told of the status. Held for a few instructions.
    told: Leaf<Instant>,
    /// Counts the changes that somebody may wait for. Nothing is done under its lock.
    changes: Leaf<u64>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(
        service: &str,
        checked: &Checked,
        dialer: Dialer,
        bell: KeeperBell,
        reporter: Reporter,
        now: Instant,
    ) -> Shared {
        let config = checked.config.clone();
        let budget = config.retry.as_ref().map(|retry| retry.budget).unwrap_or_default();
        let settings = settings(&config, dialer.connect_timeout());
        let dice = Dice::new();
        let (times, resolves) = times(&config, &settings);
        let directory = Directory::new(&checked.endpoints, resolves, times, dice.roll(), now);
        let mut lineup = Lineup::new(settings, now);
        // It has neither channels nor waiters, so there is nothing to do.
        drop(lineup.move_to(&directory.sites(), now));
        drop(lineup.looked_up(directory.look_ups(), now));
        let resolver = config.connection.resolver.clone().unwrap_or_else(Resolver::system);
        Shared {
            service: service.to_owned(),
            lineup: Leaf::new(lineup),
            has_several: AtomicBool::new(directory.has_several()),
            directory: Leaf::new(directory),
            desk: Desk::new(resolver, bell.clone()),
            pick: config.pool.pick.clone(),
            breakers: Leaf::default(),
            budget: Leaf::new(RetryBudget::new(budget, now)),
            watcher: Leaf::new(Watcher::of(&config, dialer.runtime(), &bell)),
            listens_anew: AtomicBool::new(false),
            prober: Prober::new(&config.health, Arc::clone(dialer.runtime()), bell.clone()),
            rounds: Leaf::new(Rounds::new(&config.health, now)),
            reload_at: Leaf::new(now + config.tls.reload.unwrap_or_default()),
            config: Leaf::new(Arc::new(config)),
            dialer,
            reporter,
            told: Leaf::new(now),
            leaks: Leaf::default(),
            bell,
            dice,
            closed: AtomicBool::new(false),
            changes: Leaf::new(0),
            changed: Condvar::new(),
        }
    }

    /// The settings that hold now.
    pub(super) fn config(&self) -> Arc<ServiceConfig> {
        Arc::clone(&self.config.lock())
    }

    /// The breakers of its methods.
    pub(super) fn breakers(&self) -> Arc<Breakers> {
        Arc::clone(&self.breakers.lock())
    }

    fn lock(&self) -> LeafGuard<'_, PoolLineup> {
        self.lineup.lock()
    }

    /// Does what the lineup decided.
    fn act(&self, duty: Duty<Arc<Link>, Arc<CheckoutSeat>>) {
        if duty.is_empty() {
            return;
        }
        if duty.back {
            self.breakers().renew(clock::now());
        }
        for (seat, lent) in duty.grants {
            seat.answer(Ok(lent));
        }
        for (seat, refusal) in duty.refused {
            seat.answer(Err(refusal));
        }
        for (link, reason) in duty.dropped {
            self.ended(&link, reason);
            drop(link);
        }
    }

    /// Changes how many channels there may be: to what `to` makes of it, under the lock, so that
    /// two who change it do not undo each other.
    pub(super) fn resize(&self, to: impl FnOnce(usize) -> usize) -> Result<(), PoolError> {
        let now = clock::now();
        let mut line = self.lock();
        let before = line.size();
        let size = to(before);
        let duty = match (1..=SIZE_MAX).contains(&size) && size != before {
            true => line.resize(size, now),
            false => Duty::default(),
        };
        drop(line);
        self.refuse(size)?;
        self.act(duty);
        self.bell.ring();
        if size != before {
            self.reporter.resized(size);
        }
        Ok(())
    }

    fn refuse(&self, size: usize) -> Result<(), PoolError> {
        if size == 0 {
            return Err(PoolError::WouldEmptyPool { service: self.service.clone() });
        }
        if size > SIZE_MAX {
            let rule = format!("must be from 1 to {SIZE_MAX}, and is {size}");
            let fault = Fault { key: "pool.size".to_owned(), rule };
            return Err(PoolError::Config(ConfigError { faults: vec![fault] }));
        }
        Ok(())
    }

    /// Replaces all channels, each as soon as another one stands.
    pub(super) fn reconnect(&self) {
        let duty = self.lock().renew(Reason::Broken);
        self.act(duty);
        self.bell.ring();
    }

    /// Ends the lending. Once is as good as twice.
    pub(super) fn close(&self) {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        let duty = self.lock().close();
        self.act(duty);
        self.tell_change();
        self.bell.ring();
        if first {
            self.reporter.stopped();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// All channels as they are.
    pub(super) fn views(&self) -> Vec<ChannelView<Arc<Link>>> {
        self.lock().views()
    }

    /// How many channels there may be and should be, how many are connected, lent, and waited for.
    pub(super) fn counts(&self) -> PoolCounts {
        let line = self.lock();
        PoolCounts {
            size: line.size(),
            wanted: line.wanted(),
            ready: line.ready(),
            lent: line.lent(),
            waiting: line.waiting(),
            last_error: line.down().map(|down| down.error.clone()),
        }
    }

    /// Waits until `is_so`, at most until then; it is asked after each change.
    pub(super) fn wait_until(&self, until: Instant, is_so: impl Fn(&PoolCounts) -> bool) -> bool {
        loop {
            let before = *self.changes.lock();
            if is_so(&self.counts()) {
                return true;
            }
            let mut changes = self.changes.lock();
            while *changes == before {
                let left = until.saturating_duration_since(clock::now());
                if left.is_zero() {
                    return false;
                }
                changes = changes.wait(&self.changed, left);
            }
        }
    }

    fn tell_change(&self) {
        *self.changes.lock() += 1;
        self.changed.notify_all();
    }

    /// Any number.
    pub(super) fn chance(&self) -> u64 {
        self.dice.roll()
    }

    /// How long a call waits at most, if it has no deadline of its own.
    pub(super) fn call_timeout(&self) -> Option<Duration> {
        self.config().call.timeout
    }
}

/// How a pool stands.
#[derive(Clone, Debug)]
pub(super) struct PoolCounts {
    pub(super) size: usize,
    pub(super) wanted: usize,
    pub(super) ready: usize,
    pub(super) lent: usize,
    pub(super) waiting: usize,
    pub(super) last_error: Option<String>,
}
