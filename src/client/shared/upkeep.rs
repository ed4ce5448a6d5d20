//! What the keeper does for a pool.

use std::sync::Arc;
use std::time::Instant;

use super::{count, Shared};
use crate::client::channel::{Link, State};
use crate::client::lineup::{Seen, View};
use crate::clock;
use crate::core::quoted::Quoted;

impl Shared {
    /// What the keeper does for this pool. Returns when it is needed again, if nobody rings.
    pub(in crate::client) fn tend(&self) -> Option<Instant> {
        let mut changed = false;
        for view in self.views() {
            let Some(link) = &view.channel else {
                continue;
            };
            changed |= self.look(&view, link);
        }
        let now = clock::now();
        let duty = self.lock().tend(self.dice.roll(), now);
        changed |= !duty.dropped.is_empty();
        self.act(duty);
        let dials = self.lock().dials(now);
        for (slot, address) in dials {
            count(&self.numbers.connects);
            let Some(link) = self.dialer.dial(address) else {
                continue;
            };
            // Whoever looks next sees it; a slot that is gone meanwhile drops its channel here.
            let surplus = self.lock().dialled(slot, link);
            drop(surplus);
        }
        if changed {
            self.tell_change();
        }
        self.lock().due()
    }

    /// Takes in how a channel is. True if that has changed.
    fn look(&self, view: &View<Arc<Link>>, link: &Link) -> bool {
        let seen = match link.state() {
            State::Ready => Seen::Ready,
            State::Connecting => Seen::Lost,
            State::Idle => {
                link.poke();
                Seen::Lost
            }
            State::Failed(error) => Seen::Failed(error),
        };
        let (news, duty) =
            self.lock().seen(view.slot, seen.clone(), self.dice.roll(), clock::now());
        self.act(duty);
        if news {
            self.tell(view.address, &seen);
        }
        news
    }

    fn tell(&self, address: usize, seen: &Seen) {
        let Some(endpoint) = self.dialer.endpoint(address) else {
            return;
        };
        let service = &self.service;
        match seen {
            Seen::Ready => {
                log::debug!("event=client_connected service={service} address={endpoint}")
            }
            Seen::Lost => log::info!("event=client_lost service={service} address={endpoint}"),
            Seen::Failed(error) => {
                count(&self.numbers.connect_failures);
                let error = Quoted(error);
                log::debug!(
                    "event=client_connect_failed service={service} address={endpoint} error={error}"
                );
            }
        }
    }
}
