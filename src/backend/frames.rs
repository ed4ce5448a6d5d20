//! Reads along the backend's messages and keeps the few facts that matter.
//!
//! Pure: bytes in, fields out. Message bodies are collected only for the small
//! messages that are looked at; all others are skipped by their length.

mod bounds;

use crate::backend::fault::fault_in;
use crate::backend::login::Login;
use crate::backend::transport::CancelKey;
use crate::core::transaction::TransactionState;
use crate::error::{Excess, PgFault};
use bounds::{Bounds, SETTINGS_MAX};

pub(super) use bounds::ANSWER_MAX;

/// A body longer than this is not looked at; those wanted are shorter.
const BODY_MAX: usize = 8192;

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
    pub excess: Option<Excess>,
    /// What may come.
    pub(super) bounds: Bounds,
    header: [u8; 5],
    header_len: usize,
    body: Vec<u8>,
    size: usize,
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
            excess: None,
            bounds: Bounds::default(),
            header: [0; 5],
            header_len: 0,
            body: Vec::new(),
            size: 0,
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
        self.bounds.start_statement();
    }

    /// True if no message has come in part.
    pub fn is_between(&self) -> bool {
        self.header_len == 0
    }

    /// A statement is about to be prepared.
    pub fn start_prepare(&mut self) {
        self.described = false;
        self.bounds.start_question();
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
        if self.header_len == self.header.len() {
            let size = self.size;
            let unfinished = self.bounds.unfinished(self.header[0], size, size - self.body_left);
            self.note_excess(unfinished);
        } else {
            self.bounds.finished();
        }
    }

    fn note_excess(&mut self, checked: Result<(), Excess>) {
        self.excess = self.excess.or(checked.err());
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let take = (self.header.len() - self.header_len).min(bytes.len());
        let (head, rest) = bytes.split_at(take);
        self.header[self.header_len..self.header_len + take].copy_from_slice(head);
        self.header_len += take;
        if self.header_len == self.header.len() {
            let [_, a, b, c, d] = self.header;
            self.body_left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            self.size = self.body_left;
            self.body.clear();
            match self.header[0] {
                b'1' => self.prepared += 1,
                b'2' => self.bound = true,
                b'T' | b'n' => self.described = true,
                b'3' => self.prepared = self.prepared.saturating_sub(1),
                _ => {}
            }
            let checked = self.bounds.message(self.header[0], self.body_left);
            self.note_excess(checked);
            if self.body_left == 0 {
                self.header_len = 0;
            }
        }
        rest
    }

    fn read_body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let take = self.body_left.min(bytes.len());
        let (body, rest) = bytes.split_at(take);
        let most = if self.header[0] == b'S' { SETTINGS_MAX } else { BODY_MAX };
        let room = most.saturating_sub(self.body.len());
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
                self.bounds.ready();
                if let Some(state) = TransactionState::from_ready_for_query(*status) {
                    self.transaction = state;
                }
            }
            (b'S', setting) => {
                self.settings += 1;
                let checked = self.bounds.setting(setting);
                self.excess = self.excess.or(checked.err());
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
mod tests;
