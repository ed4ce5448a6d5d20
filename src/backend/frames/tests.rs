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

/// A message of this length without its body.
fn announced(kind: u8, body: usize) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(((body + 4) as u32).to_be_bytes());
    out
}

/// Reads it all, cut at a place; tells what was too much.
fn excess(frames: &mut Frames, bytes: &[u8], cut: usize) -> Option<Excess> {
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    frames.read(first);
    frames.read(second);
    frames.excess
}

/// A server that is ready for statements.
fn ready() -> Frames {
    let mut frames = Frames::default();
    frames.read(&message(b'Z', b"I"));
    frames
}

#[test]
fn messages_beyond_measure_are_told_before_they_come() {
    for (asked, kind, most) in [
        (0, b'R', 64 << 10),
        (0, b'N', 64 << 10),
        (1, b'E', 8 << 20),
        (2, b'N', 8 << 20),
        (2, b'C', 8 << 20),
        (2, b'S', 64 << 10),
        (2, b'A', 64 << 10),
    ] {
        let told = |body, cut| {
            let mut frames = if asked == 0 { Frames::default() } else { ready() };
            if asked == 2 {
                frames.start_statement();
            }
            excess(&mut frames, &announced(kind, body), cut)
        };
        for cut in 0..6 {
            assert_eq!(told(most, cut), None);
            assert_eq!(told(most + 1, cut), Some(Excess::Message(most)));
        }
    }
    // Neither of these is ever whole in memory.
    for kind in [b'd', b'D'] {
        let mut frames = ready();
        frames.start_statement();
        assert_eq!(excess(&mut frames, &announced(kind, 1 << 30), 3), None);
    }
}

/// So many bytes of a message again and again; tells what was too much.
fn flooded(frames: &mut Frames, message: &[u8], bytes: usize) -> Option<Excess> {
    (0..bytes / message.len()).for_each(|_| frames.read(message));
    frames.excess
}

#[test]
fn what_was_not_asked_for_by_a_statement_is_bounded() {
    let row = message(b'D', &[7; 995]);
    for kind in [b'N', b'R', b'D', b'1'] {
        let one = message(kind, &[7; 995]);
        assert_eq!(flooded(&mut Frames::default(), &one, 250 << 10), None);
        let login = Excess::Login(256 << 10);
        assert_eq!(flooded(&mut Frames::default(), &one, 260 << 10), Some(login));
        assert_eq!(flooded(&mut ready(), &one, 1_000_000), None);
        assert_eq!(flooded(&mut ready(), &one, 1_100_000), Some(Excess::Answer(1 << 20)));
    }
    let mut frames = ready();
    for _ in 0..9 {
        // Each question has its own answer.
        frames.start_prepare();
        assert_eq!(flooded(&mut frames, &row, 1_000_000), None);
    }
    frames.start_statement();
    assert_eq!(flooded(&mut frames, &row, 100_000_000), None);
    // A text that PostgreSQL does not understand comes back in its error.
    let mut frames = ready();
    frames.start_prepare();
    assert_eq!(excess(&mut frames, &message(b'E', &vec![b'x'; 5 << 20]), 9), None);
    assert_eq!(excess(&mut frames, &message(b'Z', b"I"), 9), None);
}

#[test]
fn a_statement_has_so_many_notices_and_no_more() {
    for (kind, count, body) in
        [(b'N', 10_000, 9), (b'S', 10_000, 9), (b'C', 10_000, 9), (b'N', 64, 1 << 20)]
    {
        let mut frames = ready();
        for _ in 0..3 {
            frames.start_statement();
            let one = message(kind, &vec![b'a'; body]);
            (0..count - 1).for_each(|_| frames.read(&one));
            assert!(!frames.bounds.is_flooded());
            (0..2).for_each(|_| frames.read(&one));
            assert!(frames.bounds.is_flooded());
        }
    }
    // Rows are what it was asked for, and notifications are not its own.
    for kind in [b'D', b'd', b'A'] {
        let mut frames = ready();
        frames.start_statement();
        (0..50_000).for_each(|_| frames.read(&message(kind, &[7; 20])));
        assert!(!frames.bounds.is_flooded());
    }
}

#[test]
fn settings_are_bounded_by_what_is_kept_of_them() {
    let setting = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    let mut frames = ready();
    frames.start_statement();
    // The same ones again and again.
    for n in 0..5_000 {
        frames.read(&setting("TimeZone", &n.to_string()));
        frames.read(&setting("search_path", &"s".repeat(n % 60_000)));
    }
    assert_eq!(frames.excess, None);
    let beyond = Excess::Settings { names: 100, bytes: 64 << 10 };
    for n in 0..98 {
        assert_eq!(excess(&mut frames, &setting(&n.to_string(), ""), n), None);
    }
    assert_eq!(excess(&mut frames, &setting("one more", ""), 7), Some(beyond));
    let mut frames = ready();
    assert_eq!(excess(&mut frames, &setting("a", &"x".repeat(40_000)), 7), None);
    assert_eq!(excess(&mut frames, &setting("b", &"x".repeat(40_000)), 7), Some(beyond));
}

#[test]
fn notifications_count_where_they_are_heard() {
    let small = message(b'A', &[b'x'; 10]);
    let mut frames = ready();
    assert_eq!(flooded(&mut frames, &small, 50 << 20), None);
    frames.bounds.hears = true;
    for _ in 0..3 {
        // Each costs its bytes and 128 more.
        (0..(4 << 20) / 143).for_each(|_| frames.read(&small));
        assert!(frames.bounds.has_backlog());
        assert_eq!(frames.excess, None);
        frames.bounds.took_notifications();
        assert!(!frames.bounds.has_backlog());
    }
    let beyond = flooded(&mut frames, &small, 4 << 20);
    assert_eq!(beyond, Some(Excess::Notifications(4 << 20)));
}

#[test]
fn what_has_come_of_a_long_message_counts_until_it_is_whole() {
    use crate::core::budget::{Budget, Share};
    let budget = Budget::new("bytes of a test", 3 << 20);
    for (kind, size, counts) in [
        (b'D', 2 << 20, true),
        (b'N', 2 << 20, true),
        (b'D', 60_000, false),
        (b'D', 9 << 20, false),
        (b'd', 9 << 20, false),
    ] {
        let mut frames = ready();
        frames.start_statement();
        frames.bounds.held = Share::of([budget.clone()]).hold_nothing();
        frames.read(&announced(kind, size));
        for came in (1000..size).step_by(1000) {
            frames.read(&[0; 1000]);
            let held = if counts && came > 64 << 10 { came.next_power_of_two() } else { 0 };
            assert_eq!(budget.used(), held, "{size}");
        }
        frames.read(&vec![0; 1000]);
        assert_eq!((budget.used(), frames.excess), (0, None));
    }
    let mut frames = ready();
    frames.start_statement();
    frames.bounds.held = Share::of([budget.clone()]).hold_nothing();
    frames.read(&announced(b'D', 5 << 20));
    frames.read(&vec![0; 2 << 20]);
    assert_eq!(frames.excess, None);
    frames.read(&[0]);
    assert!(matches!(frames.excess, Some(Excess::NoRoom(spent)) if spent.limit == 3 << 20));
    drop(frames);
    assert_eq!(budget.used(), 0);
}
