//! The kernel's list of connections on a port, over netlink (sock_diag(7)): one request for each
//! address family that has a listener there, whatever the number of descriptors. The kernel goes
//! through all its connections for each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{
    netlink, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
};

/// One accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientSocket {
    /// Its inode, as in /proc/self/fd.
    pub inode: u64,
    /// Its peer; an IPv4 address as such, also on an IPv6 socket.
    pub peer: SocketAddr,
    /// Bytes received since it was opened.
    pub received: u64,
}

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const TCP: u8 = 6;
const FAMILIES: [u8; 2] = [2, 10];
/// Established, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING: the states other than LISTEN that
/// may have a descriptor.
const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// LISTEN.
const LISTENING: u32 = 1 << 10;
/// The bit that asks for `INET_DIAG_INFO`, and its number.
const WITH_INFO: u8 = 1 << 1;
const INFO: u16 = 2;
/// `tcpi_bytes_received` in `struct tcp_info`.
const RECEIVED: usize = 128;
/// Offsets in `struct inet_diag_msg`, of 72 bytes, which attributes follow.
const PEER_PORT: usize = 6;
const PEER_ADDRESS: usize = 24;
const INODE: usize = 68;
const ATTRIBUTES: usize = 72;
/// The most that the kernel writes at once.
const BUFFER: usize = 32 * 1024;
/// The kernel answers at once; the limit is for a stop that must not be delayed.
const LIMIT: Duration = Duration::from_secs(1);

/// The netlink socket.
pub(super) struct Sockets {
    netlink: OwnedFd,
    buffer: Vec<u8>,
    /// The port that was asked for last, and the families that have a listener there.
    families: Option<(u16, Vec<u8>)>,
}

impl Sockets {
    /// # Errors
    /// If the system has no such sockets, or does not permit one.
    pub(super) fn open() -> io::Result<Sockets> {
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let asked = Some(netlink::SOCK_DIAG);
        let netlink = socket_with(AddressFamily::NETLINK, kind, flags, asked)?;
        set_socket_timeout(&netlink, Timeout::Recv, Some(LIMIT))?;
        Ok(Sockets { netlink, buffer: vec![0; BUFFER], families: None })
    }

    /// The accepted connections on this local port.
    ///
    /// # Errors
    /// If the kernel does not answer, or its answer cannot be parsed.
    pub(super) fn on_port(&mut self, port: u16) -> io::Result<Vec<ClientSocket>> {
        let families = match self.families.take().filter(|(known, _)| *known == port) {
            Some((_, families)) => families,
            None => self.listening(port)?,
        };
        let mut found = Vec::new();
        for family in &families {
            self.ask(&question(*family, port, STATES), &mut found)?;
        }
        self.families = Some((port, families));
        Ok(found)
    }

    /// The families that have a listener on this port; all, if none has.
    fn listening(&mut self, port: u16) -> io::Result<Vec<u8>> {
        let mut listening = Vec::new();
        for family in FAMILIES {
            let mut found = Vec::new();
            self.ask(&question(family, port, LISTENING), &mut found)?;
            if !found.is_empty() {
                listening.push(family);
            }
        }
        Ok(if listening.is_empty() { FAMILIES.to_vec() } else { listening })
    }

    fn ask(&mut self, question: &[u8], found: &mut Vec<ClientSocket>) -> io::Result<()> {
        send(&self.netlink, question, SendFlags::empty())?;
        while !self.read(found)? {}
        Ok(())
    }

    /// Reads messages; true after the last.
    fn read(&mut self, found: &mut Vec<ClientSocket>) -> io::Result<bool> {
        let (_, length) = recv(&self.netlink, &mut self.buffer[..], RecvFlags::empty())?;
        let mut rest = self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        while let Some((kind, message)) = next(&mut rest) {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => {
                    let code = number(message, 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => found.extend(socket(message)),
            }
        }
        Ok(false)
    }
}

/// All TCP sockets of a family in these states on a local port (`struct inet_diag_req_v2`).
fn question(family: u8, port: u16, states: u32) -> [u8; HEADER + 56] {
    let mut bytes = [0; HEADER + 56];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, &(HEADER as u32 + 56).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST_AND_DUMP.to_ne_bytes());
    put(HEADER, &[family, TCP, WITH_INFO, 0]);
    put(HEADER + 4, &states.to_ne_bytes());
    put(HEADER + 8, &port.to_be_bytes());
    bytes
}

