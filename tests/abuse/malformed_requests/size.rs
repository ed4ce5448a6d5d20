//! The largest request that is read.

use super::raw::{Bytes, EXECUTE};
use super::{insecure, CHECK, COPY_IN, QUERY, SESSION};
use crate::harness::code;

#[test]
fn a_request_of_four_mebibytes_is_read_and_one_of_a_byte_more_is_refused() {
    let service = insecure(&[]);
    let client = Bytes::plain(&service);
    // Its first field, with as much as is left: the length takes four bytes.
    let large = |bytes: usize| {
        let mut large = vec![0x0a];
        let mut out = protobuf::CodedOutputStream::vec(&mut large);
        out.write_raw_varint32(bytes as u32 - 5).unwrap();
        drop(out);
        large.resize(bytes, b'x');
        large
    };
    for path in [EXECUTE, QUERY, SESSION, COPY_IN, CHECK] {
        let send = |bytes: &[u8]| match path {
            SESSION | COPY_IN => client.stream(path, bytes).unwrap_err(),
            _ => client.call(path, bytes).unwrap_err(),
        };
        let read = send(&large(4 << 20));
        assert_ne!(read.code, code::RESOURCE_EXHAUSTED, "{path}: {read}");
        let refused = send(&large((4 << 20) + 1));
        let told = "Received message larger than max (4194305 vs. 4194304)";
        assert_eq!((refused.code, &*refused.message), (code::RESOURCE_EXHAUSTED, told), "{path}");
    }
}
