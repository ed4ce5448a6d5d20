//! Attempts of a unary call at the same time, of which the first good answer wins.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::call_error::{Code, Delivery, Error};
use super::config::Hedge;
use super::unary::{Answered, Start, Try};
use super::wait::wait;
use super::way::Way;
use crate::clock;

/// A call with the attempts that run.
struct Race<'a, R> {
    way: &'a mut Way,
    hedge: Hedge,
    running: Vec<Try<R>>,
    /// When the next attempt starts, if it may.
    next: Option<Instant>,
}

/// Without a pause a thread would spin while no connection is free. Settings have none that short;
/// a call's options may.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// When one more attempt may start.
fn due(hedge: Hedge) -> Instant {
    clock::after(clock::now(), hedge.delay.max(PAUSE_MIN))
}

/// Starts an attempt, and after each pause without an answer one more on another free connection,
/// never waiting for one; one that has failed is followed at once.
pub(super) fn race<R>(
    way: &mut Way,
    hedge: Hedge,
    start: Start<'_, R>,
) -> Result<Answered<R>, Error> {
    let connection = way.connect()?;
    let first = Try::begin(way, connection, start)?;
    let next = Some(due(hedge));
    let mut race = Race { way, hedge, running: vec![first], next };
    let result = race.run(start);
    race.leave();
    result
}

impl<R> Race<'_, R> {
    fn run(&mut self, start: Start<'_, R>) -> Result<Answered<R>, Error> {
        loop {
            match self.wait() {
                Some((index, Ok(message))) => {
                    let won = self.running.swap_remove(index);
                    if !won.attempt.is_first() {
                        self.way.meter.hedge_won();
                    }
                    return Ok(won.answered(self.way, message));
                }
                Some((index, Err(error))) => self.lost(index, error, start)?,
                None => self.overdue(start)?,
            }
        }
    }

    /// The first attempt that ends; `None` when something is due before.
    fn wait(&mut self) -> Option<(usize, Result<R, Error>)> {
        let Race { way, running, next, .. } = self;
        let until = running.iter().filter_map(Try::until).chain(*next).min();
        let any = poll_fn(|context| {
            for (index, one) in running.iter_mut().enumerate() {
                if let Poll::Ready(result) = one.poll(way, context) {
                    return Poll::Ready((index, result));
                }
            }
            Poll::Pending
        });
        wait(pin!(any), until)
    }

    /// Ends what takes too long, and starts what is due.
    fn overdue(&mut self, start: Start<'_, R>) -> Result<(), Error> {
        let now = clock::now();
        let late = |one: &Try<R>| one.until().is_some_and(|until| until <= now);
        while let Some(index) = self.running.iter().position(late) {
            let error = self.running[index].expire(self.way);
            self.lost(index, error, start)?;
        }
        if self.next.is_some_and(|next| next <= now) {
            self.more(start)?;
        }
        Ok(())
    }

    /// An attempt has failed: the call does, too, or another attempt follows, or one runs still.
    fn lost(&mut self, index: usize, error: Error, start: Start<'_, R>) -> Result<(), Error> {
        let lost = self.running.swap_remove(index);
        self.way.attempted(&lost.attempt, Some(&error));
        drop(lost);
        let code = error.code();
        let codes = self.way.plan.retry.as_ref().map(|retry| &retry.codes);
        let may_be_better = match (&error, codes) {
            (_, Some(codes)) => codes.contains(&code),
            (Error::Rpc(error), None) => error.is_retryable(),
            (Error::Pool(_), None) => false,
        };
        if !may_be_better {
            return Err(error);
        }
        self.more(start)?;
        match self.running.is_empty() {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Starts one more attempt, if there may be one and a connection is free for it.
    fn more(&mut self, start: Start<'_, R>) -> Result<(), Error> {
        if self.way.attempts >= self.hedge.max_attempts {
            self.next = None;
            return Ok(());
        }
        self.next = Some(due(self.hedge));
        if let Some(connection) = self.way.spare() {
            self.way.meter.hedged();
            self.running.push(Try::begin(self.way, connection, start)?);
        }
        Ok(())
    }

    /// Ends the attempts that run still.
    fn leave(&mut self) {
        for mut one in std::mem::take(&mut self.running) {
            one.cancel();
            let message = "another attempt has ended the call".to_owned();
            let error = self.way.error(Code::Cancelled, message, Delivery::Unknown).into();
            self.way.attempted(&one.attempt, Some(&error));
        }
    }
}
