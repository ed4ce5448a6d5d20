//! The generated messages and stubs of `proto/`. Lints are off here only.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
#![allow(rustdoc::all)]

use std::marker::PhantomData;

include!(concat!(env!("OUT_DIR"), "/pb/mod.rs"));

/// A `google.protobuf.FileDescriptorSet` of all files and those that they import.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pb/descriptors.bin"));

/// The bytes of a request, which should be a `Q` and are not checked yet.
pub struct Raw<Q> {
    pub reader: grpcio::MessageReader,
    of: PhantomData<fn() -> Q>,
}

impl<Q> Raw<Q> {
    fn read(reader: grpcio::MessageReader) -> grpcio::Result<Raw<Q>> {
        Ok(Raw { reader, of: PhantomData })
    }

    /// gRPC asks for it besides `read`, but a server sends no requests.
    fn write(&self, _: &mut grpcio::GrpcSlice) -> grpcio::Result<()> {
        Err(grpcio::Error::Codec("a request that has come is not sent".into()))
    }
}

/// The fields of a message, for the inspection of its bytes before they are decoded. Generated
/// for all requests and the messages in them.
pub struct MessageShape {
    pub name: &'static str,
    /// Bytes of a decoded message, without what it points to.
    pub size: usize,
    pub fields: &'static [Field],
}

pub struct Field {
    /// Number and wire type, as a field begins.
    pub tag: u32,
    pub name: &'static str,
    pub content: FieldContent,
}

pub enum FieldContent {
    Number,
    /// Text or bytes.
    Text,
    Message(&'static MessageShape),
}

/// A message of a known shape.
pub trait Shaped: protobuf::Message {
    fn shape() -> &'static MessageShape;
}
