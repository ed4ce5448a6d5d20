//! The reader against a parser that has the whole stream before it, over streams drawn
//! from a seed: of good messages, of corrupt ones, cut anywhere.

use super::*;
use crate::core::testing::Xorshift;

/// What a stream was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Whole(u8, Vec<u8>),
    Long(usize),
    /// Of COPY, all that came together.
    Data(Vec<u8>),
    Refused(Excess),
}

fn add(seen: &mut Vec<Seen>, part: &[u8]) {
    match seen.last_mut() {
        Some(Seen::Data(data)) => data.extend_from_slice(part),
        _ => seen.push(Seen::Data(part.to_vec())),
    }
}

/// What was asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Login,
    Question,
    Statement,
}

impl Asked {
    fn bounds(self) -> Bounds {
        let mut bounds = Bounds::default();
        match self {
            Asked::Login => {}
            Asked::Question => bounds.start_question(),
            Asked::Statement => bounds.start_statement(),
        }
        bounds
    }

    /// The longest message, by PostgreSQL's documentation and docs/limits.md.
    fn longest(self, kind: u8) -> usize {
        match (self, kind) {
            (_, b'D' | b'd') => 1 << 30,
            (Asked::Login, _) | (_, b'A' | b'S') => 65_536,
            _ => 8_388_608,
        }
    }

    /// What may come in all, and what is said of more.
    fn all(self) -> (usize, Excess) {
        match self {
            Asked::Login => (262_144, Excess::Login(262_144)),
            Asked::Question => (1_048_576, Excess::Answer(1_048_576)),
            Asked::Statement => (usize::MAX, Excess::Answer(0)),
        }
    }

    /// What of a message counts in that.
    fn counted(self, kind: u8, size: usize) -> usize {
        match (self, kind) {
            (Asked::Question, b'A') => 0,
            (Asked::Question, b'E') => (size + 5).min(65_536),
            _ => size + 5,
        }
    }
}

/// Whether a message of this kind may have this body.
fn is_good(kind: u8, body: &[u8]) -> bool {
    match kind {
        b'1' | b'2' | b'3' | b'n' | b'I' | b's' | b'c' => body.is_empty(),
        b'C' => body.last() == Some(&0),
        b'Z' => matches!(body, [b'I' | b'T' | b'E']),
        b't' | b'T' | b'D' | b'G' | b'H' | b'E' | b'N' | b'A' | b'S' | b'K' | b'R' | b'v' => true,
        _ => false,
    }
}

/// The second parser.
fn naive(mut bytes: &[u8], asked: Asked) -> Vec<Seen> {
    let (mut seen, (mut left, beyond)) = (Vec::new(), asked.all());
    while bytes.len() >= 5 {
        let kind = bytes[0];
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
        bytes = &bytes[5..];
        let refused = if length < 4 {
            Some(Excess::Length(length))
        } else if length - 4 > asked.longest(kind) {
            Some(Excess::Message(asked.longest(kind)))
        } else if asked.counted(kind, length - 4) > left {
            Some(beyond)
        } else {
            None
        };
        if let Some(excess) = refused {
            seen.push(Seen::Refused(excess));
            return seen;
        }
        let size = length - 4;
        left -= asked.counted(kind, size).min(left);
        if kind == b'd' {
            let part = size.min(bytes.len());
            if part > 0 {
                add(&mut seen, &bytes[..part]);
            }
            bytes = &bytes[part..];
            continue;
        }
        if bytes.len() < size {
            break;
        }
        let (body, rest) = bytes.split_at(size);
        bytes = rest;
        if kind == b'D' && size > 8_388_608 {
            seen.push(Seen::Long(size));
        } else if is_good(kind, body) {
            seen.push(Seen::Whole(kind, body.to_vec()));
        } else {
            seen.push(Seen::Refused(Excess::Garbage(kind)));
            return seen;
        }
    }
    seen
}

/// The reader's, fed in chunks of random sizes, and looked at as one likes.
fn by_reader(mut bytes: &[u8], asked: Asked, seed: &mut Xorshift) -> Vec<Seen> {
    let (mut reader, mut bounds) = (Reader::default(), asked.bounds());
    let mut seen = Vec::new();
    let longest = [3, 50, 5_000, 200_000][seed.below(4) as usize];
    while !bytes.is_empty() {
        let chunk = (1 + seed.below(longest) as usize).min(bytes.len());
        bytes = &bytes[put(&mut reader, &bytes[..chunk])..];
        // The writer reads ahead, and takes messages later.
        if !bytes.is_empty() && seed.below(4) == 0 {
            continue;
        }
        if let Err(excess) = take_all(&mut reader, &mut bounds, &mut seen) {
            seen.push(Seen::Refused(excess));
            return seen;
        }
        match seed.below(8) {
            0 => reader.shrink(),
            1 => reader.rest(),
            _ => {}
        }
        let left = reader.unfinished().map_or(0, |(_, _, came)| came);
        assert!(left > 0 || reader.unread().len() < HEADER || reader.at != ReadState::Header);
    }
    seen
}

