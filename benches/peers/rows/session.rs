//! Statements on Session streams, so many ahead of their answers.

use std::time::{Duration, Instant};

use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::session_request::Kind;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{
    SessionClose, SessionExecute, SessionRequest, SessionResponse,
};
use futures_util::{SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};

use super::calls::{accounts, select};
use crate::bench::Bench;
use crate::contest::Contender;
use crate::harness::now;
use crate::load::{options as patient, Caller, Dice, Tally, Task};

pub const DEPTHS: [&str; 3] = ["Session, depth 1", "Session, depth 4", "Session, depth 16"];

struct Stream {
    sender: ClientDuplexSender<SessionRequest>,
    receiver: ClientDuplexReceiver<SessionResponse>,
    dice: Dice,
    next: u64,
}

impl Stream {
    async fn send(&mut self, kind: Kind) -> grpcio::Result<()> {
        let request = SessionRequest { kind: Some(kind), ..SessionRequest::default() };
        self.sender.send((request, WriteFlags::default())).await
    }

    async fn execute(&mut self) -> grpcio::Result<()> {
        self.next += 1;
        let statements = vec![select(self.dice.throw(accounts()))];
        let (id, execute) = (self.next, SessionExecute::default());
        self.send(Kind::Execute(SessionExecute { id, statements, ..execute })).await
    }

    /// True if the next answer is a good one; an error comes as an answer, too.
    async fn answer(&mut self) -> grpcio::Result<bool> {
        let said = self.receiver.next().await.transpose()?.and_then(|said| said.kind);
        Ok(match said {
            Some(Said::Opened(_)) => true,
            Some(Said::Executed(executed)) => executed.has_response(),
            Some(_) | None => false,
        })
    }
}

/// Opens a session, keeps it busy until the time is over, and closes it.
fn work(caller: &Caller, open: ConnectionRequest, depth: usize) -> Task {
    let (stub, number) = (caller.client.sql_stub().clone(), caller.number);
    Box::new(move |until| {
        Box::pin(async move {
            let mut tally = Tally::default();
            let done = async {
                let (sender, receiver) = stub.session(patient())?;
                let dice = Dice::new(number);
                let mut stream = Stream { sender, receiver, dice, next: 0 };
                stream.send(Kind::Open(open)).await?;
                stream.answer().await?;
                busy(&mut stream, &mut tally, depth, until).await?;
                match stream.send(Kind::Close(SessionClose::default())).await {
                    Ok(()) => stream.answer().await.map(drop),
                    // It was answered before gRPC could say that it was sent.
                    Err(grpcio::Error::RpcFinished(None)) => Ok(()),
                    Err(error) => Err(error),
                }
            };
            let done: grpcio::Result<()> = done.await;
            if let Err(error) = done {
                tally.count(now(), Err(error));
            }
            tally
        })
    })
}

async fn busy(
    stream: &mut Stream,
    tally: &mut Tally,
    depth: usize,
    until: Instant,
) -> grpcio::Result<()> {
    let mut sent = std::collections::VecDeque::with_capacity(depth);
    for _ in 0..depth {
        sent.push_back(now());
        stream.execute().await?;
    }
    while let Some(began) = sent.pop_front() {
        if stream.answer().await? {
            tally.count(began, Ok(1));
        } else {
            tally.failed += 1;
        }
        if now() < until {
            sent.push_back(now());
            stream.execute().await?;
        }
    }
    Ok(())
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
