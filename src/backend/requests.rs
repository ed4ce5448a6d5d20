//! Requests of the driver that go out otherwise than it writes them.
//!
//! Pure: bytes in, bytes out.

use std::borrow::Cow;

/// Three messages: Execute, of the portal without a name to its end, and two
/// without content.
const EXECUTE: [u8; 10] = [b'E', 0, 0, 0, 9, 0, 0, 0, 0, 0];
const SYNC: [u8; 5] = [b'S', 0, 0, 0, 4];
const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];

/// While the data of a COPY goes out, so much of it at most before the stream is
/// read.
const WAY_BYTES: usize = 64 << 10;
/// Longer requests are not copied to change their end; what is before it goes out
/// first.
const COPY_MAX: usize = 16 << 10;

/// What is to be changed in what the driver writes next.
#[derive(Debug, Default)]
pub(super) struct Requests {
    copy_in: CopyIn,
    rows: Rows,
}

/// What of a COPY FROM STDIN is still to be sent otherwise than the driver does.
#[derive(Debug, Default, PartialEq, Eq)]
enum CopyIn {
    /// Nothing.
    #[default]
    None,
    /// The Sync behind the next Execute.
    Execute,
    /// The Sync at the end of the bytes that are being written.
    Sync,
    /// It was sent, and data is: so many bytes since the stream last gave way.
    Data(usize),
}

/// How many rows a statement is asked for, if not for all.
#[derive(Debug, Default, PartialEq, Eq)]
enum Rows {
    #[default]
    All,
    /// By the next Execute.
    Execute(u32),
    /// By the one that is at the end of the bytes that are being written.
    Rest(u32),
}

impl Requests {
    /// A COPY FROM STDIN starts. The driver sends a Sync with it, and another one at
    /// the end of the data; where PostgreSQL refuses the COPY it would answer both,
    /// and the driver expects one answer only. So the first goes out as a Flush,
    /// which PostgreSQL reads over while it takes data, as it does a Sync.
    pub(super) fn start_copy_in(&mut self) {
        self.copy_in = CopyIn::Execute;
    }

    /// The COPY FROM STDIN is over.
    pub(super) fn end_copy_in(&mut self) {
        self.copy_in = CopyIn::None;
    }

    /// The next statement is asked for so many rows at most; `None` = for all.
    pub(super) fn limit_rows(&mut self, limit: Option<u32>) {
        self.rows = limit.map_or(Rows::All, Rows::Execute);
    }

    /// True if reading should come first now. The driver looks for what PostgreSQL
    /// says only when it cannot write, and a PostgreSQL that has refused a COPY
    /// takes its data without end.
    pub(super) fn gives_way(&mut self) -> bool {
        let due = matches!(self.copy_in, CopyIn::Data(bytes) if bytes >= WAY_BYTES);
        if due {
            self.copy_in = CopyIn::Data(0);
        }
        due
    }

