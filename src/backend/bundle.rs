//! Rows in bundles: what the driver is told of a large result.
//!
//! The driver costs a microsecond for each row it hands out, whatever the row is.
//! So the rows that one read has brought go to it as a single row, which holds
//! them in its last column as they came, and are taken apart again behind it. Each
//! message keeps its place among the others, and no row waits for the next one.
//!
//! The driver also keeps each message in memory until it is whole, and each
//! notification until somebody asks. So the data of a COPY comes to it in pieces, of a
//! row that is too long only its length, and notifications only where they are heard.
//!
//! Pure: bytes in, bytes out.

use crate::error::NOTICES_MAX;

/// A longer row is of no use to anybody: an answer has 3.5 MiB, and decoding does not
/// halve a row.
pub(super) const ROW_MAX: usize = 8 << 20;

/// So many types are looked up for one statement. The driver's look-up calls itself for
/// each type inside another, with 1.3 kB of stack, and a worker has 2 MiB or more; wide
/// rows of many enums need two look-ups for each of them.
pub(super) const LOOKUPS_MAX: usize = 500;

/// How messages are bundled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Bundling {
    /// Not at all.
    #[default]
    None,
    /// Rows, into rows of so many columns: the driver knows how many to expect.
    Rows(usize),
    /// The data of a COPY, which may be cut and joined anywhere.
    Data,
    /// Not at all, and after [`LOOKUPS_MAX`] look-ups they find nothing: the driver then
    /// gives up by itself, and the connection goes on.
    Lookups,
}

/// What is wanted of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    /// Since when it was set, look-ups are counted.
    pub(super) bundling: Bundling,
    /// Look-ups of types since then; each binds its parameter.
    pub(super) lookups: usize,
    /// Notices since then. Of more than a statement may send, none reaches the driver:
    /// it reads them at a twentieth of the speed, and would be late for the cancel.
    pub(super) notices: usize,
    /// Notifications are passed on.
    pub(super) hears: bool,
}

impl Bundling {
    /// For the rows of a statement with so many columns. Without one there is no
    /// place for a bundle.
    pub(super) fn rows(columns: usize) -> Bundling {
        if columns > 0 {
            Bundling::Rows(columns)
        } else {
            Bundling::None
        }
    }
}

/// Bundles the messages of one stream.
#[derive(Debug, Default)]
pub(super) struct Bundler {
    header: [u8; HEADER],
    header_len: usize,
    /// What is still to come of the message under way, and what becomes of it.
    body_left: usize,
    body: Body,
}

/// What becomes of a message's body.
#[derive(Debug, Default)]
enum Body {
    #[default]
    Passes,
    /// It comes as messages of its own.
    InPieces,
    IsDropped,
    /// At its end it is told that there was one of this length.
    IsTooLong {
        columns: usize,
        length: usize,
    },
}

/// A message's kind in one byte, then its length, which counts itself.
const HEADER: usize = 5;
const LENGTH: usize = 4;

