//! A row in PostgreSQL's binary form.

use crate::core::value::{Value, FRAMING_BYTES};
use crate::pgwire::values::{self, Meter, Shape, Stop};

/// The body of a DataRow: the number of values in 2 bytes, then of each its length
/// in 4 bytes, -1 for NULL, and its bytes.
#[derive(Clone, Copy)]
pub struct RawRow<'a> {
    body: &'a [u8],
}

impl<'a> RawRow<'a> {
    /// `None` if this is not a row of so many columns.
    #[inline]
    pub fn read(body: &'a [u8], columns: usize) -> Option<RawRow<'a>> {
        let (count, mut rest) = body.split_first_chunk()?;
        if usize::from(u16::from_be_bytes(*count)) != columns {
            return None;
        }
        for _ in 0..columns {
            next(&mut rest)?;
        }
        rest.is_empty().then_some(RawRow { body })
    }

    /// The bytes as PostgreSQL sent them.
    pub fn bytes(&self) -> &'a [u8] {
        self.body
    }

    /// The bytes of each value; `None` is NULL.
    #[inline]
    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut rest = self.body.get(2..).unwrap_or_default();
        std::iter::from_fn(move || next(&mut rest))
    }
}

/// Takes one value off; `None` if there is none.
#[allow(clippy::option_option)] // No value, or NULL, or its bytes.
#[inline]
fn next<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, behind) = rest.split_first_chunk()?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *rest = behind;
        return Some(None);
    };
    let value;
    (value, *rest) = behind.split_at_checked(length)?;
    Some(Some(value))
}

/// Decodes a row, as far as the meter allows.
///
/// # Errors
/// Which value, from 0, cannot be decoded, and why.
pub fn decode(
    shapes: &[Shape],
    row: &RawRow<'_>,
    meter: &mut Meter<'_>,
) -> Result<Vec<Value>, (usize, Stop)> {
    let values = shapes.iter().zip(row.values()).enumerate().map(|(i, (shape, bytes))| {
        let value = match bytes {
            Some(bytes) => values::decode(shape, bytes, meter),
            None => meter.add(FRAMING_BYTES).map(|()| Value::Null),
        };
        value.map_err(|stop| (i, stop))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8] = &[0, 3, 0, 0, 0, 2, 7, 8, 255, 255, 255, 255, 0, 0, 0, 0];

    #[test]
    fn a_row_has_values_nulls_and_empty_values() {
        let row = RawRow::read(ROW, 3).expect("a row");
        assert_eq!(row.values().collect::<Vec<_>>(), [Some(&[7, 8][..]), None, Some(&[])]);
        assert_eq!(row.bytes(), ROW);
        assert!(RawRow::read(&[0, 0], 0).is_some_and(|row| row.values().next().is_none()));
    }

    #[test]
    fn what_is_no_row_of_so_many_columns_is_refused() {
        assert!(RawRow::read(ROW, 2).is_none());
        for end in 0..ROW.len() {
            assert!(RawRow::read(&ROW[..end], 3).is_none(), "{end}");
        }
        assert!(RawRow::read(&[ROW, &[0]].concat(), 3).is_none());
        assert!(RawRow::read(&[0, 1, 127, 255, 255, 255, 1], 1).is_none());
    }
}
