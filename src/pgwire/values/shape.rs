//! How the service reads a type, whatever its name.

use super::oid;

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

    /// True for a type that takes bytes.
    pub(super) fn is_bytea(&self) -> bool {
        *self == Shape::Scalar(oid::BYTEA)
    }
}
