//! Statements on Session streams, so many ahead of their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::session_request::Kind;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{
    SessionClose, SessionExecute, SessionRequest, SessionResponse,
};

use super::calls::{accounts, select};
use crate::bench::Bench;
use crate::contest::Contender;
use crate::harness::now;
use crate::http2::{Caller, Done, Stream};
use crate::load::{Dice, Tally, Task, SESSION};

pub const DEPTHS: [&str; 3] = ["Session, depth 1", "Session, depth 4", "Session, depth 16"];

struct Session {
    stream: Stream<SessionRequest, SessionResponse>,
    dice: Dice,
    next: u64,
}

impl Session {
    fn send(&self, kind: Kind, last: bool) -> Done<()> {
        let request = SessionRequest { kind: Some(kind), ..SessionRequest::default() };
        self.stream.send(&request, last)
    }

    fn execute(&mut self) -> Done<()> {
        self.next += 1;
        let statements = vec![select(self.dice.throw(accounts()))];
        let (id, execute) = (self.next, SessionExecute::default());
        self.send(Kind::Execute(SessionExecute { id, statements, ..execute }), false)
    }

    /// True if the next answer is a good one; an error comes as an answer, too.
    async fn answer(&self) -> Done<bool> {
        Ok(match self.stream.next().await?.and_then(|said| said.kind) {
            Some(Said::Opened(_)) => true,
            Some(Said::Executed(executed)) => executed.has_response(),
            Some(_) | None => false,
        })
    }

    /// Keeps it busy until the time is over.
    async fn busy(&mut self, tally: &mut Tally, depth: usize, until: Instant) -> Done<()> {
        let mut sent = VecDeque::with_capacity(depth);
        for _ in 0..depth {
            sent.push_back(now());
            self.execute()?;
        }
        while let Some(began) = sent.pop_front() {
            if self.answer().await? {
                tally.count(began, Ok(1));
            } else {
                tally.failed += 1;
            }
            if now() < until {
                sent.push_back(now());
                self.execute()?;
            }
        }
        Ok(())
    }

    /// Waits for the end of the call, too.
    async fn close(self) -> Done<()> {
        self.send(Kind::Close(SessionClose::default()), true)?;
        while self.stream.next().await?.is_some() {}
        Ok(())
    }
}

/// Opens a session, keeps it busy until the time is over, and closes it.
fn work(caller: &Caller, open: ConnectionRequest, depth: usize) -> Task {
    let caller = caller.clone();
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            let done = async {
                let (stream, dice) = (caller.stream(&SESSION)?, Dice::new(caller.number));
                let mut session = Session { stream, dice, next: 0 };
                session.send(Kind::Open(open), false)?;
                session.answer().await?;
                session.busy(&mut tally, depth, until).await?;
                session.close().await
            };
            let done: Done<()> = done.await;
            if let Err(error) = done {
                tally.count(now(), Err(error));
            }
            tally
        })
    })
}

/// A contender for each depth.
pub fn contenders<'a>(bench: &'a Bench, callers: &'a [Caller]) -> Vec<Contender<'a>> {
    let of = |(name, depth): (&'static str, usize)| {
        Contender::new(name, move |length: Duration| {
            let task = |caller| work(caller, bench.request(), depth);
            Ok(bench.run(callers, callers.iter().map(task).collect(), length))
        })
    };
    DEPTHS.into_iter().zip([1, 4, 16]).map(of).collect()
}
