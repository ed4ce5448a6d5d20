//! Each kind of message, however it is cut.

use super::*;
use crate::core::transaction::TransactionState;

/// One of each kind, and what it is read as.
fn each() -> Vec<(Vec<u8>, Message<'static>)> {
    let is = |kind, body: &[u8], read| (message(kind, body), read);
    vec![
        is(b'1', b"", Message::Parsed),
        is(b'2', b"", Message::Bound),
        is(b'3', b"", Message::Closed),
        is(b't', b"\0\0", Message::Parameters(b"\0\0")),
        is(b'T', b"\0\0", Message::Columns(b"\0\0")),
        is(b'n', b"", Message::NoColumns),
        is(b'D', b"\0\0", Message::Row(b"\0\0")),
        is(b'D', b"", Message::Row(b"")),
        is(b'C', b"SELECT 1\0", Message::Complete(b"SELECT 1")),
        is(b'I', b"", Message::Empty),
        is(b's', b"", Message::Suspended),
        is(b'G', b"\0\0\0", Message::CopyIn),
        is(b'H', b"\0\0\0", Message::CopyOut),
        is(b'd', b"x", Message::Data(b"x")),
        is(b'c', b"", Message::DataEnd),
        is(b'E', b"SERROR\0\0", Message::Error(b"SERROR\0\0")),
        is(b'N', b"SNOTICE\0\0", Message::Notice(b"SNOTICE\0\0")),
        is(b'A', b"\0\0\0\x01c\0p\0", Message::Notification(b"\0\0\0\x01c\0p\0")),
        is(b'S', b"a\0b\0", Message::Setting(b"a\0b\0")),
        is(b'K', b"\0\0\0\x01\0\0\0\x02", Message::Key(b"\0\0\0\x01\0\0\0\x02")),
        is(b'R', b"\0\0\0\0", Message::Authentication(b"\0\0\0\0")),
        is(b'v', b"\0\0\0\0\0\0\0\0", Message::Version),
        is(b'Z', b"I", Message::Ready(TransactionState::None)),
        is(b'Z', b"T", Message::Ready(TransactionState::Open)),
        is(b'Z', b"E", Message::Ready(TransactionState::Failed)),
    ]
}

#[test]
fn each_kind_is_read_however_the_bytes_are_cut() {
    let all = each();
    let bytes: Vec<u8> = all.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let expected: Vec<String> = all.iter().map(|(_, read)| shown(*read)).collect();
    for size in 1..=bytes.len() {
        let (mut reader, mut bounds) = (Reader::default(), Bounds::default());
        assert_eq!(read(&mut reader, &mut bounds, &bytes, size), expected, "{size}");
        assert!(reader.is_empty());
    }
}

#[test]
fn a_message_that_is_not_whole_is_not_given_away() {
    for (bytes, is) in each() {
        for cut in 0..bytes.len() {
            let (mut reader, mut bounds) = (Reader::default(), Bounds::default());
            put(&mut reader, &bytes[..cut]);
            assert_eq!(reader.is_ready(&mut bounds), Ok(false), "{is:?} {cut}");
            assert_eq!(reader.is_empty(), cut == 0, "{is:?} {cut}");
        }
    }
}

#[test]
fn messages_are_whole_however_the_bytes_are_cut() {
    let row = vec![b'Z'; 5000];
    let bytes = [message(b'D', &row), message(b'n', b""), message(b'Z', b"T")].concat();
    for size in [1, 2, 3, 5, 7, 4096, bytes.len()] {
        let (mut reader, mut bounds) = (Reader::default(), Bounds::default());
        let seen = read(&mut reader, &mut bounds, &bytes, size);
        let expected =
            [Message::Row(&row), Message::NoColumns, Message::Ready(TransactionState::Open)];
        assert_eq!(seen, expected.map(shown), "{size}");
        assert!(reader.is_empty());
    }
}

#[test]
fn bytes_inside_a_message_are_not_taken_for_another() {
    let (mut reader, mut bounds) = (Reader::default(), Bounds::default());
    let inner = message(b'Z', b"E");
    let seen = read(&mut reader, &mut bounds, &message(b'D', &inner), 1);
    assert_eq!(seen, [shown(Message::Row(&inner))]);
}

#[test]
fn copy_data_comes_in_parts_and_is_whole() {
    let data: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let mut bytes: Vec<u8> = data.chunks(30_000).flat_map(|part| message(b'd', part)).collect();
    bytes.extend(message(b'd', b""));
    bytes.extend(message(b'c', b""));
    for size in [1, 1000, 16 << 10, bytes.len()] {
        let (mut reader, mut bounds) = (Reader::default(), running());
        let (mut whole, mut ended) = (Vec::new(), false);
        for mut chunk in bytes.chunks(size) {
            while !chunk.is_empty() {
                chunk = &chunk[put(&mut reader, chunk)..];
                while reader.is_ready(&mut bounds).unwrap() {
                    match reader.take().unwrap() {
                        Message::Data(part) => {
                            assert!(!part.is_empty());
                            whole.extend_from_slice(part);
                        }
                        other => ended = other == Message::DataEnd,
                    }
                }
            }
        }
        assert!(whole == data && ended, "{size}");
        assert!(reader.capacity() <= BUFFER);
        // Much that comes at once does not stay in the small one.
        assert!(size < BUFFER || reader.capacity() == BUFFER);
    }
}

#[test]
fn what_is_no_message_is_told_by_its_type() {
    let known: Vec<u8> = each().iter().map(|(bytes, _)| bytes[0]).collect();
    for kind in 0..=255 {
        let (mut reader, mut bounds) = (Reader::default(), running());
        put(&mut reader, &message(kind, b"x"));
        assert_eq!(reader.is_ready(&mut bounds), Ok(true));
        assert_eq!((reader.kind(), reader.is_ready(&mut bounds)), (kind, Ok(true)));
        let is_good = reader.take().is_ok();
        // Those have no body, or one of another form.
        let is_other = b"123nIscCZ".contains(&kind);
        assert_eq!(is_good, known.contains(&kind) && !is_other, "{kind}");
    }
}
