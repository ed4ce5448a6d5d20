//! Generates messages and clients from the service's proto files.

use std::error::Error;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protobuf::well_known_types as known;
use protobuf::Message as _;

const PROTOS: [&str; 5] = [
    "../../proto/connection_pool.proto",
    "../../proto/sql.proto",
    "../../proto/errors.proto",
    "../../proto/google/rpc/status.proto",
    "../../proto/google/rpc/error_details.proto",
];

/// Where `protoc` is at hand, `compile_protos` does all of this; here a parser in Rust reads
/// the files.
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let mut files = protobuf_parse::Parser::new()
        .pure()
        .include("../../proto")
        .inputs(PROTOS)
        .file_descriptor_set()?;
    // It leaves out what is Google's own.
    for file in [
        known::any::file_descriptor(),
        known::duration::file_descriptor(),
        known::timestamp::file_descriptor(),
    ] {
        files.file.push(file.proto().clone());
    }
    let files = FileDescriptorSet::decode(files.write_to_bytes()?.as_slice())?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