impl Bundler {
    /// Takes the next bytes of the stream, cut anywhere, and adds to `out` what the
    /// driver gets of them.
    pub(super) fn bundle(&mut self, plan: &mut Plan, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let (body, rest) = bytes.split_at(self.body_left.min(bytes.len()));
                match self.body {
                    Body::Passes => out.extend_from_slice(body),
                    Body::InPieces => {
                        head(b'd', body.len(), out);
                        out.extend_from_slice(body);
                    }
                    Body::IsDropped | Body::IsTooLong { .. } => {}
                }
                self.body_left -= body.len();
                if let (0, Body::IsTooLong { columns, length }) = (self.body_left, &self.body) {
                    open(*columns, LENGTH, out);
                    out.extend((*length as u32).to_be_bytes());
                }
                bytes = rest;
                continue;
            }
            let kind = if self.header_len > 0 { self.header[0] } else { bytes[0] };
            let whole = if self.header_len > 0 { 0 } else { whole(kind, bytes) };
            bytes = match (plan.bundling, kind) {
                (Bundling::Rows(columns), b'D') if whole > 0 => {
                    let (rows, rest) = bytes.split_at(whole);
                    open(columns, rows.len(), out);
                    out.extend_from_slice(rows);
                    rest
                }
                (Bundling::Data, b'd') if whole > 0 => {
                    let (data, rest) = bytes.split_at(whole);
                    join(data, out);
                    rest
                }
                _ => self.begin(plan, bytes, out),
            };
        }
    }

    /// Takes what there is of a header, and decides on the message's body.
    fn begin<'a>(&mut self, plan: &mut Plan, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (head, rest) = bytes.split_at((HEADER - self.header_len).min(bytes.len()));
        self.header[self.header_len..self.header_len + head.len()].copy_from_slice(head);
        self.header_len += head.len();
        if self.header_len == HEADER {
            let length = length(&self.header).unwrap_or(0);
            // The driver fails by itself over a length that is none.
            self.body_left = length.saturating_sub(LENGTH);
            self.body = self.decide(plan, length, out);
            if matches!(self.body, Body::Passes) {
                out.extend_from_slice(&self.header);
            }
            self.header_len = 0;
        }
        rest
    }

    /// What becomes of the message of this length, which counts itself.
    fn decide(&self, plan: &mut Plan, length: usize, out: &mut Vec<u8>) -> Body {
        match (self.header[0], plan.bundling) {
            (b'd', _) if length > LENGTH => Body::InPieces,
            (b'A', _) if !plan.hears => Body::IsDropped,
            (b'N', _) => {
                plan.notices += 1;
                if plan.notices > NOTICES_MAX {
                    Body::IsDropped
                } else {
                    Body::Passes
                }
            }
            (b'2', Bundling::Lookups) => {
                plan.lookups += 1;
                Body::Passes
            }
            (b'D', Bundling::Lookups) if plan.lookups > LOOKUPS_MAX => Body::IsDropped,
            (b'D', Bundling::Rows(columns)) if length > ROW_MAX => {
                Body::IsTooLong { columns, length }
            }
            // Nobody asked for it.
            (b'D', _) if length > ROW_MAX => Body::IsDropped,
            (b'D', Bundling::Rows(columns)) if length >= LENGTH => {
                open(columns, 1 + length, out);
                Body::Passes
            }
            _ => Body::Passes,
        }
    }
}

/// What a message says of its length, if that much of it is there.
fn length(message: &[u8]) -> Option<usize> {
    let length = message.get(1..)?.first_chunk()?;
    Some(u32::from_be_bytes(*length) as usize)
}

/// The length of the messages of this kind that `bytes` begin with, those that are
/// all there.
fn whole(kind: u8, bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(message) = bytes.get(end..).filter(|message| message.first() == Some(&kind)) {
        match length(message) {
            Some(length @ LENGTH..) if length < message.len() => end += 1 + length,
            _ => break,
        }
    }
    end
}

/// The head of a row of `columns` columns, whose last one will be `content` long.
fn open(columns: usize, content: usize, out: &mut Vec<u8>) {
    let nulls = columns.saturating_sub(1);
    // PostgreSQL has 1664 columns at most, and messages of less than 1 GiB.
    let length = LENGTH + 2 + LENGTH * nulls + LENGTH + content;
    out.push(b'D');
    out.extend((length as u32).to_be_bytes());
    out.extend((columns as u16).to_be_bytes());
    out.resize(out.len() + LENGTH * nulls, 0xff);
    out.extend((content as u32).to_be_bytes());
}

/// The header of a message whose body has so many bytes.
fn head(kind: u8, body: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(((LENGTH + body) as u32).to_be_bytes());
}

