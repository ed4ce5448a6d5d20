//! Tenants that share a server, as the others of that server know them.

use std::sync::Arc;

use super::Servers;
use crate::core::ids::TenantId;
use crate::core::servers::{LineTicket, SeatId};

/// A tenant as the others of its server know it.
pub trait Neighbour: Send + Sync {
    /// Its name.
    fn id(&self) -> &TenantId;

    /// There may be room for its request with this place in line.
    fn call(&self, ticket: LineTicket);

    /// Closes the backend of this seat, if it still rests. Does not block.
    fn give_way(self: Arc<Self>, seat: SeatId);

    /// True if one backend more may be opened than there are.
    fn has_room_to_look(&self) -> bool;

    /// Looks whether its server would let somebody in. Does not block.
    fn look(self: Arc<Self>);
}

/// What it is called for where a connection is closed for the sake of another tenant.
pub(in crate::pool) const GAVE_WAY: &str = "gave_way";

/// A backend at rest that was told to go. If it could not, it is at rest as before.
pub(in crate::pool) struct Going {
    pub(in crate::pool) seat: SeatId,
    servers: Servers,
}

impl Servers {
    /// This backend, which rests, is about to be closed for others.
    pub(in crate::pool) fn going(&self, seat: SeatId) -> Going {
        Going { seat, servers: self.clone() }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.servers.book().stays(self.seat);
    }
}
