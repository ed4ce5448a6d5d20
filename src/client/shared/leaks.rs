//! Who keeps a connection for too long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use crate::client::borrower::Borrower;
use crate::client::channel::Link;
use crate::client::error::Holder;
use crate::client::lineup::{ChannelLoan, ChannelView, SlotId};

/// Where nothing is due, loans are looked for no more often.
const LOOK: Duration = Duration::from_secs(1);

/// The loans that were reported as too long.
#[derive(Debug, Default)]
pub(super) struct Leaks(BTreeSet<(SlotId, Instant)>);

impl Leaks {
    /// The loans that are as long as that and were not found before, and when to look next: when
    /// the first of the others is, or when one that has not begun yet may be. Nobody rings for a
    /// loan, so that a checkout stays cheap.
    fn look(
        &mut self,
        loans: impl Iterator<Item = (SlotId, ChannelLoan)>,
        longest: Duration,
        now: Instant,
    ) -> (Vec<ChannelLoan>, Instant) {
        let (mut next, mut found) = (now + longest.max(LOOK), Vec::new());
        let before = std::mem::take(&mut self.0);
        for (slot, loan) in loans {
            let due = loan.since + longest;
            if now < due {
                next = next.min(due);
                continue;
            }
            if !before.contains(&(slot, loan.since)) {
                found.push(loan);
            }
            self.0.insert((slot, loan.since));
        }
        (found, next)
    }
}

/// Who has it, and for how long, if that was said.
pub(super) fn holder(loan: &ChannelLoan, now: Instant) -> Option<Holder> {
    let Borrower { at, thread } = loan.by?;
    Some(Holder { at, thread, held: now.saturating_duration_since(loan.since) })
}

impl Shared {
    /// Tells of connections that are lent for too long, each loan once. Returns when it looks
    /// next.
    pub(super) fn find_leaks(
        &self,
        views: &[ChannelView<Arc<Link>>],
        now: Instant,
    ) -> Option<Instant> {
        let longest = self.config().pool.leak_warning?;
        let loans = views.iter().filter_map(|view| Some((view.slot, view.loan?)));
        let (found, next) = self.leaks.lock().look(loans, longest, now);
        for holder in found.iter().filter_map(|loan| holder(loan, now)) {
            self.reporter.leak(&holder);
        }
        (!self.is_closed()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn a_loan_is_told_once_when_it_is_due_and_the_next_one_anew() {
        let (t0, longest) = (start(), ms(600_000));
        let mut leaks = Leaks::default();
        let loan = |slot: u64, begun: u64| {
            (SlotId::of(slot), ChannelLoan { since: t0 + ms(begun), by: None })
        };
        let mut look = |loans: &[(SlotId, ChannelLoan)], at: u64| {
            let (found, next) = leaks.look(loans.iter().copied(), longest, t0 + ms(at));
            let begun = found.iter().map(|loan| loan.since.duration_since(t0).as_millis());
            (begun.collect::<Vec<_>>(), next.duration_since(t0).as_millis())
        };
        assert_eq!(look(&[], 0), (vec![], 600_000), "a loan that begins now is due then");
        let two = [loan(1, 1_000), loan(2, 5_000)];
        assert_eq!(look(&two, 600_000), (vec![], 601_000), "when the first is due");
        assert_eq!(look(&two, 601_000), (vec![1_000], 605_000));
        assert_eq!(look(&two, 601_500), (vec![], 605_000), "it was told");
        assert_eq!(look(&two, 700_000), (vec![5_000], 1_300_000));
        assert_eq!(look(&[loan(1, 700_000)], 1_300_000), (vec![700_000], 1_900_000), "lent again");
    }

    #[test]
    fn a_short_limit_does_not_keep_the_keeper_busy() {
        let t0 = start();
        let (found, next) = Leaks::default().look(std::iter::empty(), ms(1), t0);
        assert_eq!((found.len(), next), (0, t0 + LOOK));
    }
}
