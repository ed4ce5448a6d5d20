//! Statements that were sent and not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::pg::prepared::Prepared;
use crate::backend::session::Statement;
use crate::backend::sqlstate;
use crate::pgwire::values::Shape;

/// The longest nap: so much later an error, or a statement's time limit, may be noticed.
const NAP_MAX: Duration = Duration::from_millis(1);
/// A shorter one would save no wake-up: the system may add as much to it.
const NAP_MIN: Duration = Duration::from_micros(50);
/// The share of a time limit that it may add to.
const OF_LIMIT: u32 = 8;

/// Statements that were sent and not answered yet. One ReadyForQuery follows all of them.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) steps: VecDeque<AwaitedStatement>,
    pub(super) sent_as: SentAs,
    /// The BEGIN of a statement in a pipeline has failed.
    not_begun: bool,
    /// A cancel may have hit another statement of a pipeline than it was meant for.
    stray: bool,
    /// When they were sent, and how many.
    sent: Option<(Instant, u32)>,
    /// How long to wait before their answers are read.
    nap: Duration,
    /// How often the socket had been read when that wait was over.
    reads: Option<u64>,
    /// How long one usually takes.
    usual: Duration,
}

/// How statements were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SentAs {
    /// As those of an atomic call.
    #[default]
    Atomic,
    /// As the only statement of a call, of which perhaps not all has been sent yet.
    Lone,
    /// As those of several requests of a session, of which perhaps not all has been sent yet.
    Pipeline,
}

/// One statement that was sent.
pub(super) struct AwaitedStatement {
    /// The statements of the request, if it was sent before its turn.
    pub(super) statements: Option<Arc<[Statement]>>,
    pub(super) sql: String,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) limit: Option<u64>,
    /// It had been prepared before this call.
    pub(super) cached: bool,
}

impl Ahead {
    /// True if an answer is still to be read.
    pub(super) fn is_awaited(&self) -> bool {
        !self.steps.is_empty()
    }

    /// True if values of what was sent may be far longer as text.
    pub(super) fn may_expand(&self) -> bool {
        let prepared = self.steps.iter().filter_map(|step| step.prepared.as_ref());
        prepared.flat_map(|prepared| &prepared.shapes).any(Shape::may_expand)
    }

    /// The next step, if it is this statement.
    pub(super) fn next(&mut self, statement: &Statement) -> Option<AwaitedStatement> {
        self.steps.front().filter(|step| step.is(statement))?;
        self.steps.pop_front()
    }

    /// True if it is the statement of this request, and was sent before its turn.
    pub(super) fn is_next(&self, statements: &[Statement]) -> bool {
        let next = self.steps.front().and_then(|step| step.statements.as_ref());
        next.is_some_and(|next| std::ptr::eq(&**next, statements))
    }

    /// These were sent, each with this time limit.
    ///
    /// PostgreSQL sends the answer to each at once. A thread that read each at once would be
    /// woken for each, which costs more than all else it does for them. So it first waits
    /// for most of the time that they are likely to take.
    pub(super) fn sent(
        &mut self,
        steps: VecDeque<AwaitedStatement>,
        limit: Duration,
        now: Instant,
    ) {
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        self.nap = (self.usual * count * 3 / 4).min(NAP_MAX).min(limit / OF_LIMIT);
        (self.sent, self.reads) = (Some((now, count)), None);
        (self.steps, self.sent_as) = (steps, SentAs::Atomic);
    }

    /// This was sent, alone.
    pub(super) fn began(&mut self, step: AwaitedStatement) {
        (self.sent, self.nap, self.sent_as) = (None, Duration::ZERO, SentAs::Lone);
        self.steps.push_back(step);
    }

    /// These were sent, of a request each.
    pub(super) fn pipelined(&mut self, steps: VecDeque<AwaitedStatement>) {
        (self.sent, self.nap, self.sent_as) = (None, Duration::ZERO, SentAs::Pipeline);
        (self.steps, self.not_begun, self.stray) = (steps, false, false);
    }

    /// True if answers of a pipeline are still to be read.
    pub(super) fn is_pipeline(&self) -> bool {
        self.is_awaited() && self.sent_as == SentAs::Pipeline
    }

    /// The BEGIN of a statement in a pipeline has failed.
    pub(super) fn has_not_begun(&mut self) {
        self.not_begun = true;
    }

    /// A cancel may have come too late for a statement whose answer was read.
    pub(super) fn was_cancelled(&mut self) {
        self.stray |= self.is_pipeline();
    }

