//! What the server may send, by what it was asked for.

use std::collections::HashMap;

use crate::core::budget::Held;
use crate::error::{Excess, NOTICES_BYTES, NOTICES_MAX};
use crate::pgwire::ROW_MAX;

/// Before the login is over: PostgreSQL sends about 1 kB, and notices of extensions.
const LOGIN_MAX: usize = 256 << 10;
/// Of which one message has so much at most.
const LOGIN_MESSAGE_MAX: usize = 64 << 10;
/// As answer to a question of the service's own, whose answers have some 100 bytes.
const ANSWER_MAX: usize = 1 << 20;
/// As answers to the look-ups of one statement's types, each of which has some 100 bytes
/// for each type.
const LOOKUPS_MAX: usize = 16 << 20;
/// An error, however long its text, costs so much of that.
const ERROR_COST: usize = 64 << 10;
/// Settings that are reported. PostgreSQL reports 15; a `search_path` may be long.
const NAMES_MAX: usize = 100;
const SETTINGS_MAX: usize = 64 << 10;
/// One message that is taken whole, such as the text of an error.
const MESSAGE_MAX: usize = ROW_MAX;
/// A command's tag has some 20 bytes.
const TAG_MAX: usize = 1 << 10;
/// PostgreSQL makes no message of 1 GiB or more.
const WIRE_MAX: usize = 1 << 30;
/// Notifications that wait. Each costs a struct and two texts more.
const NOTIFICATIONS_MAX: usize = 4 << 20;
const NOTIFICATION_COST: usize = 128;
/// A payload has less than 8 kB.
const NOTIFICATION_MAX: usize = 64 << 10;
/// What of an unfinished message is not counted. A read has 16 KiB.
const UNCOUNTED: usize = 64 << 10;

/// What was asked of the server last.
#[derive(Debug)]
enum Asked {
    /// A session; so many bytes may still come.
    Login(usize),
    /// Something that the service needs to know; so many bytes may still come, of so many.
    Question(usize, usize),
    /// A statement of the user's; so many messages beside rows have come, and bytes.
    Statement(usize, usize),
}

/// Counts what comes.
#[derive(Debug)]
pub struct Bounds {
    asked: Asked,
    /// By name, the bytes of name and value.
    settings: HashMap<Vec<u8>, usize>,
    settings_bytes: usize,
    /// The backend listens for the tenant.
    pub hears: bool,
    waiting: usize,
    /// What of an unfinished message is in memory.
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
    /// The service asks for itself.
    pub fn start_question(&mut self) {
        self.asked = Asked::Question(ANSWER_MAX, ANSWER_MAX);
    }

    /// The service looks up the types of a statement.
    pub fn start_lookups(&mut self) {
        self.asked = Asked::Question(LOOKUPS_MAX, LOOKUPS_MAX);
    }

    /// A statement of the user's starts.
    pub fn start_statement(&mut self) {
        self.asked = Asked::Statement(0, 0);
    }

    /// All notifications that came were taken.
    pub fn took_notifications(&mut self) {
        self.waiting = 0;
    }

    /// The server is ready for statements.
    pub fn ready(&mut self) {
        if matches!(self.asked, Asked::Login(_)) {
            self.start_question();
        }
    }

    /// More has come in the statement, beside its rows, than anybody wants.
    pub fn is_flooded(&self) -> bool {
        matches!(self.asked, Asked::Statement(messages, bytes)
            if messages > NOTICES_MAX || bytes > NOTICES_BYTES)
    }

    /// A message begins, with so many bytes behind its header.
    pub fn message(&mut self, kind: u8, body: usize) -> Result<(), Excess> {
        // What is in pieces or dropped on its way is never whole in memory.
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
                // Others send notifications, however many, and they go nowhere.
                *messages += usize::from(kind != b'A');
                *bytes = bytes.saturating_add(size);
            }
            Asked::Question(..) if kind == b'A' => {}
            Asked::Question(left, most) => {
                // It may say a statement again that PostgreSQL does not understand.
                let size = if kind == b'E' { size.min(ERROR_COST) } else { size };
                *left = left.checked_sub(size).ok_or(Excess::Answer(*most))?;
            }
            Asked::Login(left) => {
                *left = left.checked_sub(size).ok_or(Excess::Login(LOGIN_MAX))?;
            }
        }
        Ok(())
    }

    /// A setting was reported: its name and its value, each ending in zero.
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

    /// Of a message of this kind and size so much has come, and not all of it.
    pub fn unfinished(&mut self, kind: u8, body: usize, came: usize) -> Result<(), Excess> {
        let dropped = kind == b'd' || kind == b'D' && body > ROW_MAX;
        // The buffer doubles.
        self.hold(if dropped { 0 } else { came })
    }

    /// So much has come and was not given away.
    pub fn hold(&mut self, came: usize) -> Result<(), Excess> {
        let counted = if came <= UNCOUNTED { 0 } else { came.next_power_of_two() };
        match counted == self.held.bytes() {
            true => Ok(()),
            false => self.held.resize(counted).map_err(Excess::NoRoom),
        }
    }

    /// No message is unfinished.
    pub fn finished(&mut self) {
        if self.held.bytes() > 0 {
            self.held.shrink(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests;
