//! The end of a session in order.

use std::time::Duration;

use super::Conversation;

/// How long the end of a session is waited for. PostgreSQL needs some milliseconds.
pub const FAREWELL: Duration = Duration::from_millis(500);

impl Conversation {
    /// Ends the session in order, and waits until the other side has closed, for `limit` at most.
    pub fn end(&mut self, limit: Duration) {
        if !self.says_goodbye() {
            return;
        }
        self.gone = true;
        // It is closed in any case.
        let _ = self.stream.socket().poll(false, None, Some(limit));
    }

    /// Sends Terminate, if anybody may listen: PostgreSQL logs every client that closes without
    /// it. Before the login is over nothing is sent.
    pub(super) fn says_goodbye(&mut self) -> bool {
        if !self.facts.ready || self.is_gone() {
            return false;
        }
        self.out.clear();
        self.out.terminate();
        self.stream.try_write(self.out.bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::backend::conversation::pair::pair;

    #[test]
    #[allow(clippy::disallowed_methods)] // The server.
    fn a_session_has_ended_once_the_server_has_closed_its_side() {
        let (mut conversation, mut server) = pair();
        let has_closed = Arc::<AtomicBool>::default();
        let closes = Arc::clone(&has_closed);
        let server = thread::spawn(move || {
            let mut terminate = [0; 5];
            server.read_exact(&mut terminate).expect("Terminate");
            // Others have their turn, so that who does not wait is ahead.
            (0..100).for_each(|_| thread::yield_now());
            closes.store(true, Ordering::SeqCst);
            drop(server);
            terminate
        });
        conversation.facts.ready = true;
        conversation.end(Duration::from_secs(60));
        assert!(has_closed.load(Ordering::SeqCst));
        assert!(conversation.is_gone());
        assert_eq!(server.join().expect("no panic"), *b"X\0\0\0\x04");
    }
}
