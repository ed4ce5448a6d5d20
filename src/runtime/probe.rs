//! The thread that calls the service over its own port, as a client would: the only way to learn
//! that gRPC answers no one although the process runs.

mod exchange;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::{after, select};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::config::{Config, Tls};
use crate::core::quoted::Quoted;
use crate::pool::port::{Ours, Reach};
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};
use exchange::ProbeTls;

/// How often it calls: a load balancer that checks every few seconds sees the result in its next
/// round, and a handshake every 5 s costs nothing.
const INTERVAL: Duration = Duration::from_secs(5);
/// How soon it calls again after a failure.
const SOON: Duration = Duration::from_secs(1);
/// A slower answer counts as none: a client would have given up too.
const LIMIT: Duration = Duration::from_secs(5);
/// Failures in a row before gRPC counts as unreachable, as one may be temporary.
const FAILURES: u32 = 2;

/// Starts to call the service on this port, with a certificate if clients are asked for one.
///
/// # Errors
/// If the address it listens on has no meaning, or there is no thread left.
pub fn start(
    config: &Config,
    port: u16,
    own: Option<(X509, PKey<Private>)>,
    service: &Service,
) -> io::Result<Thread> {
    let address = address(&config.listen, port)?;
    let tls = match config.tls {
        Tls::Insecure => None,
        Tls::Files { .. } => Some(ProbeTls { own }),
    };
    let service = service.clone();
    Thread::start(threads::GRPC_PROBE, move |stopped| {
        run(address, tls.as_ref(), &service, &stopped)
    })
}

/// Where a client on this machine would connect to.
fn address(listen: &str, port: u16) -> io::Result<SocketAddr> {
    let host = listen.trim_start_matches('[').trim_end_matches(']');
    let first = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    // Every address includes those of IPv4, even on a system without IPv6.
    let every = first.ip().is_unspecified();
    Ok(if every { SocketAddr::from((Ipv4Addr::LOCALHOST, port)) } else { first })
}

fn run(address: SocketAddr, tls: Option<&ProbeTls>, service: &Service, stopped: &Stopped) {
    let port = &service.context().port;
    let mut failures = 0;
    // The last connection counts as ours until the next one: gRPC may close it a little later.
    let mut last: Option<Ours<'_>> = None;
    loop {
        let pause = if failures == 0 { INTERVAL } else { SOON };
        select! {
            recv(stopped) -> _ => return,
            recv(after(pause)) -> _ => {}
        }
        let asked = threads::survive(threads::GRPC_PROBE, || {
            exchange::ask(address, tls, LIMIT, stopped, |from| last = Some(port.ours(from)))
        });
        if stopped.try_recv().is_err_and(|error| error.is_disconnected()) {
            return;
        }
        let asked = asked.unwrap_or_else(|| Err(io::Error::other("it panicked")));
        failures = note(service, failures, asked);
    }
}

/// Records the result of a call after this many failures. Returns the new number of failures.
fn note(service: &Service, failures: u32, asked: io::Result<()>) -> u32 {
    let port = &service.context().port;
    let Err(error) = asked else {
        if port.reach() == Reach::Unreachable {
            port.set_reach(Reach::Serving);
            service.publish();
            log::info!("event=grpc_reachable");
        }
        return 0;
    };
    let failures = failures.saturating_add(1);
    if failures >= FAILURES && port.reach() != Reach::Unreachable {
        port.set_reach(Reach::Unreachable);
        service.publish();
        log::error!(
            "event=grpc_unreachable error={} failures={failures}",
            Quoted(&error.to_string())
        );
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_a_client_of_this_machine_would() {
        for (listen, wanted) in [
            ("0.0.0.0", "127.0.0.1:7"),
            ("::", "127.0.0.1:7"),
            ("[::]", "127.0.0.1:7"),
            ("192.0.2.7", "192.0.2.7:7"),
            ("[2001:db8::1]", "[2001:db8::1]:7"),
        ] {
            let address = address(listen, 7).expect("an address");
            assert_eq!(address.to_string(), wanted, "{listen}");
        }
        assert!(address("", 7).is_err());
    }
}
