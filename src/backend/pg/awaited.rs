//! Statements that were sent and not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::pg::prepared::Prepared;
use crate::backend::sqlstate;
use crate::backend::statement::Statement;
use crate::pgwire::values::Shape;

/// The share of a time limit that statements which are sent together usually take at most: it
/// seldom passes for one of them before its own time is over.
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
    /// PostgreSQL need not answer each of them at once.
    together: bool,
    /// How long one usually takes, if that is known.
    usual: Option<Duration>,
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

    /// True if PostgreSQL need not answer so many at once, each of which may take so long.
    ///
    /// A Flush behind each makes it do so, and the time limit of one begins when the one before it
    /// has ended. Without it they have one limit, and are run again if that passes while another
    /// one than the first runs. So it is left out only where it is known that they are quick.
    pub(super) fn may_go_together(&self, count: usize, limit: Duration) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.usual.is_some_and(|usual| usual.saturating_mul(count) <= limit / OF_LIMIT)
    }

    /// These were sent.
    pub(super) fn sent(&mut self, steps: VecDeque<AwaitedStatement>, together: bool, now: Instant) {
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        (self.sent, self.together) = (Some((now, count)), together);
        (self.steps, self.sent_as) = (steps, SentAs::Atomic);
    }

    /// This was sent, alone.
    pub(super) fn began(&mut self, step: AwaitedStatement) {
        (self.sent, self.together, self.sent_as) = (None, false, SentAs::Lone);
        self.steps.push_back(step);
    }

    /// These were sent, of a request each.
    pub(super) fn pipelined(&mut self, steps: VecDeque<AwaitedStatement>) {
        (self.sent, self.together, self.sent_as) = (None, false, SentAs::Pipeline);
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

    /// True if those that are awaited were sent together.
    pub(super) fn is_together(&self) -> bool {
        self.is_awaited() && self.together
    }

    /// A statement of a call has failed so, and PostgreSQL runs none behind it. How long they take
    /// is not known any more if they were cut short.
    pub(super) fn is_cut(&mut self, sqlstate: &str) {
        self.steps.clear();
        self.usual = self.usual.filter(|_| sqlstate != sqlstate::QUERY_CANCELED);
    }

    /// All were answered, the last with success.
    pub(super) fn succeeded(&mut self, now: Instant) {
        if let Some((since, count)) = self.sent.take() {
            self.usual = Some(now.saturating_duration_since(since) / count.max(1));
        }
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

    fn commands(count: usize) -> VecDeque<AwaitedStatement> {
        (0..count).map(|_| AwaitedStatement::command("SELECT 1")).collect()
    }

    #[test]
    fn statements_go_together_that_usually_take_a_small_part_of_their_limit() {
        let (mut ahead, t0, millis) = (Ahead::default(), clock::now(), Duration::from_millis);
        assert!(!ahead.may_go_together(1, millis(3_600_000)), "nothing is known of them");
        ahead.sent(commands(16), false, t0);
        assert!(ahead.is_awaited() && !ahead.is_together());
        ahead.succeeded(t0 + millis(16));
        assert!(ahead.may_go_together(10, millis(80)) && !ahead.may_go_together(11, millis(80)));
        // What they take is measured each time, however they were sent.
        ahead.sent(commands(16), true, t0);
        assert!(ahead.is_together());
        ahead.steps.clear();
        assert!(!ahead.is_together());
        ahead.succeeded(t0 + millis(160));
        assert!(!ahead.may_go_together(10, millis(80)) && ahead.may_go_together(10, millis(800)));
        // So does an error tell nothing of it, unless it is that they were cut short.
        ahead.sent(commands(16), true, t0);
        ahead.is_cut("23505");
        assert!(!ahead.is_awaited() && ahead.may_go_together(10, millis(800)));
        ahead.is_cut(sqlstate::QUERY_CANCELED);
        assert!(!ahead.may_go_together(1, millis(3_600_000)));
    }
}
