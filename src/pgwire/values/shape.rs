//! How the service reads a type, whatever its name.

use super::oid;
use crate::core::value::{FRAMING_BYTES, VARINT_BYTES};

/// How the bytes of a type are read. Domains are their base types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A type that is known by its OID, or not known.
    Scalar(u32),
    /// An enumeration: its label as text.
    Enum(u32),
    /// An array of these, in any number of dimensions.
    Array(Box<Shape>),
    /// An int2vector or oidvector: an array whose text is only its numbers.
    Vector(Box<Shape>),
}

impl Shape {
    /// The OID by which values are distinguished; for arrays the one of their
    /// elements.
    pub fn oid(&self) -> u32 {
        match self {
            Shape::Scalar(oid) | Shape::Enum(oid) => *oid,
            Shape::Array(element) | Shape::Vector(element) => element.oid(),
        }
    }

    /// False if the text of a value is about as long as its bytes. Of a number with many zeros
    /// it can be ten thousand times as long, and of a type that is not known anything.
    pub fn may_expand(&self) -> bool {
        let short = matches!(self.oid(), oid::BOOL | oid::BYTEA | oid::CHAR | oid::NAME)
            || matches!(self.oid(), oid::INT8 | oid::INT2 | oid::INT4 | oid::OID)
            || matches!(self.oid(), oid::FLOAT4 | oid::FLOAT8 | oid::UUID)
            || matches!(self.oid(), oid::TEXT | oid::BPCHAR | oid::VARCHAR | oid::UNKNOWN)
            || matches!(self.oid(), oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ)
            || matches!(self.oid(), oid::JSON | oid::JSONB);
        !short && !matches!(self, Shape::Enum(_))
    }

    /// The most that [`Value::encoded_size`](crate::core::value::Value::encoded_size) says of a value, for types of a few bytes that cannot
    /// be malformed; `None` for all others.
    pub fn most_encoded(&self) -> Option<usize> {
        let Shape::Scalar(oid) = self else { return None };
        let whole = matches!(*oid, oid::BOOL | oid::INT2 | oid::INT4 | oid::INT8 | oid::OID);
        let small = whole || matches!(*oid, oid::FLOAT4 | oid::FLOAT8);
        small.then_some(FRAMING_BYTES + VARINT_BYTES)
    }

    /// True for a type that takes bytes.
    pub(super) fn is_bytea(&self) -> bool {
        *self == Shape::Scalar(oid::BYTEA)
    }
}
