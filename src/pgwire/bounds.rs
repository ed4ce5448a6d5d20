//! Limits on what the server may send, by what was requested.

use std::collections::HashMap;

use crate::core::budget::Held;
use crate::error::{Excess, NOTICES_BYTES, NOTICES_MAX};
use crate::pgwire::ROW_MAX;

/// Before the login is over: PostgreSQL sends about 1 kB, and notices of extensions.
const LOGIN_MAX: usize = 256 << 10;
/// The most bytes of one of these messages.
const LOGIN_MESSAGE_MAX: usize = 64 << 10;
/// For the answer to a query of the service's own, which has some 100 bytes.
const ANSWER_MAX: usize = 1 << 20;
/// For the answers to the look-ups of one statement's types, which have some 100 bytes for
/// each type.
const LOOKUPS_MAX: usize = 16 << 20;
/// The share of that which an error is charged, however long its text.
const ERROR_COST: usize = 64 << 10;
/// The most settings reported. PostgreSQL reports 15; a `search_path` may be long.
const NAMES_MAX: usize = 100;
const SETTINGS_MAX: usize = 64 << 10;
/// The most bytes of a message that is read as a whole, such as an error.
const MESSAGE_MAX: usize = ROW_MAX;
/// A command's tag has some 20 bytes.
const TAG_MAX: usize = 1 << 10;
/// PostgreSQL sends no message of 1 GiB or more.
const WIRE_MAX: usize = 1 << 30;
/// The most bytes of pending notifications. Each costs a struct and two strings more.
const NOTIFICATIONS_MAX: usize = 4 << 20;
const NOTIFICATION_COST: usize = 128;
/// A payload has less than 8 kB.
const NOTIFICATION_MAX: usize = 64 << 10;
/// A statement with more notices than this is read slowly: a pause is due after each
/// `NOTICES_BETWEEN_PAUSES` of them.
const NOTICES_AT_ONCE: usize = 1000;
const NOTICES_BETWEEN_PAUSES: usize = 10;
/// The bytes of an unfinished message that are not counted. A read has 16 KiB.
const UNCOUNTED: usize = 64 << 10;

/// The last request to the server.
#[derive(Debug)]
enum Asked {
    /// The login; so many bytes are still allowed.
    Login(usize),
    /// A query of the service's own; so many bytes are still allowed, of so many.
    Question(usize, usize),
    /// A user's statement; so many messages besides rows have arrived, with so many bytes.
    Statement(usize, usize),
}

/// Counts what arrives.
#[derive(Debug)]
pub struct Bounds {
    asked: Asked,
    /// By name, the bytes of name and value.
    settings: HashMap<Vec<u8>, usize>,
    settings_bytes: usize,
    /// The backend listens for the tenant.
    pub hears: bool,
    waiting: usize,
    /// The memory of an unfinished message.
    pub held: Held,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            asked: Asked::Login(LOGIN_MAX),
            settings: HashMap::new(),
            settings_bytes: 0,
            hears: false,
            waiting: 0,
            held: Held::default(),
        }
    }
}

impl Bounds {
    /// A query of the service's own starts.
    pub fn start_question(&mut self) {
        self.asked = Asked::Question(ANSWER_MAX, ANSWER_MAX);
    }

    /// The service looks up the types of a statement.
    pub fn start_lookups(&mut self) {
        self.asked = Asked::Question(LOOKUPS_MAX, LOOKUPS_MAX);
    }

    /// A user's statement starts.
    #[inline]
    pub fn start_statement(&mut self) {
        self.asked = Asked::Statement(0, 0);
    }

    /// All notifications that came were taken.
    pub fn took_notifications(&mut self) {
        self.waiting = 0;
    }

    /// The server is ready for statements.
    #[inline]
    pub fn ready(&mut self) {
        if matches!(self.asked, Asked::Login(_)) {
            self.start_question();
        }
    }