/// Joins messages with data into one.
fn join(mut data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    head(b'd', 0, out);
    while let Some((message, rest)) =
        length(data).and_then(|length| data.split_at_checked(1 + length))
    {
        out.extend_from_slice(message.get(HEADER..).unwrap_or_default());
        data = rest;
    }
    let length = (out.len() - start - 1) as u32;
    if let Some(place) = out.get_mut(start + 1..start + HEADER) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// The length of the row that stood in place of this bundle, if it was too long.
pub(super) fn too_long(bundle: &[u8]) -> Option<usize> {
    // A row has a header at least.
    let length: [u8; LENGTH] = bundle.try_into().ok()?;
    Some(u32::from_be_bytes(length) as usize)
}

/// Takes a bundle of rows apart: the body of each.
pub(super) fn unbundle(mut rows: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (row, rest) = rows.split_at_checked(1 + length(rows)?)?;
        rows = rest;
        row.get(HEADER..)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    /// Bundled in pieces of `size` bytes, as messages.
    fn bundled(bundling: Bundling, bytes: &[u8], size: usize) -> Vec<(u8, Vec<u8>)> {
        let mut plan = Plan { bundling, ..Plan::default() };
        planned(&mut plan, bytes, size)
    }

    fn planned(plan: &mut Plan, bytes: &[u8], size: usize) -> Vec<(u8, Vec<u8>)> {
        let (mut bundler, mut out) = (Bundler::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| bundler.bundle(plan, piece, &mut out));
        let (mut messages, mut rest) = (Vec::new(), out.as_slice());
        while let Some(length) = length(rest) {
            messages.push((rest[0], rest[HEADER..1 + length].to_vec()));
            rest = &rest[1 + length..];
        }
        assert!(rest.is_empty());
        messages
    }

    /// Messages in which rows and data stand among others, some of them empty.
    fn conversation() -> Vec<(u8, Vec<u8>)> {
        let body = |n: u8| vec![b'D'; usize::from(n) * 7];
        let kinds = b"2DDDNDDddddNdCZ".iter().zip(0..);
        kinds.map(|(kind, n)| (*kind, body(if *kind == b'N' { 0 } else { n }))).collect()
    }

    fn bytes(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
        messages.iter().flat_map(|(kind, body)| message(*kind, body)).collect()
    }

    #[test]
    fn without_bundling_every_byte_stays_as_it_is() {
        let said = conversation();
        let rows: Vec<_> = said.iter().filter(|(kind, _)| *kind != b'd').cloned().collect();
        for size in [1, 3, 10, 10_000] {
            assert_eq!(bundled(Bundling::None, &bytes(&rows), size), rows);
        }
    }

    #[test]
    fn bundles_come_apart_into_the_rows_in_their_place() {
        let rows = conversation().into_iter().filter(|(kind, _)| *kind != b'd');
        let rows: Vec<_> = rows.collect();
        for columns in [1, 3] {
            for size in [1, 2, 3, 5, 7, 19, 64, 10_000] {
                let mut apart = Vec::new();
                for (kind, body) in bundled(Bundling::Rows(columns), &bytes(&rows), size) {
                    if kind != b'D' {
                        apart.push((kind, body));
                        continue;
                    }
                    let nulls = 4 * (columns - 1);
                    assert_eq!(body[..2], (columns as u16).to_be_bytes());
                    assert!(body[2..2 + nulls].iter().all(|byte| *byte == 0xff));
                    let content = &body[2 + nulls + 4..];
                    assert_eq!(body[2 + nulls..][..4], (content.len() as u32).to_be_bytes());
                    apart.extend(unbundle(content).map(|row| (b'D', row.to_vec())));
                }
                assert_eq!(apart, rows, "{columns} columns, pieces of {size}");
            }
        }
    }

    #[test]
    fn rows_of_one_read_are_one_and_those_that_are_whole_do_not_wait() {
        let mut rows = bytes(&[(b'D', vec![1; 20]), (b'D', vec![2; 20])]);
        let (mut bundler, mut out) = (Bundler::default(), Vec::new());
        let mut plan = Plan { bundling: Bundling::Rows(1), ..Plan::default() };
        bundler.bundle(&mut plan, &rows, &mut out);
        assert_eq!(length(&out), Some(out.len() - 1));
        assert_eq!(out.len(), rows.len() + 11);
        out.clear();
        rows.extend(message(b'D', &[3; 20]));
        bundler.bundle(&mut plan, &rows[..rows.len() - 5], &mut out);
        assert_eq!(length(&out), Some(50 + 10));
    }

    #[test]
    fn data_is_joined_between_other_messages() {
        let said = conversation();
        let joined = |size| {
            let messages = bundled(Bundling::Data, &bytes(&said), size).into_iter();
            messages.filter(|(kind, _)| *kind == b'd' || *kind == b'N').collect::<Vec<_>>()
        };
        let kinds = |messages: &[(u8, Vec<u8>)]| messages.iter().map(|m| m.0).collect::<Vec<_>>();
        assert_eq!(kinds(&joined(10_000)), b"NdNd");
        let content = |messages: &[(u8, Vec<u8>)]| {
            messages.iter().flat_map(|(_, body)| body.clone()).collect::<Vec<_>>()
        };
        let whole: Vec<_> = said.iter().filter(|(kind, _)| *kind == b'd').cloned().collect();
        for size in [1, 4, 9, 33, 10_000] {
            assert_eq!(content(&joined(size)), content(&whole), "{size}");
        }
    }

    /// A message of this length without its body, which counts as sent.
    fn announced(kind: u8, body: usize) -> Vec<u8> {
        let mut out = Vec::new();
        head(kind, body, &mut out);
        out
    }

    #[test]
    fn data_passes_in_pieces_however_long_it_is_and_whatever_is_bundled() {
        let mut bundler = Bundler::default();
        for bundling in [Bundling::None, Bundling::Data, Bundling::Rows(2)] {
            let mut plan = Plan { bundling, ..Plan::default() };
            let mut out = Vec::new();
            bundler.bundle(&mut plan, &announced(b'd', 1000 << 20), &mut out);
            assert!(out.is_empty());
            for _ in 0..1000 << 8 {
                out.clear();
                bundler.bundle(&mut plan, &[7; 4096], &mut out);
                assert_eq!(out.len(), 4096 + HEADER);
            }
            out.clear();
            let ready = message(b'Z', b"I");
            bundler.bundle(&mut plan, &ready, &mut out);
            assert_eq!(out, ready);
        }
    }

    #[test]
    fn of_a_row_that_is_too_long_only_its_length_passes() {
        let (before, after) = (message(b'D', &[1; 9]), message(b'C', b"SELECT 2\0"));
        let long = announced(b'D', 100 << 20);
        for cut in 0..long.len() {
            for columns in [0, 1, 3] {
                let (mut bundler, mut out) = (Bundler::default(), Vec::new());
                let mut plan = Plan { bundling: Bundling::rows(columns), ..Plan::default() };
                bundler.bundle(&mut plan, &before, &mut out);
                out.clear();
                bundler.bundle(&mut plan, &long[..cut], &mut out);
                bundler.bundle(&mut plan, &long[cut..], &mut out);
                for _ in 0..100 << 4 {
                    // It is told when it is over, so that nobody is in a hurry before.
                    assert!(out.is_empty());
                    bundler.bundle(&mut plan, &[9; 64 << 10], &mut out);
                }
                let marker = if columns > 0 { HEADER + 2 + 4 * columns + LENGTH } else { 0 };
                assert_eq!(out.len(), marker);
                let content = out.len().saturating_sub(LENGTH);
                assert_eq!(too_long(&out[content..]).is_some(), columns > 0);
                out.clear();
                bundler.bundle(&mut plan, &after, &mut out);
                assert_eq!(out, after);
            }
        }
        assert_eq!(too_long(&[0, 0, 1, 2]), Some(258));
        assert_eq!(too_long(&before), None);
    }

    #[test]
    fn notifications_pass_only_where_they_are_heard() {
        let said = [(b'A', vec![1; 30]), (b'N', vec![2; 9]), (b'A', vec![]), (b'Z', vec![b'I'])];
        let bytes = bytes(&said);
        for size in 1..bytes.len() {
            for hears in [false, true] {
                let heard = planned(&mut Plan { hears, ..Plan::default() }, &bytes, size);
                let expected = said.iter().filter(|(kind, _)| hears || *kind != b'A');
                assert!(heard.iter().eq(expected), "{size}");
            }
        }
    }

    #[test]
    fn notices_beyond_their_limit_are_dropped() {
        let bytes = message(b'N', &[1; 9]).repeat(NOTICES_MAX + 5);
        for size in [1, 13, 4096] {
            let mut plan = Plan::default();
            assert_eq!(planned(&mut plan, &bytes, size).len(), NOTICES_MAX);
        }
    }

    #[test]
    fn look_ups_beyond_their_limit_find_nothing() {
        let lookup = [(b'2', vec![]), (b'D', vec![3; 40]), (b'C', b"SELECT 1\0".to_vec())];
        let bytes = bytes(&lookup).repeat(LOOKUPS_MAX + 10);
        let found = |plan: &mut Plan, size| {
            let said = planned(plan, &bytes, size);
            said.iter().filter(|(kind, _)| *kind == b'D').count()
        };
        for size in [1, 7, 61, 4096] {
            let mut plan = Plan { bundling: Bundling::Lookups, ..Plan::default() };
            assert_eq!(found(&mut plan, size), LOOKUPS_MAX);
            assert_eq!(plan.lookups, LOOKUPS_MAX + 10);
            assert_eq!(found(&mut Plan::default(), size), LOOKUPS_MAX + 10);
        }
    }

    #[test]
    fn impossible_lengths_reach_the_driver_as_they_are() {
        for length in [0u8, 3] {
            let bytes = [b'D', 0, 0, 0, length, b'd', 0, 0, 0, length];
            for bundling in [Bundling::None, Bundling::Rows(2), Bundling::Data] {
                let (mut bundler, mut out) = (Bundler::default(), Vec::new());
                let mut plan = Plan { bundling, ..Plan::default() };
                bundler.bundle(&mut plan, &bytes, &mut out);
                assert_eq!(out, bytes);
            }
        }
        assert_eq!(unbundle(&[b'D', 0, 0, 0, 0, 1]).count(), 0);
        assert_eq!(unbundle(&[b'D', 0, 0, 0, 9, 1]).count(), 0);
    }
}
