//! Who asks for a connection: the place in the program, and the thread.

use std::fmt;
use std::panic::Location;
use std::thread;

/// Longer names are cut: the system cuts them likewise.
const LENGTH: usize = 15;

/// Who asks for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borrower {
    /// Where in the program.
    pub at: &'static Location<'static>,
    /// On which thread.
    pub thread: ThreadName,
}

impl Borrower {
    /// Somebody on this thread.
    pub fn here(at: &'static Location<'static>) -> Borrower {
        thread_local! {
            /// Asked for once a thread, because a checkout takes a few nanoseconds.
            static NAME: ThreadName = ThreadName::of(&thread::current());
        }
        // A thread that ends has none any more.
        Borrower { at, thread: NAME.try_with(|name| *name).unwrap_or_default() }
    }
}

/// The name of a thread, its first 15 bytes; of one without a name its number, as
/// `ThreadId(7)`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadName {
    bytes: [u8; LENGTH],
    length: usize,
}

impl ThreadName {
    fn of(thread: &thread::Thread) -> ThreadName {
        let name = match thread.name() {
            Some(name) => name.to_owned(),
            None => format!("{:?}", thread.id()),
        };
        let mut bytes = [0; LENGTH];
        let length = (0..=name.len().min(LENGTH)).rev().find(|end| name.is_char_boundary(*end));
        let length = length.unwrap_or_default();
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        ThreadName { bytes, length }
    }

    /// As text; empty of a thread that was about to end.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // A test's own threads, joined.
mod tests {
    use super::*;

    fn on(builder: thread::Builder) -> String {
        let here = || Borrower::here(Location::caller()).thread.to_string();
        builder.spawn(here).unwrap().join().unwrap()
    }

    #[test]
    fn a_thread_is_told_by_its_name_or_its_number() {
        assert_eq!(on(thread::Builder::new().name("orders-3".to_owned())), "orders-3");
        let long = "the-thread-of-\u{e4}lle-orders".to_owned();
        assert_eq!(on(thread::Builder::new().name(long)), "the-thread-of-", "no half of a letter");
        assert!(on(thread::Builder::new()).starts_with("ThreadId("));
    }
}
