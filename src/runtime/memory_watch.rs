//! Says who holds the memory when a limit of it is reached.

use std::time::{Duration, Instant};

use crate::pool::memory::{Level, Use};
use crate::pool::service::Service;

/// One line a level in so long: whoever is refused comes again at once.
const PAUSE: Duration = Duration::from_secs(10);

/// What was told, for each level.
#[derive(Default)]
pub(super) struct Told([Line; 4]);

#[derive(Default)]
struct Line {
    /// Refusals until then.
    refused: u64,
    /// When the next line may come.
    next: Option<Instant>,
}

impl Line {
    /// How many refusals to tell of, if it is time.
    fn due(&mut self, refused: u64, now: Instant) -> Option<u64> {
        let fresh = refused.saturating_sub(self.refused);
        if fresh == 0 || self.next.is_some_and(|next| now < next) {
            return None;
        }
        *self = Line { refused, next: Some(now + PAUSE) };
        Some(fresh)
    }
}

impl Told {
    /// Tells of the levels that have refused something.
    pub(super) fn tell(&mut self, service: &Service, now: Instant) {
        let memory = &service.context().memory;
        for (line, level) in self.0.iter_mut().zip(Level::ALL) {
            let refused = Use::ALL.iter().map(|one| memory.refused(*one, level)).sum();
            let Some(fresh) = line.due(refused, now) else { continue };
            let tenants = service.registry.all();
            let tenant = tenants.iter().max_by_key(|tenant| tenant.memory().used());
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
                tenant.map_or(0, |tenant| tenant.memory().used()),
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
        let (mut line, now) = (Line::default(), clock::now());
        assert_eq!(line.due(0, now), None);
        assert_eq!(line.due(3, now), Some(3));
        assert_eq!(line.due(9, now + PAUSE / 2), None);
        assert_eq!(line.due(9, now + PAUSE), Some(6));
        assert_eq!(line.due(9, now + 3 * PAUSE), None);
    }
}
