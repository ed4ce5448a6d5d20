//! The one answer of a request.

use futures_channel::oneshot;

use crate::error::RequestError;

/// A request's one answer. Dropped unused, it answers with an internal error.
pub struct Responder<T>(Option<oneshot::Sender<Result<T, RequestError>>>);

/// Where the answer arrives.
pub type PendingAnswer<T> = oneshot::Receiver<Result<T, RequestError>>;

impl<T> Responder<T> {
    /// A responder and the place where it arrives.
    pub fn new() -> (Responder<T>, PendingAnswer<T>) {
        let (sender, receiver) = oneshot::channel();
        (Responder(Some(sender)), receiver)
    }

    /// Answers. If nobody waits any more, the answer comes back.
    pub fn send(mut self, answer: Result<T, RequestError>) -> Option<Result<T, RequestError>> {
        self.0.take().and_then(|sender| sender.send(answer).err())
    }
}

impl<T> Drop for Responder<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // The caller may have left already.
            let _ =
                sender.send(Err(RequestError::Internal("the request was lost inside the service")));
        }
    }
}