fn take_all(reader: &mut Reader, bounds: &mut Bounds, seen: &mut Vec<Seen>) -> Result<(), Excess> {
    while reader.is_ready(bounds)? {
        assert_eq!(reader.is_ready(bounds), Ok(true));
        let (kind, whole) = reader.whole();
        let whole = whole.to_vec();
        match reader.take()? {
            Message::Data(part) => add(seen, part),
            Message::LongRow(size) => seen.push(Seen::Long(size)),
            _ => seen.push(Seen::Whole(kind, whole)),
        }
    }
    Ok(())
}

/// A message that a server may send.
fn good(seed: &mut Xorshift) -> Vec<u8> {
    let kinds = b"123ntTDDDDCIsGHdddcENASKRvZ";
    let kind = kinds[seed.below(kinds.len() as u64) as usize];
    let body = match kind {
        b'1' | b'2' | b'3' | b'n' | b'I' | b's' | b'c' => Vec::new(),
        b'C' => b"INSERT 0 1\0".to_vec(),
        b'Z' => vec![b"ITE"[seed.below(3) as usize]],
        _ => {
            let longest = [1, 20, 300, 20_000, 60_000][seed.below(5) as usize];
            let size = seed.below(longest) as usize;
            (0..size).map(|_| seed.below(256) as u8).collect()
        }
    };
    message(kind, &body)
}

fn stream(seed: &mut Xorshift) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..seed.below(30)).flat_map(|_| good(seed)).collect();
    // Some are corrupt: a byte here and there, a length, an end too soon.
    for _ in 0..seed.below(4) {
        if bytes.is_empty() || seed.below(2) == 0 {
            continue;
        }
        let at = seed.below(bytes.len() as u64) as usize;
        match seed.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = seed.below(256) as u8,
            2 => bytes[at] ^= 1 << seed.below(8),
            _ => drop(bytes.splice(at..at, announced(b'D', seed.below(1 << 32) as usize))),
        }
    }
    bytes
}

#[test]
fn a_stream_is_read_as_by_a_parser_that_has_it_whole() {
    let (mut refused, mut whole) = (0, 0);
    for round in 0..600 {
        let mut seed = Xorshift::new(round);
        let bytes = stream(&mut seed);
        let asked = [Asked::Login, Asked::Question, Asked::Statement][seed.below(3) as usize];
        let expected = naive(&bytes, asked);
        let seen = by_reader(&bytes, asked, &mut seed);
        assert!(seen == expected, "seed {round}: {}", difference(&seen, &expected));
        refused += usize::from(matches!(expected.last(), Some(Seen::Refused(_))));
        whole += expected.len();
    }
    assert!(refused > 60 && whole > 3_000, "{refused} refused, {whole} read");
}

#[test]
fn rows_beyond_measure_are_dropped_wherever_they_are_cut() {
    let size = ROW_MAX + 1;
    let bytes = [
        message(b'D', &[7; 300]),
        message(b'D', &vec![1; size]),
        message(b'd', &[8; 70_000]),
        message(b'D', &vec![2; ROW_MAX]),
        message(b'Z', b"I"),
    ]
    .concat();
    let expected = naive(&bytes, Asked::Statement);
    assert_eq!(expected.len(), 5);
    for round in 0..20 {
        let mut seed = Xorshift::new(round);
        let cut = bytes.len() - seed.below(1000) as usize;
        let expected = naive(&bytes[..cut], Asked::Statement);
        let seen = by_reader(&bytes[..cut], Asked::Statement, &mut seed);
        assert!(seen == expected, "seed {round}: {}", difference(&seen, &expected));
    }
}

/// Where they part.
fn difference(seen: &[Seen], expected: &[Seen]) -> String {
    let short = |seen: Option<&Seen>| format!("{seen:?}").chars().take(200).collect::<String>();
    let at = seen.iter().zip(expected).take_while(|(a, b)| a == b).count();
    format!("message {at}: {} instead of {}", short(seen.get(at)), short(expected.get(at)))
}