    /// What goes out in place of `bytes`. What is offered again, because it was not
    /// taken, or in part, is changed again.
    pub(super) fn outgoing<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let request = match self.copy_in {
            CopyIn::None | CopyIn::Data(_) => return self.limited(bytes),
            CopyIn::Execute => {
                bytes.strip_suffix(&SYNC).filter(|request| request.ends_with(&EXECUTE))
            }
            // The rest of what was offered before and taken in part.
            CopyIn::Sync => bytes.strip_suffix(&SYNC),
        };
        let Some(request) = request else {
            return Cow::Borrowed(bytes);
        };
        self.copy_in = CopyIn::Sync;
        Cow::Owned([request, &FLUSH].concat())
    }

    fn limited<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let limit = match self.rows {
            Rows::All => return Cow::Borrowed(bytes),
            Rows::Rest(limit) => limit,
            Rows::Execute(limit) => {
                let before = bytes.strip_suffix(&SYNC);
                let Some(before) = before.and_then(|before| before.strip_suffix(&EXECUTE)) else {
                    return Cow::Borrowed(bytes);
                };
                if before.len() > COPY_MAX {
                    return Cow::Borrowed(before);
                }
                self.rows = Rows::Rest(limit);
                limit
            }
        };
        let mut changed = bytes.to_vec();
        // The number is the end of Execute, most of its bytes first.
        let backwards = changed.iter_mut().rev().skip(SYNC.len());
        backwards.zip(limit.to_le_bytes()).for_each(|(byte, new)| *byte = new);
        Cow::Owned(changed)
    }

    /// So many bytes went out, of `changed` ones if not of the driver's own.
    pub(super) fn wrote(&mut self, written: usize, changed: Option<usize>) {
        match (&mut self.copy_in, changed) {
            (CopyIn::Data(bytes), _) => *bytes += written,
            (copy_in @ CopyIn::Sync, Some(length)) if written + FLUSH.len() > length => {
                *copy_in = CopyIn::Data(0);
            }
            (CopyIn::None, Some(length)) if written == length => self.rows = Rows::All,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out of `bytes` if so much at most is taken at a time.
    fn sent(requests: &mut Requests, mut bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let offered = requests.outgoing(bytes);
            // What was not taken at all is offered again, the same.
            let taken = offered.len().min(piece);
            out.extend_from_slice(&offered[..taken]);
            let changed = matches!(offered, Cow::Owned(_)).then_some(offered.len());
            assert_eq!(requests.outgoing(bytes), offered);
            requests.wrote(taken, changed);
            bytes = &bytes[taken..];
        }
        out
    }

    #[test]
    fn a_limit_is_put_into_the_next_execute_and_no_other() {
        const LIMIT: u32 = 0x0102_0304;
        let execute = [&EXECUTE[..], &SYNC].concat();
        for bind in [0, 1, 100, COPY_MAX, COPY_MAX + 1, 5 * COPY_MAX] {
            let request = [vec![b'B'; bind], execute.clone()].concat();
            let number = request.len() - 9..request.len() - 5;
            for piece in [1, 2, 3, 7, 14, 15, 16, 1000, usize::MAX] {
                if bind > 1000 && piece < 1000 {
                    continue;
                }
                let mut requests = Requests::default();
                assert_eq!(sent(&mut requests, &request, piece), request);
                requests.limit_rows(Some(LIMIT));
                // Another request may go before.
                let close = [b"C...", &SYNC[..]].concat();
                assert_eq!(sent(&mut requests, &close, usize::MAX), close);
                let limited = sent(&mut requests, &request, piece);
                let mut expected = request.clone();
                expected[number.clone()].copy_from_slice(&LIMIT.to_be_bytes());
                assert_eq!(limited, expected, "{bind} {piece}");
                assert_eq!(sent(&mut requests, &request, piece), request);
            }
        }
    }

    #[test]
    fn the_sync_of_a_copy_goes_out_as_a_flush_and_that_at_its_end_as_it_is() {
        let request = [b"B...", &EXECUTE[..], &SYNC].concat();
        let done = [b"c\0\0\0\x04", &SYNC[..]].concat();
        for piece in [1, 4, 5, 14, 15, 18, 19, usize::MAX] {
            let mut requests = Requests::default();
            requests.start_copy_in();
            let out = sent(&mut requests, &request, piece);
            assert_eq!(out, [b"B...", &EXECUTE[..], &FLUSH].concat(), "{piece}");
            assert_eq!(sent(&mut requests, &done, piece), done);
            requests.end_copy_in();
            assert_eq!(sent(&mut requests, &request, piece), request);
        }
    }

    #[test]
    fn data_gives_way_after_every_so_many_bytes() {
        let mut requests = Requests::default();
        requests.start_copy_in();
        sent(&mut requests, &[&EXECUTE[..], &SYNC].concat(), usize::MAX);
        for _ in 0..3 {
            sent(&mut requests, &vec![0; WAY_BYTES - 1], usize::MAX);
            assert!(!requests.gives_way());
            sent(&mut requests, &[0], usize::MAX);
            assert!(requests.gives_way());
            assert!(!requests.gives_way());
        }
    }
}
