//! Header blocks of HTTP/2 (HPACK, RFC 7541) without Huffman's code: gRPC's core uses it for
//! binary values only, and not for them where a client takes them as they are.

use std::collections::VecDeque;

/// Entries 1 to 16 of the table that all know; of the rest only names are known.
const FULL: [(&str, &str); 16] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
];

/// Entries 17 to 61.
const NAMES: [&str; 45] = [
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// The first entry of the other table, to which each side adds what it sends.
const FIRST: usize = 62;
/// Bytes of that table, unless SETTINGS say otherwise, and what an entry has beside its texts.
const LIMIT: usize = 4096;
const OVERHEAD: usize = 32;

/// Writes a number behind the bits that say what it is: of the first byte it has so many.
fn put_number(block: &mut Vec<u8>, bits: u8, own: u32, number: usize) {
    let full = (1 << own) - 1;
    if number < full {
        return block.push(bits | number as u8);
    }
    block.push(bits | full as u8);
    let mut rest = number - full;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Writes a text with its length.
pub fn put_string(block: &mut Vec<u8>, text: &str) {
    put_number(block, 0, 7, text.len());
    block.extend_from_slice(text.as_bytes());
}

fn number(block: &mut &[u8], own: u32) -> Result<usize, String> {
    let full = (1 << own) - 1;
    let mut next = || {
        let (first, rest) = block.split_first().ok_or("a header block ends in a number")?;
        *block = rest;
        Ok::<usize, String>(usize::from(*first))
    };
    let mut value = next()? & full;
    if value < full {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 127) << shift;
        if byte < 128 {
            return Ok(value);
        }
    }
    Err("a number in a header block is too large".to_owned())
}

fn string<'a>(block: &mut &'a [u8]) -> Result<&'a [u8], String> {
    if block.first().is_some_and(|first| first & 0x80 != 0) {
        return Err("a header is in Huffman's code, which is not read here".to_owned());
    }
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or("a header block ends in a text")?;
    *block = rest;
    Ok(text)
}

type Entry = (Vec<u8>, Vec<u8>);

/// What reads the blocks of one connection, all of them in their order.
pub struct Reader {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { entries: VecDeque::new(), size: 0, limit: LIMIT }
    }
}

impl Reader {
    /// Shows each field's name and value.
    pub fn read(
        &mut self,
        mut block: &[u8],
        mut show: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), String> {
        while let Some(first) = block.first() {
            match first.leading_zeros() {
                0 => {
                    let (name, value) = self.entry(number(&mut block, 7)?)?;
                    show(name, value);
                }
                1 => {
                    let (name, value) = self.literal(&mut block, 6)?;
                    show(&name, value);
                    self.add((name, value.to_vec()));
                }
                2 => {
                    self.limit = number(&mut block, 5)?;
                    if self.limit > LIMIT {
                        return Err(format!("a table of {} bytes for headers", self.limit));
                    }
                    self.fit();
                }
                _ => {
                    let (name, value) = self.literal(&mut block, 4)?;
                    show(&name, value);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), String> {
        let none = || format!("a header refers to entry {index}, which is not there");
        let at = index.checked_sub(1).ok_or_else(none)?;
        if let Some((name, value)) = FULL.get(at) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        if let Some(name) = NAMES.get(at - FULL.len()) {
            return Ok((name.as_bytes(), b""));
        }
        let (name, value) = self.entries.get(index - FIRST).ok_or_else(none)?;
        Ok((name, value))
    }

    fn literal<'a>(&self, block: &mut &'a [u8], own: u32) -> Result<(Vec<u8>, &'a [u8]), String> {
        let name = match number(block, own)? {
            0 => string(block)?.to_vec(),
            index => self.entry(index)?.0.to_vec(),
        };
        Ok((name, string(block)?))
    }

    fn add(&mut self, entry: Entry) {
        self.size += entry.0.len() + entry.1.len() + OVERHEAD;
        self.entries.push_front(entry);
        self.fit();
    }

    fn fit(&mut self) {
        while self.size > self.limit {
            let Some((name, value)) = self.entries.pop_back() else { return };
            self.size -= name.len() + value.len() + OVERHEAD;
        }
    }
}

/// What writes the blocks of one connection: a field that was sent before is a byte or two.
#[derive(Default)]
pub struct Writer {
    /// The oldest first. None is given up, as what a client repeats fits in.
    entries: Vec<(String, String)>,
    size: usize,
}

impl Writer {
    pub fn put(&mut self, block: &mut Vec<u8>, name: &str, value: &str) {
        if let Some(at) = FULL.iter().position(|entry| *entry == (name, value)) {
            return put_number(block, 0x80, 7, at + 1);
        }
        let known = self.entries.iter().rposition(|(n, v)| n == name && v == value);
        if let Some(at) = known {
            return put_number(block, 0x80, 7, FIRST + self.entries.len() - 1 - at);
        }
        let size = name.len() + value.len() + OVERHEAD;
        let fits = self.size + size <= LIMIT;
        block.push(if fits { 0x40 } else { 0 });
        put_string(block, name);
        put_string(block, value);
        if fits {
            self.size += size;
            self.entries.push((name.to_owned(), value.to_owned()));
        }
    }

    /// How many fields are known. As long as they are the same, the same fields are the same
    /// block.
    pub fn known(&self) -> usize {
        self.entries.len()
    }
}
