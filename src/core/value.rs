//! One SQL value and one column description, free of any wire format.

use std::fmt;

/// A value read from a row or bound to a statement.
///
/// Parameters are secrets, so `Debug` names the variant and the length and
/// never the content.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any integer type, and the unsigned 32-bit identifiers.
    Int(i64),
    /// A single or double precision floating point number.
    Double(f64),
    /// Text, and every type whose exact rendering is text (numeric, uuid, dates).
    Text(String),
    /// The content of a `bytea`.
    Bytes(Vec<u8>),
    /// An array.
    Array(Array),
    /// PostgreSQL's binary form of a type this service does not interpret.
    Raw {
        /// The type's OID, which alone gives the bytes a meaning.
        oid: u32,
        /// The bytes as the server sent them.
        bytes: Vec<u8>,
    },
}

/// An array of any number of dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The OID of the elements' type; 0 if it is not known.
    pub element_oid: u32,
    /// From the outermost to the innermost; none for an empty array.
    pub dimensions: Vec<Dimension>,
    /// As many as the lengths multiply to, the last dimension running fastest.
    pub elements: Vec<Value>,
}

/// One dimension of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension {
    /// How many there are.
    pub length: u32,
    /// The index of the first; PostgreSQL's default is 1.
    pub lower_bound: i32,
}

/// What is known of a result column before its first row.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name or alias; several columns may share one.
    pub name: String,
    /// The OID of the column's type.
    pub type_oid: u32,
    /// The type's name in `pg_type`, empty if unknown.
    pub type_name: String,
    /// The OID of the table the column comes from, 0 for an expression.
    pub table_oid: u32,
}

impl Value {
    /// A rough upper estimate of the value's size in a protobuf message, in bytes.
    ///
    /// It costs no allocation, so that a batch can be bounded while it grows.
    pub fn encoded_size(&self) -> usize {
        FRAMING_BYTES.saturating_add(match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => VARINT_BYTES,
            Value::Double(_) => 8,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Array(array) => {
                let elements = array.elements.iter().map(Value::encoded_size);
                elements.fold(Array::frame(array.dimensions.len()), usize::saturating_add)
            }
            // The OID is a varint of its own beside the bytes.
            Value::Raw { bytes, .. } => bytes.len().saturating_add(VARINT_BYTES),
        })
    }
}

impl Array {
    /// What the array adds to the sizes of its elements in the same estimate, besides the framing
    /// of every value.
    pub fn frame(dimensions: usize) -> usize {
        dimensions * (FRAMING_BYTES + 2 * VARINT_BYTES) + VARINT_BYTES
    }
}

impl Value {
    /// Bytes of heap memory that it owns: small values take more there than on the wire.
    pub fn memory(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
            Value::Text(text) => allocated(text.capacity()),
            Value::Bytes(bytes) | Value::Raw { bytes, .. } => allocated(bytes.capacity()),
            Value::Array(array) => {
                let dimensions = array.dimensions.capacity() * size_of::<Dimension>();
                allocated(dimensions) + Value::memory_of(&array.elements)
            }
        }
    }

    /// Bytes of heap memory that a list of values owns.
    pub fn memory_of(values: &Vec<Value>) -> usize {
        let own = allocated(values.capacity() * size_of::<Value>());
        own + values.iter().map(Value::memory).sum::<usize>()
    }
}

/// What an allocation of this size costs: usual allocators have a header of 8 bytes, steps of 16
/// and a minimum of 32.
fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        bytes => (bytes + 8).next_multiple_of(16).max(32),
    }
}

impl Column {
    /// A rough upper estimate of its size in a protobuf message, in bytes.
    pub fn encoded_size(&self) -> usize {
        let numbers = FRAMING_BYTES + 2 * VARINT_BYTES;
        numbers.saturating_add(self.name.len()).saturating_add(self.type_name.len())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("Null"),
            Value::Bool(_) => f.write_str("Bool"),
            Value::Int(_) => f.write_str("Int"),
            Value::Double(_) => f.write_str("Double"),
            Value::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Value::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Value::Array(array) => write!(f, "Array({} elements)", array.elements.len()),
            Value::Raw { oid, bytes } => write!(f, "Raw(oid {oid}, {} bytes)", bytes.len()),
        }
    }
}

/// Tags and lengths around one value.
pub const FRAMING_BYTES: usize = 8;

/// Bytes of a row besides its values.
pub const ROW_BYTES: usize = 8;

/// Bytes of a result besides its columns and rows.
pub const RESULT_BYTES: usize = 64;

/// The longest varint: a negative number takes all ten bytes.
pub const VARINT_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_variant_and_length_but_no_content() {
        let shown = |value: Value| format!("{value:?}");
        assert_eq!(shown(Value::Null), "Null");
        assert_eq!(shown(Value::Bool(true)), "Bool");
        assert_eq!(shown(Value::Int(4711)), "Int");
        assert_eq!(shown(Value::Double(47.11)), "Double");
        assert_eq!(shown(Value::Text("hunter2".into())), "Text(7 bytes)");
        assert_eq!(shown(Value::Bytes(vec![1, 2])), "Bytes(2 bytes)");
        let raw = Value::Raw { oid: 600, bytes: vec![0; 16] };
        assert_eq!(shown(raw), "Raw(oid 600, 16 bytes)");
    }

    #[test]
    fn the_memory_is_what_a_count_of_the_allocations_comes_to() {
        use super::super::testing::Xorshift;
        /// A value, and the bytes that were allocated for it.
        fn made(chance: &mut Xorshift, depth: u64) -> (Value, usize) {
            let length = chance.below(40) as usize;
            match chance.below(6 + u64::from(depth > 0)) {
                0 => (Value::Null, 0),
                1 => (Value::Int(1), 0),
                2 => (Value::Text("x".repeat(length)), length),
                3 => (Value::Bytes(vec![0; length]), length),
                4 => (Value::Raw { oid: 1, bytes: vec![0; length] }, length),
                5 => (Value::Double(0.5), 0),
                _ => {
                    let made: Vec<_> = (0..length).map(|_| made(chance, depth - 1)).collect();
                    let inside: usize = made.iter().map(|(_, bytes)| bytes).sum();
                    let mut elements = Vec::with_capacity(2 * length);
                    elements.extend(made.into_iter().map(|(value, _)| value));
                    let array = Array { element_oid: 0, dimensions: Vec::new(), elements };
                    (Value::Array(array), inside + 2 * length * size_of::<Value>())
                }
            }
        }
        let (mut all, mut estimated) = (0, 0);
        for seed in 0..300 {
            let (value, bytes) = made(&mut Xorshift::new(seed), 3);
            assert!(value.memory() >= bytes, "{seed}: {} for {bytes}", value.memory());
            all += bytes;
            estimated += value.memory();
        }
        assert!(all > 100_000 && estimated < 2 * all, "{estimated} for {all}");
    }

    #[test]
    fn the_size_estimate_covers_the_content() {
        assert_eq!(Value::Null.encoded_size(), 8);
        assert_eq!(Value::Text("abc".into()).encoded_size(), 11);
        assert_eq!(Value::Bytes(vec![0; 1000]).encoded_size(), 1008);
        assert!(Value::Int(-1).encoded_size() >= 8 + 10);
        assert!(Value::Raw { oid: u32::MAX, bytes: vec![0; 10] }.encoded_size() >= 8 + 10 + 5);
    }
}