    /// No further answer comes, as a statement has failed so. True: it may succeed alone. A cancel
    /// for another one may have hit it, or it refuses to run between BEGIN and COMMIT.
    pub(super) fn fails(&mut self, sqlstate: &str) -> bool {
        self.steps.clear();
        self.not_begun
            || sqlstate == sqlstate::IN_TRANSACTION
            || self.stray && sqlstate == sqlstate::QUERY_CANCELED
    }

    /// How long to wait before the first answer is read; the second time nothing.
    pub(super) fn take_nap(&mut self) -> Option<Duration> {
        Some(std::mem::take(&mut self.nap)).filter(|nap| *nap >= NAP_MIN)
    }

    /// The wait is over; the socket was read so often until now.
    pub(super) fn woke(&mut self, reads: u64) {
        self.reads = Some(reads);
    }

    /// All were answered, the last with success; the socket was read so often until now.
    pub(super) fn succeeded(&mut self, now: Instant, reads: u64) {
        let Some((since, count)) = self.sent.take() else { return };
        self.usual = match self.reads.take() {
            // All had come while it waited, and it is not known when: perhaps it waited too
            // long.
            Some(before) if reads.saturating_sub(before) <= 1 => self.usual * 7 / 8,
            _ => now.saturating_duration_since(since) / count.max(1),
        };
    }
}

impl AwaitedStatement {
    /// A command of the service.
    pub(super) fn command(sql: &str) -> AwaitedStatement {
        let (sql, statements) = (sql.to_owned(), None);
        AwaitedStatement { statements, sql, prepared: None, limit: None, cached: false }
    }

    /// A statement that had been prepared before.
    pub(super) fn of(sql: String, prepared: Arc<Prepared>, limit: Option<u64>) -> AwaitedStatement {
        let (statements, prepared) = (None, Some(prepared));
        AwaitedStatement { statements, sql, prepared, limit, cached: true }
    }

    /// True if it is this statement.
    fn is(&self, statement: &Statement) -> bool {
        match self.statements.as_deref() {
            Some([own]) => std::ptr::eq(own, statement),
            Some(_) => false,
            None => self.sql == statement.sql,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LIMIT: Duration = Duration::from_secs(30);

    fn sixteen() -> VecDeque<AwaitedStatement> {
        (0..16).map(|_| AwaitedStatement::command("SELECT 1")).collect()
    }

    /// The nap after a call of sixteen that took so long.
    fn nap_after(took: Duration, limit: Duration) -> Option<Duration> {
        let (mut ahead, t0) = (Ahead::default(), clock::now());
        ahead.sent(sixteen(), limit, t0);
        assert_eq!(ahead.take_nap(), None);
        ahead.succeeded(t0 + took, 17);
        ahead.sent(sixteen(), limit, t0 + took);
        let nap = ahead.take_nap();
        assert_eq!(ahead.take_nap(), None);
        nap
    }

    #[test]
    fn a_nap_is_shorter_than_the_statements_took_and_never_long() {
        let millis = Duration::from_millis;
        assert_eq!(nap_after(Duration::from_micros(400), LIMIT), Some(Duration::from_micros(300)));
        assert_eq!(nap_after(Duration::from_micros(60), LIMIT), None);
        assert_eq!(nap_after(Duration::from_secs(60), LIMIT), Some(NAP_MAX));
        assert_eq!(nap_after(Duration::from_secs(60), millis(4)), Some(millis(4) / 8));
        assert_eq!(nap_after(Duration::from_secs(60), Duration::from_micros(300)), None);
    }

    #[test]
    fn a_nap_in_which_all_has_come_is_followed_by_shorter_ones() {
        let (mut ahead, t0) = (Ahead::default(), clock::now());
        let mut nap = |woke_at, done_at| {
            ahead.sent(sixteen(), LIMIT, t0);
            let nap = ahead.take_nap().unwrap_or_default();
            ahead.woke(woke_at);
            ahead.succeeded(t0 + Duration::from_micros(800), done_at);
            nap
        };
        assert_eq!(nap(0, 17), Duration::ZERO);
        assert_eq!(nap(17, 18), Duration::from_micros(600));
        assert_eq!(nap(18, 19), Duration::from_micros(525));
        // One answer came later: that is how long they take.
        assert!(nap(19, 21) < Duration::from_micros(525));
        assert_eq!(nap(21, 22), Duration::from_micros(600));
    }
}
