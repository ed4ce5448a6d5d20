//! What the logins of requests and of checks say of a tenant whose checks do not get in.

use super::Backends;
use crate::core::health::Round;
use crate::error::ConnectError;

/// A tenant without a connection whose checks found no room so often in a row is starving,
/// although nobody waits: one alone may have met a moment in which others changed places.
const FRUITLESS: u32 = 3;

/// What became of a tenant's last logins.
#[derive(Default)]
pub(in crate::pool) struct RecentLogins {
    /// The last to be answered was refused for what it is: another would be, too.
    refused: bool,
    /// One was, since the last round.
    refused_anew: bool,
    /// Checks in a row that found no room.
    fruitless: u32,
    /// A round has failed for that.
    lacked_room: bool,
}

impl RecentLogins {
    /// One has failed.
    pub(super) fn failed(&mut self, cause: &ConnectError) {
        if !cause.is_retryable() {
            (self.refused, self.refused_anew) = (true, true);
        }
    }
}

impl Backends {
    /// A login has succeeded.
    pub(in crate::pool) fn is_let_in(&self) {
        self.record.lock().logins = RecentLogins::default();
        self.context().servers.fed(self.id());
    }

    /// A round with what requests met since the last. A check may be put off, or find no
    /// room; that their login is refused is known all the same.
    pub(in crate::pool) fn with_refusals(&self, round: Round) -> Round {
        let alive = usize::from(self.account.alive() > 0);
        let mut record = self.record.lock();
        let anew = std::mem::take(&mut record.logins.refused_anew);
        let lasts = record.logins.refused && (alive == 0 || round.working == 0);
        match anew || lasts {
            true => Round { working: alive, failed: round.failed.max(1) },
            false => round,
        }
    }

    /// A check has found no room at a server. `may_wait`: a request would get some, as
    /// something rests there that would give way.
    pub(in crate::pool) fn found_no_room(&self, cause: &ConnectError, may_wait: bool) -> Round {
        let works = self.account.alive() > 0;
        let mut record = self.record.lock();
        let logins = &mut record.logins;
        if works || may_wait {
            logins.fruitless = 0;
            let is_back = logins.lacked_room;
            drop(record);
            if is_back {
                self.context().servers.fed(self.id());
            }
            return Round { working: usize::from(is_back), failed: 0 };
        }
        logins.fruitless = logins.fruitless.saturating_add(1);
        logins.lacked_room = true;
        let starves = logins.fruitless >= FRUITLESS;
        drop(record);
        if starves {
            self.context().servers.starved(self.id(), cause);
        }
        self.checked(Err(&cause.to_string()));
        Round { working: 0, failed: 1 }
    }
}
