//! What a tenant does for others of its server.

use std::sync::Arc;

use super::upkeep::Upkeep;
use super::Tenant;
use crate::core::gate::GateState;
use crate::core::ids::TenantId;
use crate::core::servers::{LineTicket, SeatId};
use crate::pool::servers::{Neighbour, GAVE_WAY};

impl Neighbour for Tenant {
    fn id(&self) -> &TenantId {
        self.account.id()
    }

    fn call(&self, ticket: LineTicket) {
        self.line.resume(|one| one.ticket == Some(ticket));
    }

    fn give_way(self: Arc<Self>, seat: SeatId) {
        let going = self.context().servers.going(seat);
        let workers = self.context().tools.workers.clone();
        workers.run(move || {
            // Without a permit its own callers are about to take it.
            let Some(permit) = self.permit_to_look() else { return };
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
        workers.run(move || Upkeep::now(&self).look());
    }
}
