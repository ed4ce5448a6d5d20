//! Short answers, awaited by a thread that must not wait for the rest of one.

use super::Conversation;
use crate::backend::arrival::Arrival;
use crate::pgwire::read::Outlook;

/// Most bytes of an answer that is read at once.
const BYTES: usize = 8 << 10;
/// Most messages of it.
const MESSAGES: usize = 200;
/// Most reads for it: PostgreSQL sends it in one piece, and that may lie across two records of
/// TLS.
const READS: u32 = 4;

impl Conversation {
    /// Reads what has come. Does not block. After a few reads that were not enough, somebody else
    /// is to wait for the rest.
    pub fn arrival(&mut self) -> Arrival {
        // What was not sent yet is sent by whoever waits.
        if self.is_gone() || self.out.length() > 0 {
            return Arrival::Other;
        }
        loop {
            let outlook = self.reader.outlook();
            if is_long(&outlook) {
                return Arrival::Other;
            }
            if outlook.ready > 0 {
                self.looks = 0;
                return Arrival::Whole;
            }
            self.looks += 1;
            if self.looks > READS {
                self.looks = 0;
                return Arrival::Other;
            }
            match self.read_ahead() {
                Ok(true) if self.count().is_ok() => {}
                Ok(false) => return Arrival::Nothing,
                // It is found again by whoever reads next.
                Ok(true) | Err(_) => return Arrival::Other,
            }
        }
    }

    /// True if a whole short answer is in the buffer, and no error.
    pub fn has_answer(&self) -> bool {
        let outlook = self.reader.outlook();
        outlook.ready > 0 && !is_long(&outlook)
    }

    /// True if something is still to be sent.
    pub fn is_sending(&self) -> bool {
        self.out.length() > 0
    }
}

/// True for what is not read at once.
fn is_long(Outlook { failed, messages, bytes, .. }: &Outlook) -> bool {
    *failed || *messages > MESSAGES || *bytes > BYTES
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;

    use super::*;
    use crate::backend::conversation::pair::pair;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const COMPLETE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";

    /// What is seen once all of this has come.
    fn seen(conversation: &mut Conversation, server: &mut TcpStream, bytes: &[u8]) -> Arrival {
        server.write_all(bytes).expect("room");
        conversation.stream.socket().poll(false, None, None).expect("it comes");
        conversation.arrival()
    }

    #[test]
    fn an_answer_is_whole_with_its_ready_for_query_and_read_no_further() {
        let (mut conversation, mut server) = pair();
        assert_eq!(conversation.arrival(), Arrival::Nothing);
        assert_eq!(seen(&mut conversation, &mut server, COMPLETE), Arrival::Nothing);
        assert_eq!(seen(&mut conversation, &mut server, READY), Arrival::Whole);
        assert!(conversation.has_answer());
        conversation.skip().expect("it is there");
        assert!(!conversation.has_answer());
        assert_eq!(conversation.arrival(), Arrival::Nothing);
    }

    #[test]
    fn errors_and_what_is_long_are_for_a_thread_that_may_wait() {
        let error: &[u8] = b"E\0\0\0\x05\0";
        let notice: &[u8] = b"N\0\0\0\x05\0";
        let row = [&b"D\0\0\x20\0"[..], &[0; 0x2000 - 4]].concat();
        let cases = [
            ("an error", [error, READY].concat()),
            ("messages", [notice.repeat(MESSAGES), READY.to_vec()].concat()),
            ("bytes", [&row[..], READY].concat()),
        ];
        for (what, bytes) in cases {
            let (mut conversation, mut server) = pair();
            assert_eq!(seen(&mut conversation, &mut server, &bytes), Arrival::Other, "{what}");
        }
        let (mut conversation, mut server) = pair();
        let fits = [notice.repeat(MESSAGES - 1), READY.to_vec()].concat();
        assert_eq!(seen(&mut conversation, &mut server, &fits), Arrival::Whole);
    }

    #[test]
    fn what_drips_is_looked_at_a_few_times_and_an_end_is_seen() {
        let (mut conversation, mut server) = pair();
        let looks =
            (0..).take_while(|_| seen(&mut conversation, &mut server, b"N") == Arrival::Nothing);
        assert!(looks.count() <= READS as usize);
        let (mut conversation, server) = pair();
        drop(server);
        conversation.stream.socket().poll(false, None, None).expect("it comes");
        assert_eq!(conversation.arrival(), Arrival::Other);
    }

    #[test]
    fn nobody_waits_for_the_answer_to_what_was_not_sent() {
        let (mut conversation, _server) = pair();
        conversation.out.sync();
        assert!(conversation.is_sending());
        assert_eq!(conversation.arrival(), Arrival::Other);
        conversation.begin_to_send();
        assert!(!conversation.is_sending());
        assert_eq!(conversation.arrival(), Arrival::Nothing);
    }
}
