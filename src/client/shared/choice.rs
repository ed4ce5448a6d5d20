//! How a program chooses among free channels.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use crate::client::channel::Link;
use crate::client::lineup::{CheckoutWants, Free};
use crate::client::pick::{Offer, Panicked};

impl Shared {
    /// What is wanted, with the channel that the program chooses.
    pub(super) fn chosen(&self, wants: CheckoutWants, now: Instant) -> CheckoutWants {
        let Some(picker) = &self.pick else {
            return wants;
        };
        let mut free = self.lock().free(wants);
        free.retain(|one| one.channel.is_ready());
        if free.len() < 2 {
            return wants;
        }
        let offer = |one: &Free<Arc<Link>>| {
            let Free { lent, served, since, .. } = *one;
            let age = now.saturating_duration_since(since);
            Offer { address: one.channel.to().to_string(), lent, served, age }
        };
        let offers: Vec<Offer> = free.iter().map(offer).collect();
        let place = picker.choose(&offers).unwrap_or_else(|Panicked| {
            self.reporter.pick_panicked(now);
            None
        });
        let prefer = place.and_then(|place| free.get(place)).map(|one| one.slot);
        CheckoutWants { prefer, ..wants }
    }
}
