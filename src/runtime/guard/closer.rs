//! Closes connections that gRPC holds.
//!
//! gRPC 1.56 has no limit of connections and does not give access to its descriptors. The kernel
//! does: a process may always duplicate its own descriptors through its pidfd, unless a system call
//! filter forbids it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::{open, Dir, Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{connect_unspec, getpeername, getsockname};
use rustix::process::{getpid, pidfd_getfd, pidfd_open, PidfdFlags, PidfdGetfdFlags};

/// All descriptors of this process.
const OURS: &str = "/proc/self/fd";

/// Closes accepted connections on one port, and no other socket. It works even when no descriptor
/// is left, because it holds in advance what it needs.
pub(super) struct Closer {
    this: OwnedFd,
    descriptors: Dir,
    /// A descriptor in reserve, closed when one is needed.
    spare: Option<OwnedFd>,
    port: u16,
}

impl Closer {
    /// # Errors
    /// If the system does not let the process duplicate its own descriptors.
    pub(super) fn new(port: u16) -> io::Result<Closer> {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        // Tried now, so that a failure shows at the start.
        let spare = pidfd_getfd(&this, this.as_raw_fd(), PidfdGetfdFlags::empty())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = Dir::new(open(OURS, flags, Mode::empty())?)?;
        Ok(Closer { this, descriptors, spare: Some(spare), port })
    }

    /// Closes these connections, given by inode and peer; returns those that it has closed.
    ///
    /// # Errors
    /// If the process's own descriptors cannot be listed.
    pub(super) fn close(
        &mut self,
        mut those: HashMap<u64, SocketAddr>,
    ) -> io::Result<HashMap<u64, SocketAddr>> {
        let mut found = Vec::new();
        self.descriptors.rewind();
        while let Some(entry) = self.descriptors.read() {
            if those.is_empty() {
                break;
            }
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or_default();
            // It was closed since the directory was read.
            let Ok(link) = fs::read_link(format!("{OURS}/{name}")) else { continue };
            let one = inode(&link.to_string_lossy()).and_then(|inode| those.remove_entry(&inode));
            found.extend(one.zip(name.parse().ok()));
        }
        found.retain(|((_, peer), descriptor)| self.abort(*descriptor, *peer));
        if let Ok(spare) = fcntl_dupfd_cloexec(&self.this, 0) {
            // The reserve again, after the connection is closed.
            self.spare = Some(spare);
        }
        Ok(found.into_iter().map(|(one, _)| one).collect())
    }

    /// Aborts the connection under this descriptor, if it is the one with `peer`: the number may
    /// have been reused since.
    fn abort(&mut self, descriptor: RawFd, peer: SocketAddr) -> bool {
        drop(self.spare.take());
        let borrowed = pidfd_getfd(&self.this, descriptor, PidfdGetfdFlags::empty());
        let Ok(socket) = borrowed else { return false };
        let address = |name: rustix::net::SocketAddrAny| SocketAddr::try_from(name).ok();
        let local = getsockname(&socket).ok().and_then(address);
        let other = getpeername(&socket).ok().flatten().and_then(address);
        let same = |other: SocketAddr| (other.ip().to_canonical(), other.port());
        let aborted = local.is_some_and(|local| local.port() == self.port)
            && other.is_some_and(|other| same(other) == same(peer))
            // Drops received data that was not read, which a shutdown would keep.
            && connect_unspec(&socket).is_ok();
        if aborted {
            // Keeps a descriptor for the next one, before a client takes what is free.
            self.spare = Some(socket);
        }
        aborted
    }
}

/// The inode of `socket:[123]`.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::super::sockets::Sockets;
    use super::*;

    #[test]
    fn it_closes_the_given_connections_and_drops_what_was_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        let pair = || {
            let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            client.write_all(b"unread").expect("it is open");
            (client, listener.accept().expect("it is there").0)
        };
        let ((mut out, mut into), (mut client, mut kept)) = (pair(), pair());
        let address = out.local_addr().expect("it has one");
        let mut closer = Closer::new(port).expect("it is allowed");
        let all =
            Sockets::open().and_then(|mut all| all.on_port(port)).expect("the kernel lists them");
        let one = all.iter().find(|socket| socket.peer == address).expect("it is known");
        let other = all.iter().find(|socket| socket.peer != address).expect("it is known");
        // A number that belongs to another connection by now closes nothing.
        let stale = HashMap::from([(other.inode, address)]);
        assert!(closer.close(stale).expect("/proc is there").is_empty());
        let those = HashMap::from([(one.inode, one.peer)]);
        assert_eq!(closer.close(those.clone()).expect("/proc is there"), those);
        assert!(into.read(&mut [0; 9]).is_err(), "nothing is left to read");
        assert!(out.read(&mut [0; 9]).map_or(true, |read| read == 0));
        client.write_all(b"!").expect("it is open");
        assert_eq!(kept.read(&mut [0; 6]).expect("it is open"), 6);
        // Another port's are not its own.
        let mut foreign = Closer::new(port.wrapping_add(1)).expect("it is allowed");
        let those = HashMap::from([(other.inode, other.peer)]);
        assert!(foreign.close(those).expect("/proc is there").is_empty());
    }

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(inode("socket:[42]"), Some(42));
        assert_eq!(inode("anon_inode:[eventpoll]"), None);
        assert_eq!(inode("/dev/null"), None);
    }
}
