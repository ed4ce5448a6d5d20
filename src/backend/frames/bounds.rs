//! What the server may send, by what it was asked for.

use std::collections::HashMap;

use crate::backend::bundle::ROW_MAX;
use crate::core::budget::Held;
use crate::error::{Excess, NOTICES_BYTES, NOTICES_MAX};

/// Before the login is over: PostgreSQL sends about 1 kB, and notices of extensions.
const LOGIN_MAX: usize = 256 << 10;
/// Of which one message has so much at most.
const LOGIN_MESSAGE_MAX: usize = 64 << 10;
/// As answer to a question of the service's own, whose answers have some 100 bytes; the
/// look-ups of one statement have some 100 kB. The driver keeps the labels of enums in
/// five times that memory.
pub(in crate::backend) const ANSWER_MAX: usize = 1 << 20;
/// An error, however long its text, costs so much of that.
const ERROR_COST: usize = 64 << 10;
/// Settings that are reported, of which the driver keeps the last value. PostgreSQL
/// reports 15; a `search_path` may be long.
const NAMES_MAX: usize = 100;
pub(in crate::backend) const SETTINGS_MAX: usize = 64 << 10;
/// One message that the driver takes whole, such as the text of an error.
const MESSAGE_MAX: usize = ROW_MAX;
/// PostgreSQL makes no message of 1 GiB or more.
const WIRE_MAX: usize = 1 << 30;
/// Notifications that wait. Each costs the driver a struct and two texts more.
const NOTIFICATIONS_MAX: usize = 4 << 20;
const NOTIFICATION_COST: usize = 128;
/// A payload has less than 8 kB.
const NOTIFICATION_MAX: usize = 64 << 10;
/// A listener reads no more before it has handed out what waits.
const BACKLOG: usize = 256 << 10;
/// What of an unfinished message is not counted. A read has 16 KiB.
const UNCOUNTED: usize = 64 << 10;

/// What was asked of the server last.
#[derive(Debug)]
enum Asked {
    /// A session; so many bytes may still come.
    Login(usize),
    /// Something that the service needs to know.
    Question(usize),
    /// A statement of the user's; so many messages beside rows have come, and bytes.
    Statement(usize, usize),
}

/// Counts what comes.
#[derive(Debug)]
pub(in crate::backend) struct Bounds {
    asked: Asked,
    /// By name, the bytes of name and value.
    settings: HashMap<Vec<u8>, usize>,
    settings_bytes: usize,
    /// The backend listens for the tenant.
    pub(in crate::backend) hears: bool,
    waiting: usize,
    /// What of an unfinished message is in memory.
    pub(in crate::backend) held: Held,
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
    pub(in crate::backend) fn start_question(&mut self) {
        self.asked = Asked::Question(ANSWER_MAX);
    }

    /// A statement of the user's starts.
    pub(in crate::backend) fn start_statement(&mut self) {
        self.asked = Asked::Statement(0, 0);
    }

    /// Bytes that have come as answer to the question.
    pub(in crate::backend) fn answered(&self) -> usize {
        match self.asked {
            Asked::Question(left) => ANSWER_MAX - left,
            Asked::Login(_) | Asked::Statement(..) => 0,
        }
    }

    /// All notifications that came were taken.
    pub(in crate::backend) fn took_notifications(&mut self) {
        self.waiting = 0;
    }

    /// So many wait that no more should be read.
    pub(in crate::backend) fn has_backlog(&self) -> bool {
        self.waiting > BACKLOG
    }

    /// The server is ready for statements.
    pub(in crate::backend) fn ready(&mut self) {
        if matches!(self.asked, Asked::Login(_)) {
            self.start_question();
        }
    }

    /// More has come in the statement, beside its rows, than anybody wants.
    pub(in crate::backend) fn is_flooded(&self) -> bool {
        matches!(self.asked, Asked::Statement(messages, bytes)
            if messages > NOTICES_MAX || bytes > NOTICES_BYTES)
    }

    /// A message begins, with so many bytes behind its header.
    pub(in crate::backend) fn message(&mut self, kind: u8, body: usize) -> Result<(), Excess> {
        // What is in pieces or dropped on its way is never whole in memory.
        let is_data = matches!(kind, b'D' | b'd');
        let most = match (&self.asked, kind) {
            (_, b'D' | b'd') => WIRE_MAX,
            (Asked::Login(_), _) => LOGIN_MESSAGE_MAX,
            (_, b'A') => NOTIFICATION_MAX,
            (_, b'S') => SETTINGS_MAX,
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
            Asked::Question(_) if kind == b'A' => {}
            Asked::Question(left) => {
                // It may say a statement again that PostgreSQL does not understand.
                let size = if kind == b'E' { size.min(ERROR_COST) } else { size };
                *left = left.checked_sub(size).ok_or(Excess::Answer(ANSWER_MAX))?;
            }
            Asked::Login(left) => {
                *left = left.checked_sub(size).ok_or(Excess::Login(LOGIN_MAX))?;
            }
        }
        Ok(())
    }

    /// A setting was reported: its name and its value, each ending in zero.
    pub(in crate::backend) fn setting(&mut self, body: &[u8]) -> Result<(), Excess> {
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
    pub(in crate::backend) fn unfinished(
        &mut self,
        kind: u8,
        body: usize,
        came: usize,
    ) -> Result<(), Excess> {
        let dropped = kind == b'd' || kind == b'D' && body + 4 > ROW_MAX;
        // The driver's buffer doubles.
        let counted = if dropped || came <= UNCOUNTED { 0 } else { came.next_power_of_two() };
        match counted == self.held.bytes() {
            true => Ok(()),
            false => self.held.resize(counted).map_err(Excess::NoRoom),
        }
    }

    /// No message is unfinished.
    pub(in crate::backend) fn finished(&mut self) {
        if self.held.bytes() > 0 {
            self.held.shrink(usize::MAX);
        }
    }
}