    /// True if the statement has sent too much besides its rows.
    #[inline]
    pub fn is_flooded(&self) -> bool {
        matches!(self.asked, Asked::Statement(messages, bytes)
            if messages > NOTICES_MAX || bytes > NOTICES_BYTES)
    }

    /// True if reading must pause after the notice that was read last. A statement that is
    /// to be cancelled for its notices is read to its end without pauses.
    pub fn is_pause_due(&self) -> bool {
        matches!(self.asked, Asked::Statement(messages, _)
            if (NOTICES_AT_ONCE..=NOTICES_MAX).contains(&messages)
                && messages % NOTICES_BETWEEN_PAUSES == 0)
    }

    /// Checks a message that begins, with so many bytes after its header.
    #[inline]
    pub fn message(&mut self, kind: u8, body: usize) -> Result<(), Excess> {
        // Messages that are read in parts or dropped are never in memory as a whole.
        let is_data = matches!(kind, b'D' | b'd');
        let most = match (&self.asked, kind) {
            (_, b'D' | b'd') => WIRE_MAX,
            (Asked::Login(_), _) => LOGIN_MESSAGE_MAX,
            (_, b'A') => NOTIFICATION_MAX,
            (_, b'S') => SETTINGS_MAX,
            (_, b'C') => TAG_MAX,
            _ => MESSAGE_MAX,
        };
        if body > most {
            return Err(Excess::Message(most));
        }
        let size = body.saturating_add(5);
        if kind == b'A' && self.hears {
            self.waiting += size + NOTIFICATION_COST;
            if self.waiting > NOTIFICATIONS_MAX {
                return Err(Excess::Notifications(NOTIFICATIONS_MAX));
            }
            return Ok(());
        }
        match &mut self.asked {
            Asked::Statement(..) if is_data => {}
            Asked::Statement(messages, bytes) => {
                // Other sessions may send any number of notifications; they are dropped.
                *messages += usize::from(kind != b'A');
                *bytes = bytes.saturating_add(size);
            }
            Asked::Question(..) if kind == b'A' => {}
            Asked::Question(left, most) => {
                // It may repeat the text of a statement that PostgreSQL cannot parse.
                let size = if kind == b'E' { size.min(ERROR_COST) } else { size };
                *left = left.checked_sub(size).ok_or(Excess::Answer(*most))?;
            }
            Asked::Login(left) => {
                *left = left.checked_sub(size).ok_or(Excess::Login(LOGIN_MAX))?;
            }
        }
        Ok(())
    }

    /// Counts a reported setting: its name and its value, each ending in zero.
    pub fn setting(&mut self, body: &[u8]) -> Result<(), Excess> {
        let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
        let before = match self.settings.get_mut(name) {
            Some(bytes) => std::mem::replace(bytes, body.len()),
            None => {
                self.settings.insert(name.to_vec(), body.len());
                0
            }
        };
        self.settings_bytes = self.settings_bytes + body.len() - before;
        if self.settings.len() > NAMES_MAX || self.settings_bytes > SETTINGS_MAX {
            return Err(Excess::Settings { names: NAMES_MAX, bytes: SETTINGS_MAX });
        }
        Ok(())
    }

    /// Counts the part of an unfinished message that has arrived.
    pub fn unfinished(&mut self, kind: u8, body: usize, came: usize) -> Result<(), Excess> {
        let dropped = kind == b'd' || kind == b'D' && body > ROW_MAX;
        // The buffer doubles.
        self.hold(if dropped { 0 } else { came })
    }

    /// Counts bytes that have arrived and were not passed on yet.
    pub fn hold(&mut self, came: usize) -> Result<(), Excess> {
        let counted = if came <= UNCOUNTED { 0 } else { came.next_power_of_two() };
        match counted == self.held.bytes() {
            true => Ok(()),
            false => self.held.resize(counted).map_err(Excess::NoRoom),
        }
    }

    /// No message is unfinished.
    #[inline]
    pub fn finished(&mut self) {
        if self.held.bytes() > 0 {
            self.held.shrink(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests;
