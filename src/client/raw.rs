//! Methods without a stub: bytes in, bytes out.

use std::io::Read;

use grpcio::{Error, GrpcSlice, Marshaller, MessageReader, Method, MethodType};

/// A method of bytes: a call takes and returns encoded messages. It is good for streams, too.
pub fn raw(name: &'static str) -> Method<Vec<u8>, Vec<u8>> {
    let bytes = || Marshaller { ser: write, de: read };
    Method { ty: MethodType::Unary, name, req_mar: bytes(), resp_mar: bytes() }
}

#[allow(clippy::ptr_arg)] // A marshaller has this form.
fn write(bytes: &Vec<u8>, slice: &mut GrpcSlice) -> grpcio::Result<()> {
    *slice = GrpcSlice::from(bytes.as_slice());
    Ok(())
}

fn read(mut reader: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| Error::Codec(Box::new(error)))?;
    Ok(bytes)
}
