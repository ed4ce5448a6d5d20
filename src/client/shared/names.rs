//! What names stand for, as the keeper learns it.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use crate::client::config::Checked;
use crate::client::destination::Destination;
use crate::client::directory::LookedUp;
use crate::client::endpoint::Endpoint;
use crate::client::error::PoolError;
use crate::clock;

impl Shared {
    /// Takes in what names stand for, and looks up those that are due. Returns when it is needed
    /// again, and whether something has changed.
    pub(super) fn look_up(&self, now: Instant) -> (Option<Instant>, bool) {
        if self.is_closed() {
            return (None, false);
        }
        let chance = self.dice.roll();
        let mut news = self.directory.lock().expire(chance, now);
        for (name, said) in self.desk.take() {
            news.push(self.directory.lock().found(name, said, chance, now));
        }
        news.retain(|one| *one != LookedUp::Same);
        if news.iter().any(|one| matches!(one, LookedUp::Moved { .. })) {
            self.take_addresses(now);
        }
        if !news.is_empty() {
            let look_ups = self.directory.lock().look_ups();
            let duty = self.lock().looked_up(look_ups, now);
            self.act(duty);
        }
        for one in &news {
            self.reporter.looked_up(one, self.config().pool.size, now);
        }
        let begun = self.directory.lock().begin(now);
        for inquiry in begun {
            self.desk.ask(inquiry);
        }
        (self.directory.lock().due(), !news.is_empty())
    }

    /// Has these addresses from now on.
    pub(in crate::client) fn set_addresses(&self, addresses: &[String]) -> Result<(), PoolError> {
        if self.is_closed() {
            return Err(PoolError::Closed { service: self.service.clone() });
        }
        let mut config = (*self.config()).clone();
        config.addresses = addresses.to_vec();
        let Checked { endpoints, .. } = config.check()?;
        self.dialer.prepare(&endpoints)?;
        self.readdress(&endpoints, clock::now());
        Ok(())
    }

    /// The addresses of the settings, or those that were set last.
    pub(in crate::client) fn endpoints(&self) -> Vec<Endpoint> {
        self.directory.lock().endpoints()
    }

    /// Has the addresses that the directory knows.
    pub(super) fn take_addresses(&self, now: Instant) {
        let sites = self.directory.lock().sites();
        let duty = self.lock().move_to(&sites, now);
        self.act(duty);
        let numbers = self.lock().numbers();
        self.reporter.retain(&numbers);
    }

    /// What channels with this number connect to.
    pub(super) fn destination(&self, number: usize) -> Option<Arc<Destination>> {
        self.directory.lock().destination(number)
    }
}
