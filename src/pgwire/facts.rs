//! What a server has reported about its session.

use crate::core::transaction::TransactionState;
use crate::error::PgFault;
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{Fields, Message};

/// What a cancel request must present.
#[derive(Clone)]
pub struct CancelKey {
    /// Process id of the backend.
    pub pid: i32,
    /// The secret that came with it.
    pub secret: Vec<u8>,
}

/// The state of a session, from its stream.
#[derive(Default)]
pub struct Facts {
    /// Of the last ReadyForQuery.
    pub transaction: TransactionState,
    /// Of BackendKeyData.
    pub key: Option<CancelKey>,
    /// The last error.
    pub failed: Option<PgFault>,
    /// The last FATAL or PANIC error: PostgreSQL closes after it.
    pub last_words: Option<PgFault>,
    /// How many settings the server has reported. It reports those that change the meaning
    /// of texts.
    pub settings: u64,
    /// The session's client_encoding is not UTF8, the encoding of all texts here.
    pub foreign_encoding: bool,
    /// The reported in_hot_standby, if any.
    pub standby: Option<bool>,
    /// The reported default_transaction_read_only, if any.
    pub read_only: Option<bool>,
    /// The server has been ready for a statement.
    pub ready: bool,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}

impl Facts {
    /// Records a message.
    #[inline]
    pub fn note(&mut self, message: &Message<'_>) {
        match message {
            Message::Ready(state) => {
                self.ready = true;
                self.transaction = *state;
            }
            Message::Setting(setting) => self.note_setting(setting),
            Message::Key([a, b, c, d, secret @ ..]) => {
                let pid = i32::from_be_bytes([*a, *b, *c, *d]);
                self.key = Some(CancelKey { pid, secret: secret.to_vec() });
            }
            Message::Error(fields) => {
                let fault = fault_in(fields);
                if matches!(fault.severity.as_str(), "FATAL" | "PANIC") {
                    self.last_words = Some(fault.clone());
                }
                self.failed = Some(fault);
            }
            _ => {}
        }
    }

    fn note_setting(&mut self, setting: &[u8]) {
        self.settings += 1;
        let mut fields = Fields::of(setting);
        let (Some(name), Some(value)) = (fields.text(), fields.text()) else { return };
        match name.as_ref() {
            "client_encoding" => self.foreign_encoding = value != "UTF8",
            "in_hot_standby" => self.standby = Some(value == "on"),
            "default_transaction_read_only" => self.read_only = Some(value == "on"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_the_last_that_were_said() {
        let mut facts = Facts::default();
        facts.note(&Message::Setting(b"client_encoding\0LATIN1\0"));
        facts.note(&Message::Setting(b"in_hot_standby\0on\0"));
        facts.note(&Message::Setting(b"default_transaction_read_only\0off\0"));
        facts.note(&Message::Setting(b"half"));
        assert!(facts.foreign_encoding && !facts.ready);
        assert_eq!((facts.standby, facts.read_only), (Some(true), Some(false)));
        assert_eq!(facts.settings, 4);
        facts.note(&Message::Key(&[0, 0, 0, 9, 1, 2, 3, 4]));
        let key = facts.key.as_ref().map(|key| (key.pid, key.secret.as_slice()));
        assert_eq!(key, Some((9, &[1, 2, 3, 4][..])));
        facts.note(&Message::Setting(b"client_encoding\0UTF8\0"));
        facts.note(&Message::Ready(TransactionState::Failed));
        assert!(!facts.foreign_encoding && facts.ready);
        assert_eq!(facts.transaction, TransactionState::Failed);
    }

    #[test]
    fn only_errors_that_end_the_session_are_last_words() {
        let mut facts = Facts::default();
        facts.note(&Message::Error(b"SERROR\0VERROR\0C22012\0Mx\0\0"));
        assert!(facts.failed.is_some() && facts.last_words.is_none());
        facts.note(&Message::Error(b"SFATAL\0VFATAL\0C57P01\0My\0\0"));
        facts.note(&Message::Notice(b"SFATAL\0\0"));
        assert_eq!(facts.last_words.map(|fault| fault.sqlstate), Some("57P01".to_owned()));
    }
}
