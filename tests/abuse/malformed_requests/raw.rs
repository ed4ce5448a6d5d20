//! Bytes as messages, whatever they are.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use connection_pool_manager::client::service::CallError;
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{
    CallOption, ChannelBuilder, ChannelCredentialsBuilder, CompressionAlgorithms, EnvBuilder,
    GrpcSlice, Marshaller, MessageReader, Method, MethodType, WriteFlags,
};

use crate::harness::{Service, PATIENCE};

pub const EXECUTE: &str = "/connectionpool.SqlService/Execute";

/// Calls of a flood at a time: what has come of each lies in gRPC's memory.
const AT_ONCE: usize = 4;

/// A client that sends what it is given.
pub struct Bytes(grpcio::Client);

impl Bytes {
    pub fn of(service: &Service, compression: Option<CompressionAlgorithms>) -> Bytes {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let pem = std::fs::read(service.certs.path().join("cert.pem")).unwrap();
        let credentials = ChannelCredentialsBuilder::new().root_cert(pem).build();
        let mut builder = ChannelBuilder::new(environment).set_credentials(credentials);
        if let Some(algorithm) = compression {
            builder = builder.default_compression_algorithm(algorithm);
        }
        Bytes(grpcio::Client::new(builder.connect(&format!("localhost:{}", service.port))))
    }

    fn method(ty: MethodType, name: &'static str) -> Method<Vec<u8>, Vec<u8>> {
        let bytes = || Marshaller { ser: put, de: take };
        Method { ty, name, req_mar: bytes(), resp_mar: bytes() }
    }

    /// The same over plaintext.
    pub fn plain(service: &Service) -> Bytes {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let address = format!("localhost:{}", service.port);
        Bytes(grpcio::Client::new(ChannelBuilder::new(environment).connect(&address)))
    }

    /// The same request so many times, a few at a time; what each is refused with.
    pub fn flood(&self, path: &'static str, request: &[u8], times: usize) -> Vec<CallError> {
        let method = Bytes::method(MethodType::Unary, path);
        let request = request.to_vec();
        let begin = || {
            let options = CallOption::default().timeout(PATIENCE);
            self.0.unary_call_async(&method, &request, options).expect("a call")
        };
        let mut refused = Vec::new();
        for _ in 0..times.div_ceil(AT_ONCE) {
            let calls: Vec<_> = (0..AT_ONCE).map(|_| begin()).collect();
            refused.extend(calls.into_iter().map(|call| block_on(call).unwrap_err().into()));
        }
        refused
    }

    /// One request, and its answer.
    pub fn call(&self, path: &'static str, request: &[u8]) -> Result<Vec<u8>, CallError> {
        let options = CallOption::default().timeout(PATIENCE);
        let method = Bytes::method(MethodType::Unary, path);
        Ok(self.0.unary_call(&method, &request.to_vec(), options)?)
    }

    /// One message on a stream that stays open, and what comes first.
    pub fn stream(&self, path: &'static str, message: &[u8]) -> Result<Vec<u8>, CallError> {
        let options = CallOption::default().timeout(PATIENCE);
        let method = Bytes::method(MethodType::Duplex, path);
        let (mut sender, mut answers) = self.0.duplex_streaming(&method, options)?;
        block_on(sender.send((message.to_vec(), WriteFlags::default())))?;
        Ok(block_on(answers.next()).expect("an answer or an error")?)
    }
}

#[allow(clippy::ptr_arg)] // grpcio asks for this very type.
fn put(bytes: &Vec<u8>, out: &mut GrpcSlice) -> grpcio::Result<()> {
    *out = GrpcSlice::from(bytes.clone());
    Ok(())
}

fn take(mut message: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    message.read_to_end(&mut bytes).expect("a message is read from memory");
    Ok(bytes)
}

/// The bytes as gzip packs them.
pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-1", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is part of every system");
    let mut input = gzip.stdin.take().unwrap();
    std::thread::scope(|threads| {
        threads.spawn(move || input.write_all(bytes).unwrap());
        let mut packed = Vec::new();
        gzip.stdout.take().unwrap().read_to_end(&mut packed).unwrap();
        assert!(gzip.wait().unwrap().success());
        packed
    })
}
