use super::*;
use crate::core::budget::{Budget, Share};
use crate::pgwire::facts::Facts;
use crate::pgwire::message::Message;
use crate::pgwire::read::Reader;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = announced(kind, body.len());
    out.extend_from_slice(body);
    out
}

/// A message of this length without its body.
fn announced(kind: u8, body: usize) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(((body + 4) as u32).to_be_bytes());
    out
}

/// A stream as a conversation reads it.
#[derive(Default)]
struct Stream {
    reader: Reader,
    bounds: Bounds,
    facts: Facts,
    excess: Option<Excess>,
}

impl Stream {
    /// A server that is ready for statements.
    fn ready() -> Stream {
        let mut stream = Stream::default();
        stream.read(&message(b'Z', b"I"));
        stream
    }

    /// One that was sent a statement of the user's.
    fn running() -> Stream {
        let mut stream = Stream::ready();
        stream.bounds.start_statement();
        stream
    }

    /// Reads it all, until something is too much.
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.excess.is_none() {
            let room = self.reader.room();
            let now = bytes.len().min(room.len());
            room[..now].copy_from_slice(&bytes[..now]);
            self.reader.filled(now);
            bytes = &bytes[now..];
            self.excess = self.take_all().err();
        }
    }

    fn take_all(&mut self) -> Result<(), Excess> {
        while self.reader.is_ready(&mut self.bounds)? {
            let message = self.reader.take()?;
            self.facts.note(&message);
            match message {
                Message::Setting(setting) => self.bounds.setting(setting)?,
                Message::Ready(_) => self.bounds.ready(),
                _ => {}
            }
        }
        match self.reader.unfinished() {
            Some((kind, size, came)) => self.bounds.unfinished(kind, size, came),
            None => {
                self.bounds.finished();
                Ok(())
            }
        }
    }
}

/// Reads it all, cut at a place; tells what was too much.
fn excess(stream: &mut Stream, bytes: &[u8], cut: usize) -> Option<Excess> {
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    stream.read(first);
    stream.read(second);
    stream.excess
}

#[test]
fn messages_beyond_measure_are_told_before_they_come() {
    for (asked, kind, most) in [
        (0, b'R', 64 << 10),
        (0, b'N', 64 << 10),
        (1, b'E', 8 << 20),
        (2, b'N', 8 << 20),
        (2, b'C', 1 << 10),
        (2, b'S', 64 << 10),
        (2, b'A', 64 << 10),
    ] {
        let told = |body, cut| {
            let mut stream = match asked {
                0 => Stream::default(),
                1 => Stream::ready(),
                _ => Stream::running(),
            };
            let told = excess(&mut stream, &announced(kind, body), cut);
            assert!(stream.reader.capacity() <= 16 << 10, "a claim has taken memory");
            told
        };
        for cut in 0..6 {
            assert_eq!(told(most, cut), None);
            for more in [most + 1, 1 << 30, (1 << 31) - 1, u32::MAX as usize - 4] {
                assert_eq!(told(more, cut), Some(Excess::Message(most)), "{more}");
            }
        }
    }
    // Neither of these is ever whole in memory.
    for kind in [b'd', b'D'] {
        assert_eq!(excess(&mut Stream::running(), &announced(kind, 1 << 30), 3), None);
        let beyond = Some(Excess::Message(1 << 30));
        assert_eq!(excess(&mut Stream::running(), &announced(kind, (1 << 30) + 1), 3), beyond);
    }
}

/// So many bytes of a message again and again; tells what was too much.
fn flooded(stream: &mut Stream, message: &[u8], bytes: usize) -> Option<Excess> {
    (0..bytes / message.len()).for_each(|_| stream.read(message));
    stream.excess
}

#[test]
fn what_was_not_asked_for_by_a_statement_is_bounded() {
    let row = message(b'D', &[7; 995]);
    for kind in *b"NRDTd" {
        let one = message(kind, &[7; 995]);
        assert_eq!(flooded(&mut Stream::default(), &one, 250 << 10), None);
        let login = Excess::Login(256 << 10);
        assert_eq!(flooded(&mut Stream::default(), &one, 260 << 10), Some(login));
        assert_eq!(flooded(&mut Stream::ready(), &one, 1_000_000), None);
        assert_eq!(flooded(&mut Stream::ready(), &one, 1_100_000), Some(Excess::Answer(1 << 20)));
    }
    let mut stream = Stream::ready();
    for _ in 0..9 {
        // Each question has its own answer.
        stream.bounds.start_question();
        assert_eq!(flooded(&mut stream, &row, 1_000_000), None);
    }
    stream.bounds.start_lookups();
    assert_eq!(flooded(&mut stream, &row, 16_000_000), None);
    assert_eq!(flooded(&mut stream, &row, 1_000_000), Some(Excess::Answer(16 << 20)));
    let mut stream = Stream::running();
    assert_eq!(flooded(&mut stream, &row, 100_000_000), None);
    // A text that PostgreSQL does not understand comes back in its error.
    let mut stream = Stream::ready();
    stream.bounds.start_question();
    assert_eq!(excess(&mut stream, &message(b'E', &vec![b'x'; 5 << 20]), 9), None);
    assert_eq!(excess(&mut stream, &message(b'Z', b"I"), 9), None);
}

#[test]
fn a_ready_server_has_the_bounds_of_a_question_after_its_login_only() {
    let row = message(b'D', &[7; 995]);
    let mut stream = Stream::default();
    assert_eq!(flooded(&mut stream, &message(b'N', &[0; 995]), 250 << 10), None);
    stream.read(&message(b'Z', b"I"));
    assert_eq!(flooded(&mut stream, &row, 1_000_000), None);
    // No ReadyForQuery makes room for more.
    stream.read(&message(b'Z', b"I"));
    assert_eq!(flooded(&mut stream, &row, 100_000), Some(Excess::Answer(1 << 20)));
}

