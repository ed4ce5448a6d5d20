//! Listens on TCP: on one address, or on every address of both families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener};

use rustix::io::Errno;
use rustix::net::{bind as bind_socket, listen as listen_on, socket_with, sockopt};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Connections that wait to be accepted, as many as in the standard library.
const BACKLOG: i32 = 128;

/// Listens on an address. `[::]` means every address of IPv6 and IPv4, or of IPv4 alone on a system
/// without IPv6; any other address is used as it is.
///
/// # Errors
/// The system's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match address {
        SocketAddr::V6(every) if every.ip().is_unspecified() => or_ipv4(every, both),
        one => TcpListener::bind(one),
    }
}

/// True for `::` and `0.0.0.0`, with which gRPC listens on every address of both families.
pub fn is_every_address(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn or_ipv4(
    every: SocketAddrV6,
    bind: impl FnOnce(SocketAddrV6) -> io::Result<TcpListener>,
) -> io::Result<TcpListener> {
    match bind(every) {
        Err(error) if knows_no_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, every.port()))
        }
        bound => bound,
    }
}

fn knows_no_ipv6(error: &io::Error) -> bool {
    let unknown = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| unknown.iter().any(|one| one.raw_os_error() == code))
}

/// One socket for both, whatever `net.ipv6.bindv6only` says.
fn both(every: SocketAddrV6) -> io::Result<TcpListener> {
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A port that was just closed can be used again.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    bind_socket(&socket, &every)?;
    listen_on(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpStream};

    const EVERY: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);

    #[test]
    fn every_address_is_that_of_both_families() {
        let listener = listen(EVERY.into()).expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
        }
    }

    #[test]
    fn where_there_is_no_ipv6_it_is_ipv4_and_another_failure_stays_one() {
        let fails = |errno: Errno| or_ipv4(EVERY, |_| Err(errno.into()));
        let listener = fails(Errno::AFNOSUPPORT).expect("a port");
        assert!(listener.local_addr().is_ok_and(|address| address.is_ipv4()));
        let error = fails(Errno::ADDRINUSE).expect_err("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_is_taken_as_it_is() {
        let listener = listen((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a port");
        assert!(listener.local_addr().is_ok_and(|address| address.is_ipv4()));
        for (host, every) in
            [("::", true), ("[::]", true), ("0.0.0.0", true), ("::1", false), ("localhost", false)]
        {
            assert_eq!(is_every_address(host), every, "{host}");
        }
    }
}
