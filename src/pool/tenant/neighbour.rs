//! What a tenant does for others of its server.

use std::sync::Arc;

use super::Tenant;
use crate::clock;
use crate::core::gate::GateState;
use crate::core::ids::TenantId;
use crate::core::servers::{LineTicket, SeatId, LOOK_AGAIN};
use crate::pool::servers::{Neighbour, Wants, GAVE_WAY};

impl Neighbour for Tenant {
    fn id(&self) -> &TenantId {
        self.account.id()
    }

    fn call(&self, ticket: LineTicket) {
        self.wake(|nap| nap.ticket == Some(ticket));
    }

    fn give_way(self: Arc<Self>, seat: SeatId) {
        let going = self.context().servers.going(seat);
        let workers = self.context().tools.workers.clone();
        workers.run(move || {
            // Without a permit its own callers are about to take it.
            if !self.gate().try_take() {
                return;
            }
            let permit = self.permit(None, false);
            let backends = self.backends();
            if let Some(taken) = backends.store.take_seat(going.seat) {
                backends.close(taken, GAVE_WAY);
            }
            drop(permit);
        });
    }

    fn has_room_to_look(&self) -> bool {
        let gate = self.gate();
        let (state, permits) = (gate.state(), gate.permits());
        drop(gate);
        state == GateState::Active && self.account.open.now() < permits
    }

    fn look(self: Arc<Self>) {
        let workers = self.context().tools.workers.clone();
        workers.run(move || self.look_once());
    }
}

impl Tenant {
    fn look_once(self: &Arc<Self>) {
        if !self.gate().try_take() {
            return;
        }
        let permit = self.permit(None, false);
        let backends = self.backends();
        let Ok(attempt) = backends.attempt(false) else { return };
        let Some(count) = backends.store.reserve_below(usize::MAX) else { return };
        let limit = backends.settings.connect_timeout;
        let (opened, turned) = backends.open(count, limit, attempt, &mut Wants::look());
        self.heed(&backends, turned);
        let Ok(taken) = opened else {
            // It may be full: then the next look is soon.
            return self.context().keeper.due(clock::now() + LOOK_AGAIN);
        };
        // Kept, it would take what somebody else waits for.
        backends.close(taken, "look");
        drop(permit);
    }
}
