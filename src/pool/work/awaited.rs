//! Requests whose answer is awaited on no thread of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::arrival::Arrival;
use crate::pool::checkout::Checkout;
use crate::pool::tools::Tools;
use crate::pool::work::begun::AfterAnswers;
use crate::pool::work::operation::Operation;
use crate::threads::here;
use crate::threads::socket_waits::{is_ready_within, Awaiting, SharedSocket};

/// How long gRPC's thread waits for the answer to the only call that there is: a point query takes
/// a third of it. A call that comes meanwhile waits as long; behind a COMMIT that was held back,
/// as long again.
const SOON: Duration = Duration::from_micros(150);

/// A request that was sent whole, and goes on with its answer.
pub(in crate::pool) trait SentRequest: Send + 'static {
    /// Where its answer comes.
    fn checkout(&self) -> Option<&Checkout>;
    /// The same, to read it.
    fn checkout_mut(&mut self) -> Option<&mut Checkout>;
    /// Reads the answers to all that was sent, which have come, and may send the rest. Does not
    /// block.
    fn advance(&mut self) -> AfterAnswers;
    /// Ends. It does not block `at_once`, when the whole answer has come; else this is a worker.
    fn finish(self, at_once: bool);
}

/// Lets a request that was sent go on once its answer has come. If the answer is long, or no
/// success, it goes on on a worker.
pub(in crate::pool) fn when_answered(
    sent: impl SentRequest,
    operation: &Arc<Operation>,
    tools: &Tools,
) {
    let (operation, tools) = (Arc::clone(operation), tools.clone());
    Box::new(Awaited { sent, operation, tools, whole: false }).wait();
}

struct Awaited<S> {
    sent: S,
    operation: Arc<Operation>,
    tools: Tools,
    /// The whole answer has come.
    whole: bool,
}

impl<S: SentRequest> Awaited<S> {
    fn wait(mut self: Box<Self>) {
        // Nobody else waits for this thread, and to hand the answer over twice would take as long
        // as the answer.
        if here::is_in_call() && self.tools.open_calls.is_alone() && self.comes_soon() {
            return self.go_on();
        }
        let waits = self.tools.socket_waits.clone();
        // Without that thread, a worker waits.
        if let Err(awaited) = waits.wait(self) {
            awaited.go_on();
        }
    }

    /// True if the answer comes at once.
    fn comes_soon(&mut self) -> bool {
        let ready = self.socket().is_some_and(|socket| is_ready_within(&socket, SOON));
        ready && self.has_come()
    }
}

impl<S: SentRequest> Awaiting for Awaited<S> {
    fn socket(&self) -> Option<SharedSocket> {
        self.sent.checkout().and_then(|checkout| checkout.taken.backend.socket())
    }

    fn has_come(&mut self) -> bool {
        let Some(checkout) = self.sent.checkout_mut() else { return true };
        let arrival = checkout.taken.backend.arrival();
        self.whole = arrival == Arrival::Whole;
        arrival != Arrival::Nothing
    }

    fn go_on(mut self: Box<Self>) {
        let next = match std::mem::take(&mut self.whole) {
            true => self.sent.advance(),
            false => AfterAnswers::Blocks,
        };
        match next {
            AfterAnswers::Awaits => self.wait(),
            AfterAnswers::Ends if self.operation.ends_undisturbed() => self.sent.finish(true),
            AfterAnswers::Ends | AfterAnswers::Blocks => {
                let Awaited { sent, tools, .. } = *self;
                tools.run(move || sent.finish(false));
            }
        }
    }
}
