//! Logs which tenant and connection hold most memory when a limit of it is reached.

use std::time::{Duration, Instant};

use crate::pool::memory::{LimitLevel, Use};
use crate::pool::service::Service;

/// The pause between two lines of one level, because refused clients retry at once.
const PAUSE: Duration = Duration::from_secs(10);

/// The last line of each level.
#[derive(Default)]
pub(super) struct RefusalLog([LevelLog; 4]);

#[derive(Default)]
struct LevelLog {
    /// Refusals up to the last line.
    refused: u64,
    /// When the next line may be written.
    next: Option<Instant>,
}

impl LevelLog {
    /// How many refusals to report, if a line is due.
    fn due(&mut self, refused: u64, now: Instant) -> Option<u64> {
        let fresh = refused.saturating_sub(self.refused);
        if fresh == 0 || self.next.is_some_and(|next| now < next) {
            return None;
        }
        *self = LevelLog { refused, next: Some(now + PAUSE) };
        Some(fresh)
    }
}

impl RefusalLog {
    /// Logs a line for each level that has refused memory since its last line.
    pub(super) fn write(&mut self, service: &Service, now: Instant) {
        let memory = &service.context().memory;
        for (line, level) in self.0.iter_mut().zip(LimitLevel::ALL) {
            let refused = Use::ALL.iter().map(|one| memory.refused(*one, level)).sum();
            let Some(fresh) = line.due(refused, now) else { continue };
            let tenants = service.registry.all();
            let tenant = tenants.iter().max_by_key(|tenant| tenant.account().memory().used());
            let peer = service.context().peers.greatest();
            let uses = Use::ALL.iter();
            let uses = uses.map(|one| format!("{}={}", one.as_str(), memory.of(*one).used()));
            let uses = uses.collect::<Vec<_>>().join(" ");
            log::warn!(
                "event=memory_limit level={} refused={fresh} held={} limit={} {uses} tenant={} \
                 tenant_bytes={} peer={} peer_bytes={}",
                level.as_str(),
                memory.total().used(),
                memory.total().limit(),
                tenant.map_or("none", |tenant| tenant.id().as_str()),
                tenant.map_or(0, |tenant| tenant.account().memory().used()),
                peer.as_ref().map_or("none", |peer| peer.address()),
                peer.as_ref().map_or(0, |peer| peer.memory().used()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_level_that_refuses_all_the_time_has_a_line_in_ten_seconds() {
        let (mut line, now) = (LevelLog::default(), clock::now());
        assert_eq!(line.due(0, now), None);
        assert_eq!(line.due(3, now), Some(3));
        assert_eq!(line.due(9, now + PAUSE / 2), None);
        assert_eq!(line.due(9, now + PAUSE), Some(6));
        assert_eq!(line.due(9, now + 3 * PAUSE), None);
    }
}
