//! What a tenant does for others of its server.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Servers, Wants};
use crate::clock;
use crate::core::gate::GateState;
use crate::core::servers::{SeatId, LOOK_AGAIN};
use crate::pool::job::Permit;
use crate::pool::tenant::Tenant;

/// The name in metrics of what was closed for others.
pub(in crate::pool) const GAVE_WAY: &str = "gave_way";

/// A backend at rest that was told to go. If it could not, it is at rest as before.
struct Going {
    servers: Servers,
    seat: SeatId,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.servers.book().stays(self.seat);
    }
}

impl Tenant {
    /// Closes the backend of this seat, if it still rests. Does not block.
    pub(in crate::pool) fn give_way(self: &Arc<Self>, seat: SeatId) {
        let going = Going { servers: self.context().servers.clone(), seat };
        let tenant = Arc::clone(self);
        self.context().tools.workers.run(move || {
            // Without a permit its own callers are about to take it.
            if !tenant.gate().try_take() {
                return;
            }
            let permit = Permit::new(&tenant, None);
            if let Some(taken) = tenant.store.take_seat(going.seat) {
                tenant.close(taken, GAVE_WAY);
            }
            drop(permit);
        });
    }

    /// Closes one backend that rests at this server. Does not block.
    pub(super) fn give_one_up(self: &Arc<Self>, at: SocketAddr) {
        let seat = self.context().servers.book().rested_longest(self.owner.id, at);
        seat.into_iter().for_each(|seat| self.give_way(seat));
    }

    /// True if one backend more may be opened than there are.
    pub(super) fn has_room_to_look(&self) -> bool {
        let below = self.store.open() < self.settings.max_connections;
        below && self.gate().state() == GateState::Active
    }

    /// Looks whether its server would let somebody in. Does not block.
    pub(super) fn look(self: &Arc<Self>) {
        let tenant = Arc::clone(self);
        self.context().tools.workers.run(move || tenant.look_once());
    }

    fn look_once(self: &Arc<Self>) {
        if !self.gate().try_take() {
            return;
        }
        let permit = Permit::new(self, None);
        let Ok(attempt) = self.attempt() else { return };
        let limit = self.settings.max_connections;
        let Some(count) = self.store.reserve_below(limit) else { return };
        let opened = self.open(count, self.settings.connect_timeout, attempt, &mut Wants::look());
        let Ok(taken) = opened else {
            // It may be full: then the next look is soon.
            return self.context().keeper.due(clock::now() + LOOK_AGAIN);
        };
        // Kept, it would take what somebody else waits for.
        self.close(taken, "look");
        drop(permit);
    }
}
