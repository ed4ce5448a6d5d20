//! Messages as bytes.

use protobuf::Message;

/// The bytes of a message.
pub(in crate::rpc) fn encoded(message: &impl Message) -> Vec<u8> {
    // Serialising into memory fails only for uninitialised proto2 fields.
    message.write_to_bytes().unwrap_or_default()
}
