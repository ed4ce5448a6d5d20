//! A socket with one deadline for all its reads and writes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::clock;

/// A blocking socket whose calls fail after `until`. With a limit per read, a peer that
/// sends a byte now and then could hold it for ever.
#[derive(Debug)]
pub(super) struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    /// The socket with this deadline.
    pub(super) fn new(socket: TcpStream, until: Instant) -> Timed {
        Timed { socket, until }
    }
}

/// A socket timeout is reported as `WouldBlock`, which OpenSSL would treat as a request to
/// retry.
fn ended(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(clock::left(self.until)?))?;
        self.socket.read(bytes).map_err(ended)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(clock::left(self.until)?))?;
        self.socket.write(bytes).map_err(ended)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;
    use crate::threads;

    #[test]
    fn a_peer_that_drips_has_no_more_time_than_one_that_is_mute() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let pause = Duration::from_millis(20);
        let dripping = threads::spawn("drip", move || {
            while stopped.recv_timeout(pause).is_err_and(|error| error.is_timeout()) {
                let _ = far.write_all(b"x");
            }
        });
        let mut near = Timed::new(near, clock::now() + Duration::from_millis(300));
        // So many bytes would take an hour.
        let error = near.read_exact(&mut [0; 200_000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(stop);
        dripping.unwrap().join().unwrap();
    }
}
