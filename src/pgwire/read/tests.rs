mod messages;
mod random;

use super::*;

/// A message with what is in it.
pub(super) fn shown(message: Message<'_>) -> String {
    let body: &[u8] = match message {
        Message::Parameters(body)
        | Message::Columns(body)
        | Message::Row(body)
        | Message::Complete(body)
        | Message::Data(body)
        | Message::Error(body)
        | Message::Notice(body)
        | Message::Notification(body)
        | Message::Setting(body)
        | Message::Key(body)
        | Message::Authentication(body) => body,
        _ => &[],
    };
    format!("{message:?} {body:?}")
}

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = announced(kind, body.len());
    out.extend_from_slice(body);
    out
}

/// The header of a message with such a body.
pub(super) fn announced(kind: u8, body: usize) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&(body as u32 + 4).to_be_bytes());
    out
}

/// A server that runs a statement of the user's.
pub(super) fn running() -> Bounds {
    let mut bounds = Bounds::default();
    bounds.start_statement();
    bounds
}

/// Puts bytes in as they come, as many as there is room for; tells how many.
pub(super) fn put(reader: &mut Reader, bytes: &[u8]) -> usize {
    let room = reader.room();
    let now = bytes.len().min(room.len());
    room[..now].copy_from_slice(&bytes[..now]);
    reader.filled(now);
    now
}

/// Reads it all in chunks of this size; each message by its `Debug`.
fn read(reader: &mut Reader, bounds: &mut Bounds, bytes: &[u8], size: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for mut chunk in bytes.chunks(size) {
        while !chunk.is_empty() {
            chunk = &chunk[put(reader, chunk)..];
            while reader.is_ready(bounds).unwrap() {
                seen.push(shown(reader.take().unwrap()));
            }
        }
    }
    seen
}

#[test]
fn what_a_length_claims_takes_no_memory() {
    for (kind, size) in
        [(b'D', 8 << 20), (b'D', 1 << 30), (b'd', 1 << 30), (b'E', 8 << 20), (b'N', 8 << 20)]
    {
        let (mut reader, mut bounds) = (Reader::default(), running());
        put(&mut reader, &announced(kind, size));
        let mut came = 0;
        while came < 3 << 20 {
            while reader.is_ready(&mut bounds).unwrap() {
                reader.take().unwrap();
            }
            let dropped = kind == b'd' || size > ROW_MAX;
            let most = if dropped { BUFFER } else { (2 * (came + HEADER + ROOM)).max(BUFFER) };
            assert!(reader.capacity() <= most, "{} after {came} of {size}", reader.capacity());
            came += put(&mut reader, &[7; 10_000]);
        }
    }
}

#[test]
fn a_message_has_no_more_memory_than_twice_its_size() {
    for size in [20_000, 100_000, 1 << 20, ROW_MAX] {
        let (mut reader, mut bounds) = (Reader::default(), running());
        let bytes = message(b'D', &vec![1; size]);
        assert_eq!(read(&mut reader, &mut bounds, &bytes, 16 << 10).len(), 1);
        assert!(reader.capacity() <= 2 * (size + HEADER + ROOM), "{size}: {}", reader.capacity());
    }
}

#[test]
fn short_messages_without_end_take_one_buffer() {
    let (mut reader, mut bounds) = (Reader::default(), running());
    let bytes = message(b'D', &[1; 700]).repeat(10_000);
    assert_eq!(read(&mut reader, &mut bounds, &bytes, 9_001).len(), 10_000);
    assert_eq!(reader.capacity(), BUFFER);
}

#[test]
fn memory_is_given_back_and_nothing_is_lost_with_it() {
    let (mut reader, mut bounds) = (Reader::default(), running());
    let long = message(b'D', &vec![1; 1 << 20]);
    read(&mut reader, &mut bounds, &long, long.len());
    assert!(reader.capacity() >= 1 << 20);
    // What has come of the next message stays.
    let next = message(b'C', b"SELECT 1\0");
    for cut in 0..next.len() {
        let mut bytes = long.clone();
        bytes.extend(&next[..cut]);
        assert_eq!(read(&mut reader, &mut bounds, &bytes, 30_000).len(), 1);
        reader.shrink();
        assert_eq!(reader.capacity(), BUFFER, "{cut}");
        reader.rest();
        assert_eq!(reader.capacity(), if cut == 0 { 0 } else { BUFFER }, "{cut}");
        let seen = read(&mut reader, &mut bounds, &next[cut..], 3);
        assert_eq!(seen, [shown(Message::Complete(b"SELECT 1"))], "{cut}");
        assert!(reader.is_empty());
    }
    // Nor while a long message is coming.
    let (half, other) = long.split_at(300_000);
    read(&mut reader, &mut bounds, half, 10_000);
    reader.shrink();
    assert!(reader.capacity() >= 300_000 - HEADER);
    assert_eq!(read(&mut reader, &mut bounds, other, 10_000).len(), 1);
    reader.shrink();
    reader.rest();
    assert_eq!(reader.capacity(), 0);
}

#[test]
fn a_long_row_is_dropped_while_it_comes() {
    let (mut reader, mut bounds) = (Reader::default(), running());
    let size = 64 << 20;
    let bytes = [message(b'D', &vec![1; size]), message(b'D', &[0, 0])].concat();
    let seen = read(&mut reader, &mut bounds, &bytes, 100_000);
    let expected = [Message::LongRow(size), Message::Row(&[0, 0])];
    assert_eq!(seen, expected.map(shown));
    assert_eq!(reader.capacity(), BUFFER);
    // The longest that is not.
    let bytes = message(b'D', &vec![1; ROW_MAX]);
    assert!(read(&mut reader, &mut bounds, &bytes, 1 << 20)[0].starts_with("Row"));
}

#[test]
fn impossible_lengths_are_told() {
    for (length, told) in [
        (0u32, Excess::Length(0)),
        (3, Excess::Length(3)),
        (0x8000_0000, Excess::Message(8 << 20)),
        (u32::MAX, Excess::Message(8 << 20)),
    ] {
        let (mut reader, mut bounds) = (Reader::default(), running());
        let bytes = [&[b'T'][..], &length.to_be_bytes(), b"more"].concat();
        put(&mut reader, &bytes);
        assert_eq!(reader.is_ready(&mut bounds), Err(told));
        assert!(reader.capacity() <= BUFFER);
    }
}