#[test]
fn a_statement_has_so_many_notices_and_no_more() {
    for (kind, count, body) in
        [(b'N', 10_000, 9), (b'S', 10_000, 9), (b'T', 10_000, 9), (b'N', 64, 1 << 20)]
    {
        let mut stream = Stream::ready();
        for _ in 0..3 {
            stream.bounds.start_statement();
            let one = message(kind, &vec![b'a'; body]);
            (0..count - 1).for_each(|_| stream.read(&one));
            assert!(!stream.bounds.is_flooded());
            (0..2).for_each(|_| stream.read(&one));
            assert!(stream.bounds.is_flooded());
        }
        assert_eq!(stream.excess, None);
    }
    // Rows are what it was asked for, and notifications are not its own.
    for kind in *b"DdA" {
        let mut stream = Stream::running();
        (0..50_000).for_each(|_| stream.read(&message(kind, &[7; 20])));
        assert!(!stream.bounds.is_flooded());
        assert_eq!(stream.excess, None);
    }
}

#[test]
fn reading_pauses_after_every_tenth_of_many_notices_until_they_are_too_many() {
    let mut stream = Stream::running();
    let notice = message(b'N', b"\0");
    let mut pauses_in = |notices: usize| {
        let due = (0..notices).filter(|_| {
            stream.read(&notice);
            stream.bounds.is_pause_due()
        });
        due.count()
    };
    let (few, many, too_many) = (pauses_in(999), pauses_in(9_001), pauses_in(5_000));
    assert_eq!((few, many, too_many), (0, 901, 0));
    stream.bounds.start_statement();
    stream.read(&notice);
    assert!(!stream.bounds.is_pause_due());
}

#[test]
fn settings_are_bounded_by_what_is_kept_of_them() {
    let setting = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    let mut stream = Stream::running();
    // The same ones again and again.
    for n in 0..5_000 {
        stream.read(&setting("TimeZone", &n.to_string()));
        stream.read(&setting("search_path", &"s".repeat(n % 60_000)));
    }
    assert_eq!((stream.excess, stream.facts.settings), (None, 10_000));
    let beyond = Excess::Settings { names: 100, bytes: 64 << 10 };
    for n in 0..98 {
        assert_eq!(excess(&mut stream, &setting(&n.to_string(), ""), n), None);
    }
    assert_eq!(excess(&mut stream, &setting("one more", ""), 7), Some(beyond));
    let mut stream = Stream::running();
    assert_eq!(excess(&mut stream, &setting("a", &"x".repeat(40_000)), 7), None);
    assert_eq!(excess(&mut stream, &setting("b", &"x".repeat(40_000)), 7), Some(beyond));
}

#[test]
fn notifications_count_where_they_are_heard() {
    let small = message(b'A', &[b'x'; 10]);
    let mut stream = Stream::ready();
    assert_eq!(flooded(&mut stream, &small, 50 << 20), None);
    stream.bounds.hears = true;
    for _ in 0..3 {
        // Each costs its bytes and 128 more.
        (0..(4 << 20) / 143).for_each(|_| stream.read(&small));
        assert_eq!(stream.excess, None);
        stream.bounds.took_notifications();
    }
    let beyond = flooded(&mut stream, &small, 4 << 20);
    assert_eq!(beyond, Some(Excess::Notifications(4 << 20)));
}

#[test]
fn what_has_come_of_a_long_message_counts_until_it_is_whole() {
    let budget = Budget::new("bytes of a test", 3 << 20);
    for (kind, size, counts) in [
        (b'D', 2 << 20, true),
        (b'N', 2 << 20, true),
        (b'D', 60_000, false),
        (b'D', 9 << 20, false),
        (b'd', 9 << 20, false),
    ] {
        let mut stream = Stream::running();
        stream.bounds.held = Share::of([budget.clone()]).hold_nothing();
        stream.read(&announced(kind, size));
        let mut left = size;
        while left > 1000 {
            stream.read(&[0; 1000]);
            left -= 1000;
            let came = size - left;
            let held = if counts && came > 64 << 10 { came.next_power_of_two() } else { 0 };
            assert_eq!(budget.used(), held, "{size}");
        }
        stream.read(&vec![0; left]);
        assert_eq!((budget.used(), stream.excess), (0, None));
    }
    let mut stream = Stream::running();
    stream.bounds.held = Share::of([budget.clone()]).hold_nothing();
    stream.read(&announced(b'D', 5 << 20));
    stream.read(&vec![0; 2 << 20]);
    assert_eq!(stream.excess, None);
    stream.read(&[0]);
    assert!(matches!(stream.excess, Some(Excess::NoRoom(spent)) if spent.limit == 3 << 20));
    drop(stream);
    assert_eq!(budget.used(), 0);
}

#[test]
fn memory_that_counts_is_no_less_than_what_is_taken() {
    let budget = Budget::new("bytes of a test", 64 << 20);
    let mut stream = Stream::running();
    stream.bounds.held = Share::of([budget.clone()]).hold_nothing();
    stream.read(&announced(b'D', 8 << 20));
    for _ in 0..8 << 10 {
        stream.read(&[0; 1000]);
        let taken = stream.reader.capacity();
        // The buffer grows when it is about to be full.
        let counted = budget.used().max(64 << 10);
        assert!(taken <= 2 * counted, "{taken} {counted} {:?}", stream.reader.unfinished());
    }
}
