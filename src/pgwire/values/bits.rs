//! The binary format of `bit` and `varbit`: the number of bits, then the bits.

use super::DecodeError;

/// A bit string in binary form.
#[derive(Debug, Clone, Copy)]
pub struct Bits<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Bits<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Bits<'a>, DecodeError> {
        let wrong = || DecodeError::new("bit", "wrong length");
        let (count, bytes) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| wrong())?;
        if count.div_ceil(8) != bytes.len() {
            return Err(wrong());
        }
        Ok(Bits { count, bytes })
    }

    pub(super) fn length(&self) -> usize {
        self.count
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.bytes.len() * 8);
        for byte in self.bytes {
            out.extend_from_slice(&[7, 6, 5, 4, 3, 2, 1, 0].map(|bit| b'0' + (byte >> bit & 1)));
        }
        // The last byte may have fewer.
        out.truncate(start + self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::digits::Digits;
    use super::*;

    #[test]
    fn bits_are_as_many_as_said() {
        let text = |bytes: &[u8]| Bits::read(bytes).map(|bits| Digits::Bits(bits).text());
        assert_eq!(text(&[0, 0, 0, 3, 0b1010_0000]).as_deref(), Ok("101"));
        assert_eq!(text(&[0, 0, 0, 10, 0x0f, 0xff]).as_deref(), Ok("0000111111"));
        assert_eq!(text(&[0, 0, 0, 0]).as_deref(), Ok(""));
        assert!(Bits::read(&[0, 0, 0, 9, 0]).is_err());
        assert!(Bits::read(&[0xff; 4]).is_err());
    }
}