/// Splits off the next message: its type and content.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = number(rest, 0)? as usize;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let message = rest.get(HEADER..length)?;
    // Messages begin at multiples of 4.
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, message))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `None`: the connection is not accepted yet, or no longer has a descriptor.
fn socket(message: &[u8]) -> Option<ClientSocket> {
    let inode = u64::from(number(message, INODE).filter(|inode| *inode != 0)?);
    let port = u16::from_be_bytes(message.get(PEER_PORT..PEER_PORT + 2)?.try_into().ok()?);
    let address = message.get(PEER_ADDRESS..PEER_ADDRESS + 16)?;
    let ip = if message.first() == Some(&FAMILIES[0]) {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&address[..4]).ok()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)).to_canonical()
    };
    let received = message.get(ATTRIBUTES..).and_then(received).unwrap_or(0);
    Some(ClientSocket { inode, peer: SocketAddr::new(ip, port), received })
}

/// The number of received bytes, from the attributes.
fn received(mut attributes: &[u8]) -> Option<u64> {
    loop {
        let half =
            |at: usize| Some(u16::from_ne_bytes(attributes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        let value = attributes.get(4..length)?;
        if kind == INFO {
            return Some(u64::from_ne_bytes(value.get(RECEIVED..RECEIVED + 8)?.try_into().ok()?));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn all(port: u16) -> Vec<ClientSocket> {
        let mut sockets = Sockets::open().expect("Linux has them");
        sockets.on_port(port).expect("the kernel answers")
    }

    fn received(port: u16) -> Vec<u64> {
        all(port).iter().map(|socket| socket.received).collect()
    }

    fn on(port: u16) -> Vec<SocketAddr> {
        let mut peers: Vec<_> = all(port).iter().map(|socket| socket.peer).collect();
        peers.sort_unstable();
        peers
    }

    #[test]
    fn accepted_connections_of_both_families_are_found_and_nothing_else() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(address).expect("a port");
            let port = listener.local_addr().expect("it has one").port();
            assert!(on(port).is_empty());
            let connect = || TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let pair = |_| (connect(), listener.accept().expect("it is there").0);
            let (clients, mut accepted): (Vec<_>, Vec<_>) = (0..300).map(pair).unzip();
            let waiting = connect();
            let mut wanted: Vec<_> =
                clients.iter().map(|client| client.local_addr().expect("it has one")).collect();
            wanted.sort_unstable();
            assert_eq!(on(port), wanted);
            accepted.truncate(1);
            assert_eq!(on(port).len(), 1);
            assert_eq!(received(port), [0]);
            (&clients[0]).write_all(&[7; 1234]).expect("it is open");
            accepted[0].read_exact(&mut [0; 1000]).expect("it is open");
            while received(port) != [1234] {
                std::thread::yield_now();
            }
            drop(waiting);
        }
    }

    #[test]
    fn each_family_that_has_a_listener_is_asked() {
        let both = || {
            let four = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = four.local_addr().expect("it has one").port();
            // Somebody else may have it in the other family.
            TcpListener::bind(("::1", port)).ok().map(|six| (port, four, six))
        };
        let (port, four, six) = std::iter::repeat_with(both).flatten().next().expect("a port");
        let mut sockets = Sockets::open().expect("Linux has them");
        assert_eq!(sockets.listening(port).expect("the kernel answers"), FAMILIES);
        drop(four);
        assert_eq!(sockets.listening(port).expect("the kernel answers"), [FAMILIES[1]]);
        drop(six);
        assert_eq!(sockets.listening(port).expect("the kernel answers"), FAMILIES);
    }

    #[test]
    fn a_message_that_is_cut_off_is_no_socket() {
        let whole = [1; 72];
        assert!(socket(&whole).is_some());
        for length in 0..72 {
            assert!(socket(&whole[..length]).is_none(), "{length}");
        }
        let mut rest: &[u8] = &[200, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(next(&mut rest), None);
    }
}
