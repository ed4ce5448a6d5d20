//! Arrays of any dimensions, in results.

use super::array::DIMENSIONS_MAX;
use super::{decode, DecodeError, Meter, Shape, Stop};
use crate::core::value::{Array, Dimension, Value, FRAMING_BYTES};

/// An array in PostgreSQL's binary form, its elements not yet looked at.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    /// How each element is read.
    pub shape: &'a Shape,
    /// The OID of the elements' type.
    pub oid: u32,
    count: usize,
    dimensions: &'a [[u8; 8]],
    rest: Rest<'a>,
}

impl<'a> Elements<'a> {
    pub(super) fn read(shape: &'a Shape, bytes: &'a [u8]) -> Result<Elements<'a>, DecodeError> {
        let mut rest = Rest(bytes);
        let dimensions = usize::try_from(rest.number()?).unwrap_or(usize::MAX);
        let _has_nulls = rest.number()?;
        let oid = u32::from_be_bytes(rest.take()?);
        if dimensions > DIMENSIONS_MAX {
            return Err(wrong("too many dimensions"));
        }
        let (dimensions, _) = rest.bytes(8 * dimensions)?.as_chunks();
        let mut elements = Elements { shape, oid, count: 0, dimensions, rest };
        let mut count = usize::from(!dimensions.is_empty());
        for Dimension { length, .. } in elements.dimensions() {
            i32::try_from(length).map_err(|_| wrong("a negative length"))?;
            count = count.checked_mul(length as usize).ok_or_else(|| wrong("too many elements"))?;
        }
        // Each element takes four bytes at least, so this bounds what is allocated.
        if count > rest.0.len() / 4 {
            return Err(wrong("too short for its dimensions"));
        }
        elements.count = count;
        Ok(elements)
    }

    /// From the outermost to the innermost; none for an empty array.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension> + 'a {
        self.dimensions.iter().map(|[l3, l2, l1, l0, b3, b2, b1, b0]| Dimension {
            length: u32::from_be_bytes([*l3, *l2, *l1, *l0]),
            lower_bound: i32::from_be_bytes([*b3, *b2, *b1, *b0]),
        })
    }

    /// Passes the bytes of each element to `take`; `None` is NULL.
    ///
    /// # Errors
    /// Those of `take`, or the bytes are not an array.
    pub fn each(
        self,
        mut take: impl FnMut(Option<&'a [u8]>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut rest = self.rest;
        for _ in 0..self.count {
            take(match usize::try_from(rest.number()?) {
                Err(_) => None,
                Ok(length) => Some(rest.bytes(length)?),
            })?;
        }
        if !rest.0.is_empty() {
            return Err(wrong("bytes left over").into());
        }
        Ok(())
    }

    /// Decodes all elements.
    pub(super) fn decoded(self, meter: &mut Meter<'_>) -> Result<Array, Stop> {
        meter.add(FRAMING_BYTES + Array::frame(self.dimensions.len()))?;
        // Counts the least that each takes, so that nothing is allocated for what will not
        // fit.
        meter.require(self.count.saturating_mul(FRAMING_BYTES))?;
        let mut elements = Vec::with_capacity(self.count);
        self.each(|bytes| {
            elements.push(match bytes {
                None => {
                    meter.add(FRAMING_BYTES)?;
                    Value::Null
                }
                Some(bytes) => decode(self.shape, bytes, meter)?,
            });
            Ok(())
        })?;
        Ok(Array { element_oid: self.oid, dimensions: self.dimensions().collect(), elements })
    }
}

fn wrong(why: &'static str) -> DecodeError {
    DecodeError::new("array", why)
}

#[derive(Debug, Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| wrong("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take(&mut self) -> Result<[u8; 4], DecodeError> {
        self.bytes(4)?.try_into().map_err(|_| wrong("too short"))
    }

    fn number(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::unhex;
    use super::*;

    fn decoded(element: u32, bytes: &[u8], limit: usize) -> Result<Array, Stop> {
        let shape = Shape::Scalar(element);
        let elements = Elements::read(&shape, bytes)?;
        elements.decoded(&mut Meter::new(limit, &|| true))
    }

    #[test]
    fn a_binary_array_has_dimensions_bounds_and_nulls() {
        let bytes = unhex(
            "000000020000000100000017\
             00000002000000010000000100000000\
             0000000400000007ffffffff",
        );
        let array = decoded(23, &bytes, usize::MAX).expect("an array");
        assert_eq!(array.element_oid, 23);
        let bounds = array.dimensions.iter().map(|d| (d.length, d.lower_bound));
        assert_eq!(bounds.collect::<Vec<_>>(), [(2, 1), (1, 0)]);
        assert_eq!(array.elements, [Value::Int(7), Value::Null]);
    }

    #[test]
    fn hostile_arrays_are_refused_without_much_memory() {
        for (hex, why) in [
            (
                "0000000200000000000000177fffffff000000017fffffff00000001",
                "too short for its dimensions",
            ),
            ("7fffffff0000000000000017", "too many dimensions"),
            ("00000001000000000000001780000000 00000001", "a negative length"),
            ("000000010000000000000017000000010000000100000009", "too short"),
            ("0000000100000000000000170000000100000001ffffffffff", "bytes left over"),
        ] {
            let stop = decoded(23, &unhex(&hex.replace(' ', "")), usize::MAX).expect_err(hex);
            assert_eq!(stop, wrong(why).into(), "{hex}");
        }
        for length in 0..30 {
            let _ = decoded(23, &vec![0xff; length], usize::MAX);
            let _ = decoded(23, &vec![0; length], usize::MAX);
        }
    }

    #[test]
    fn an_array_that_cannot_fit_is_not_begun() {
        // A thousand NULLs.
        let mut bytes = unhex("000000010000000100000017000003e800000001");
        bytes.extend([0xff; 4000]);
        let size = Value::Array(decoded(23, &bytes, usize::MAX).expect("an array")).encoded_size();
        assert!(decoded(23, &bytes, size).is_ok());
        assert_eq!(decoded(23, &bytes, size - 1), Err(Stop::TooLarge));
    }
}
