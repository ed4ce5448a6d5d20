//! Reads along the backend's messages and keeps the few facts that matter.
//!
//! Pure: bytes in, fields out. Message bodies are collected only for the small
//! messages that are looked at; all others are skipped by their length.

use crate::backend::fault::fault_in;
use crate::backend::login::Login;
use crate::backend::transport::CancelKey;
use crate::core::transaction::TransactionState;
use crate::error::PgFault;

/// A body longer than this is not looked at; those wanted are shorter.
const BODY_MAX: usize = 8192;

/// The driver holds one message at a time in memory, whole: a row of this size is
/// the largest we take.
const MESSAGE_MAX: usize = 64 << 20;
/// And it keeps every notification until somebody asks. A statement may bring so
/// many bytes of them.
const NOTIFICATIONS_MAX: usize = 16 << 20;

/// What the stream of backend messages has said so far.
pub struct Frames {
    /// Of the last ReadyForQuery.
    pub transaction: TransactionState,
    /// Of the last CommandComplete.
    pub tag: Option<String>,
    /// Of BackendKeyData.
    pub key: Option<CancelKey>,
    /// Of a FATAL or PANIC error. The driver drops it when the end of the stream
    /// comes together with it.
    pub last_words: Option<PgFault>,
    /// The last error of this statement. The driver does not tell of one that comes
    /// when it has seen all that it waits for.
    pub failed: Option<PgFault>,
    /// Statements that the driver has prepared and not closed.
    pub prepared: usize,
    /// Since `start_prepare` the result of a statement was described: PostgreSQL
    /// has understood it.
    pub described: bool,
    /// Since `start_statement` parameters were bound: the statement could start.
    pub bound: bool,
    /// How often the server has reported a setting, which it does for those that
    /// change the meaning of texts.
    pub settings: u64,
    /// The session's client_encoding is not UTF8, which all texts here are.
    pub foreign_encoding: bool,
    /// What the server says of in_hot_standby, if it does.
    pub standby: Option<bool>,
    /// What it says of default_transaction_read_only.
    pub read_only: Option<bool>,
    /// What the server asks of who logs in.
    pub login: Login,
    /// The server has been ready for a statement.
    pub ready: bool,
    /// More is coming than memory should be given for; break the stream off.
    pub excessive: bool,
    notification_bytes: usize,
    header: [u8; 5],
    header_len: usize,
    body: Vec<u8>,
    body_left: usize,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            transaction: TransactionState::None,
            tag: None,
            key: None,
            last_words: None,
            failed: None,
            prepared: 0,
            described: false,
            bound: false,
            settings: 0,
            foreign_encoding: false,
            standby: None,
            read_only: None,
            login: Login::default(),
            ready: false,
            excessive: false,
            notification_bytes: 0,
            header: [0; 5],
            header_len: 0,
            body: Vec::new(),
            body_left: 0,
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames")
            .field("transaction", &self.transaction)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl Frames {
    /// A new statement starts: what the last one said is not its own.
    pub fn start_statement(&mut self) {
        self.tag = None;
        self.failed = None;
        self.bound = false;
        self.notification_bytes = 0;
    }

    /// True if no message has come in part.
    pub fn is_between(&self) -> bool {
        self.header_len == 0
    }

    /// A statement is about to be prepared.
    pub fn start_prepare(&mut self) {
        self.described = false;
    }

    /// Takes the next bytes of the stream, cut wherever the network cut them.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = if self.header_len < self.header.len() {
                self.read_header(bytes)
            } else {
                self.read_body(bytes)
            };
        }
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let take = (self.header.len() - self.header_len).min(bytes.len());
        let (head, rest) = bytes.split_at(take);
        self.header[self.header_len..self.header_len + take].copy_from_slice(head);
        self.header_len += take;
        if self.header_len == self.header.len() {
            let [_, a, b, c, d] = self.header;
            self.body_left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            self.body.clear();
            match self.header[0] {
                b'1' => self.prepared += 1,
                b'2' => self.bound = true,
                b'T' | b'n' => self.described = true,
                b'3' => self.prepared = self.prepared.saturating_sub(1),
                b'A' => {
                    self.notification_bytes =
                        self.notification_bytes.saturating_add(self.body_left);
                }
                _ => {}
            }
            self.excessive |=
                self.body_left > MESSAGE_MAX || self.notification_bytes > NOTIFICATIONS_MAX;
            if self.body_left == 0 {
                self.header_len = 0;
            }
        }
        rest
    }

    fn read_body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let take = self.body_left.min(bytes.len());
        let (body, rest) = bytes.split_at(take);
        let room = BODY_MAX.saturating_sub(self.body.len());
        match self.header[0] {
            b'Z' | b'C' | b'K' | b'S' if take <= room => self.body.extend_from_slice(body),
            // What stands in front is what matters.
            b'E' | b'R' => self.body.extend(body.iter().take(room)),
            _ => {}
        }
        self.body_left -= take;
        if self.body_left == 0 {
            self.header_len = 0;
            self.note();
        }
        rest
    }

    fn note(&mut self) {
        match (self.header[0], self.body.as_slice()) {
            (b'Z', [status, ..]) => {
                self.ready = true;
                if let Some(state) = TransactionState::from_ready_for_query(*status) {
                    self.transaction = state;
                }
            }
            (b'S', setting) => {
                self.settings += 1;
                if let Some(encoding) = setting.strip_prefix(b"client_encoding\0") {
                    self.foreign_encoding = encoding != b"UTF8\0";
                }
                if let Some(value) = setting.strip_prefix(b"in_hot_standby\0") {
                    self.standby = Some(value == b"on\0");
                }
                if let Some(value) = setting.strip_prefix(b"default_transaction_read_only\0") {
                    self.read_only = Some(value == b"on\0");
                }
            }
            (b'R', [a, b, c, d, ..]) => self.login.note(u32::from_be_bytes([*a, *b, *c, *d])),
            (b'C', [tag @ .., 0]) => self.tag = Some(String::from_utf8_lossy(tag).into_owned()),
            (b'K', [a, b, c, d, secret @ ..]) => {
                self.key = Some(CancelKey {
                    pid: i32::from_be_bytes([*a, *b, *c, *d]),
                    secret: secret.to_vec(),
                });
            }
            (b'E', fields) => {
                let fault = fault_in(fields);
                if matches!(fault.severity.as_str(), "FATAL" | "PANIC") {
                    self.last_words = Some(fault.clone());
                }
                self.failed = Some(fault);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = message(b'K', &[0, 0, 1, 2, 9, 8, 7, 6]);
        bytes.extend(message(b'D', &[b'Z'; 5000]));
        bytes.extend(message(b'n', &[]));
        bytes.extend(message(b'C', b"INSERT 0 1\0"));
        bytes.extend(message(b'Z', b"T"));
        bytes
    }

    #[test]
    fn facts_are_found_however_the_bytes_are_cut() {
        let bytes = conversation();
        for size in [1, 2, 3, 5, 7, 4096, bytes.len()] {
            let mut frames = Frames::default();
            bytes.chunks(size).for_each(|chunk| frames.read(chunk));
            assert_eq!(frames.transaction, TransactionState::Open);
            assert_eq!(frames.tag.as_deref(), Some("INSERT 0 1"));
            let key = frames.key.expect("a key was sent");
            assert_eq!((key.pid, key.secret), (258, vec![9, 8, 7, 6]));
        }
    }

    #[test]
    fn bytes_inside_other_messages_are_not_taken_for_facts() {
        let mut frames = Frames::default();
        frames.read(&message(b'D', &message(b'Z', b"E")));
        assert_eq!(frames.transaction, TransactionState::None);
    }

    #[test]
    fn the_last_words_of_a_backend_are_kept_and_plain_errors_are_not() {
        let mut frames = Frames::default();
        frames.read(&message(b'E', b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0"));
        assert!(frames.last_words.is_none());
        frames.read(&message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0"));
        let words = frames.last_words.expect("kept");
        assert_eq!((words.sqlstate.as_str(), words.message.as_str()), ("57P01", "terminating"));
    }

    #[test]
    fn messages_beyond_measure_are_told_before_they_come() {
        let mut frames = Frames::default();
        frames.read(&[b'D', 4, 0, 0, 4]);
        assert!(!frames.excessive);
        let mut frames = Frames::default();
        frames.read(&[b'D', 4, 0, 0, 5]);
        assert!(frames.excessive);
        let mut frames = Frames::default();
        let notification = message(b'A', &[b'x'; 8000]);
        for _ in 0..=NOTIFICATIONS_MAX / 8000 {
            frames.read(&notification);
        }
        assert!(frames.excessive);
    }

    #[test]
    fn statements_are_counted_from_their_preparation_to_their_close() {
        let mut frames = Frames::default();
        for (kind, prepared) in [(b'1', 1), (b'1', 2), (b'n', 2), (b'3', 1), (b'3', 0), (b'3', 0)] {
            frames.read(&message(kind, &[]));
            assert_eq!(frames.prepared, prepared);
        }
    }

    #[test]
    fn it_is_told_how_far_a_statement_came() {
        let mut frames = Frames::default();
        for kind in [b'3', b'1', b't', b'E'] {
            frames.read(&message(kind, &[]));
            assert!(!frames.described);
        }
        for kind in [b'T', b'n'] {
            frames.start_prepare();
            assert!(!frames.described);
            frames.read(&message(kind, &[]));
            assert!(frames.described && !frames.bound);
        }
        frames.read(&message(b'2', &[]));
        assert!(frames.bound);
        frames.start_statement();
        assert!(!frames.bound);
    }

    #[test]
    fn settings_are_counted_and_an_encoding_of_another_kind_is_noticed() {
        let mut frames = Frames::default();
        frames.read(&message(b'S', b"TimeZone\0UTC\0"));
        frames.read(&message(b'S', b"client_encoding\0UTF8\0"));
        assert_eq!((frames.settings, frames.foreign_encoding), (2, false));
        frames.read(&message(b'S', b"client_encoding\0LATIN1\0"));
        assert_eq!((frames.settings, frames.foreign_encoding), (3, true));
    }

    #[test]
    fn what_a_server_says_of_itself_and_asks_for_is_noted() {
        let mut frames = Frames::default();
        frames.read(&message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]));
        assert!(frames.login.was_asked() && frames.login.objection().is_none());
        frames.read(&message(b'R', &[0, 0, 0, 3]));
        assert!(frames.login.objection().is_some() && !frames.ready);
        // However long it is.
        let mut frames = Frames::default();
        let long = [&[0, 0, 0, 10][..], &[b'x'; 2 * BODY_MAX]].concat();
        message(b'R', &long).chunks(3000).for_each(|chunk| frames.read(chunk));
        assert!(frames.login.was_asked());
        frames.read(&message(b'S', b"in_hot_standby\0off\0"));
        frames.read(&message(b'S', b"default_transaction_read_only\0on\0"));
        assert_eq!((frames.standby, frames.read_only), (Some(false), Some(true)));
        frames.read(&message(b'Z', b"I"));
        assert!(frames.ready);
    }

    #[test]
    fn impossible_lengths_do_not_panic() {
        let mut frames = Frames::default();
        frames.read(&[b'Z', 0, 0, 0, 0, b'C', 255, 255, 255, 255, 1, 2, 3]);
        assert_eq!(frames.transaction, TransactionState::None);
    }
}
