//! A socket that its owner reads and writes, and that any thread may abort.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(test)]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{recv, send, sockopt, RecvFlags, SendFlags};

use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::TcpKeepalive;

/// Reads for one piece of data that nobody waits for. A record of TLS takes two; a server sends
/// two tickets in front of its first data, and whole data comes in one record.
const READS_AT_ONCE: u32 = 32;
/// Reads for one piece of data by a thread that waits for it. OpenSSL takes 8 µs for a record that
/// changes keys.
const READS_WAITING: u32 = 32_768;

/// A connected socket. The only descriptor of its connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Reads wait for data; otherwise they return `WouldBlock`.
    waits: AtomicBool,
    /// How often it was read.
    #[cfg(test)]
    reads: AtomicU64,
    /// How often it may be read for one piece of data.
    left: AtomicU32,
    /// The session is being started, and no call waits past `until`.
    starting: AtomicBool,
    until: Instant,
}

/// The server did not respond within its time limit.
#[derive(Debug)]
pub struct Unresponsive;

impl std::fmt::Display for Unresponsive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server does not answer")
    }
}

impl std::error::Error for Unresponsive {}

/// TLS has brought records without data, and no end of them.
#[derive(Debug)]
pub struct NoData;

impl std::fmt::Display for NoData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server sends no data, but records of TLS without any")
    }
}

impl std::error::Error for NoData {}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Socket {
    /// Connects within `limit`, the rest of which is left for starting the session. What the DSN
    /// does not say of keepalives is as in `tcp`.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(
        address: SocketAddr,
        (dsn, tcp): (&Dsn, TcpKeepalive),
        limit: Duration,
    ) -> io::Result<Socket> {
        let until = clock::now() + limit;
        let stream = TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1)))?;
        stream.set_nodelay(true)?;
        if dsn.keepalives {
            sockopt::set_socket_keepalive(&stream, true)?;
            let idle = dsn.keepalives_idle.unwrap_or(tcp.idle);
            sockopt::set_tcp_keepidle(&stream, idle)?;
            let interval = dsn.keepalives_interval.unwrap_or(tcp.interval);
            sockopt::set_tcp_keepintvl(&stream, interval)?;
            let retries = dsn.keepalives_retries.unwrap_or(tcp.probes);
            sockopt::set_tcp_keepcnt(&stream, retries)?;
        }
        let patience = dsn.tcp_user_timeout.unwrap_or(tcp.user_timeout).as_millis();
        let patience = u32::try_from(patience).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&stream, patience)?;
        let (waits, starting) = (AtomicBool::new(true), AtomicBool::new(true));
        Ok(Socket {
            stream,
            waits,
            #[cfg(test)]
            reads: AtomicU64::new(0),
            left: AtomicU32::new(u32::MAX),
            starting,
            until,
        })
    }

    /// Ends the time limit of the start: from now on the operation's limits apply.
    pub fn is_started(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// Sets whether reads wait, and how many of them there may be for one piece of data: TLS has
    /// records without any.
    pub fn wait(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
        self.left.store(if waits { READS_WAITING } else { READS_AT_ONCE }, Ordering::Relaxed);
    }

    /// Counts a read.
    fn may_read(&self) -> io::Result<()> {
        #[cfg(test)]
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_starting() {
            return Ok(());
        }
        let left = self.left.load(Ordering::Relaxed);
        match left.checked_sub(1) {
            Some(left) => {
                self.left.store(left, Ordering::Relaxed);
                Ok(())
            }
            None if self.waits.load(Ordering::Relaxed) => Err(io::Error::other(NoData)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Aborts the connection. Does not block; pending waits end.
    pub fn break_off(&self) {
        // An error means that the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// True while the session is being started.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed)
    }

    /// True if nothing has come that was not read, and the other side has not closed. Does not
    /// block.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        let peeked = recv(&self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }

    /// Waits until the socket is readable, or writable if `writes`, or `other` is readable;
    /// for `limit` at most, if there is one.
    ///
    /// # Errors
    /// The system's; `TimedOut` after `limit`.
    pub fn poll(
        &self,
        writes: bool,
        other: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let wanted = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let own = PollFd::from_borrowed_fd(self.stream.as_fd(), wanted);
        let bell = other.unwrap_or_else(|| self.stream.as_fd());
        let mut both = [own, PollFd::from_borrowed_fd(bell, PollFlags::IN)];
        let watched = if other.is_some() { 2 } else { 1 };
        let until = limit.map(|limit| clock::now() + limit);
        loop {
            let left = until.map(|until| until.saturating_duration_since(clock::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut both[..watched], left.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for `moment`, or until the connection is aborted or reset.
    pub fn pause(&self, moment: Duration) {
        // Without events poll reports only that the connection is gone.
        let mut own = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::empty())];
        if let Ok(moment) = Timespec::try_from(moment) {
            // An interruption ends the pause early.
            let _ = poll(&mut own, Some(&moment));
        }
    }

    /// Limits the wait while the session is being started.
    fn start(&self) -> io::Result<()> {
        if !self.is_starting() {
            return Ok(());
        }
        let left = self.until.saturating_duration_since(clock::now());
        let polled = self.poll(false, None, Some(left));
        polled.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::Error::other(Unresponsive),
            _ => error,
        })
    }

    /// How often it was read.
    #[cfg(test)]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Reads what has arrived; waits for data if reads wait.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if nothing has arrived and reads do not wait.
    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.may_read()?;
        if !self.waits.load(Ordering::Relaxed) {
            return Ok(recv(&self.stream, bytes, RecvFlags::DONTWAIT)?.1);
        }
        self.start()?;
        loop {
            match (&self.stream).read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Writes as much as fits without waiting. While the session is being started it waits.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if nothing fits.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_starting() {
            return (&self.stream).write(bytes);
        }
        Ok(send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }
}
