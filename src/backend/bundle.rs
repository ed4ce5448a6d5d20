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
mod tests;
