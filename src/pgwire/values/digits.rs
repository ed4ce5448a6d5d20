//! Texts that are many times as long as their binary form, and whose length is known before
//! they are built.

use super::bits::Bits;
use super::numeric::Numeric;

/// A value whose text is digits.
#[derive(Debug, Clone, Copy)]
pub enum Digits<'a> {
    Numeric(Numeric<'a>),
    /// A bit string.
    Bits(Bits<'a>),
}

impl Digits<'_> {
    /// How many bytes `write` writes.
    pub fn length(&self) -> usize {
        match self {
            Digits::Numeric(numeric) => numeric.length(),
            Digits::Bits(bits) => bits.length(),
        }
    }

    /// Adds the text, which is ASCII.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Digits::Numeric(numeric) => numeric.write(out),
            Digits::Bits(bits) => bits.write(out),
        }
    }

    /// The text as a string.
    pub(super) fn text(&self) -> String {
        let mut out = Vec::with_capacity(self.length());
        self.write(&mut out);
        // ASCII is UTF-8.
        String::from_utf8(out).unwrap_or_default()
    }
}
