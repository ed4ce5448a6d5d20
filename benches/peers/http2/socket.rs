//! A TLS connection that costs few calls of the system: what has come is read at once, and
//! what is written goes out at once, whatever the number of TLS records.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};

use openssl::ssl::{SslConnector, SslMethod, SslStream};

use crate::Answer;

/// Where a connection goes to, and how.
#[derive(Clone)]
pub struct Target {
    connector: SslConnector,
    pub port: u16,
}

impl Target {
    /// A server on this machine whose certificate is checked by this one, a PEM file.
    pub fn new(port: u16, trust: &std::path::Path) -> Answer<Target> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_ca_file(trust)?;
        builder.set_alpn_protos(b"\x02h2")?;
        Ok(Target { connector: builder.build(), port })
    }

    /// Connects, and waits for no more from then on.
    pub fn connect(&self) -> Answer<SslStream<Socket>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        let socket = Socket {
            stream,
            come: vec![0; 1 << 15].into(),
            taken: 0,
            filled: 0,
            out: Vec::new(),
            more: true,
            waits: true,
        };
        let shaken = self.connector.connect("localhost", socket);
        let mut tls = shaken.map_err(|_| "the TLS handshake with the service failed")?;
        if tls.ssl().selected_alpn_protocol() != Some(b"h2") {
            return Err("the server does not speak HTTP/2".into());
        }
        let socket = tls.get_mut();
        socket.waits = false;
        socket.stream.set_nonblocking(true)?;
        Ok(tls)
    }
}

pub struct Socket {
    pub stream: TcpStream,
    /// What has come, of which so much was taken.
    come: Box<[u8]>,
    taken: usize,
    filled: usize,
    out: Vec<u8>,
    /// There may be more to read.
    more: bool,
    /// Reads wait, as in the handshake.
    waits: bool,
}

impl Socket {
    /// It has become readable.
    pub fn readable(&mut self) {
        self.more = true;
    }

    /// Something is not sent yet, as the socket takes no more.
    pub fn is_full(&self) -> bool {
        !self.out.is_empty()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.taken == self.filled {
            if !self.more {
                return Err(ErrorKind::WouldBlock.into());
            }
            (self.taken, self.filled) = (0, 0);
            self.filled = self.stream.read(&mut self.come)?;
            // What fills not all of it leaves nothing behind; the end shows again.
            self.more = self.waits || self.filled == self.come.len() || self.filled == 0;
        }
        let count = buffer.len().min(self.filled - self.taken);
        buffer[..count].copy_from_slice(&self.come[self.taken..][..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Sends as much as the socket takes.
    fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        let done = loop {
            if sent == self.out.len() {
                break Ok(());
            }
            match self.stream.write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.out.drain(..sent);
        done
    }
}
