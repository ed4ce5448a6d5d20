//! The thread that calls the service over its own port, as a client would: the only way to learn
//! that gRPC answers no one although the process runs.

mod exchange;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::{after, select};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::clock;
use crate::config::{GrpcTls, ServerConfig};
use crate::core::quoted::Quoted;
use crate::pool::port::{Ours, Reach};
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};
use exchange::ProbeTls;

/// How soon it calls again after a failure, unless it calls more often anyway; and how soon it sees
/// that it is to call again after it was not.
const SOON: Duration = Duration::from_secs(1);

/// Starts to call the service on this port, with a certificate if clients are asked for one.
///
/// # Errors
/// If the address it listens on has no meaning, or there is no thread left.
pub fn start(
    config: &ServerConfig,
    port: u16,
    own: Option<(X509, PKey<Private>)>,
    service: &Service,
) -> io::Result<Thread> {
    let address = address(&config.listen, port)?;
    let tls = match config.tls {
        GrpcTls::Insecure => None,
        GrpcTls::Files { .. } => Some(ProbeTls { own }),
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
    let mut called = clock::now();
    loop {
        let check = service.context().live().self_check.clone();
        let pause = if failures == 0 { check.interval } else { SOON.min(check.interval) };
        let left = (called + pause).saturating_duration_since(clock::now());
        select! {
            recv(stopped) -> _ => return,
            // A reload may shorten the interval, or end it.
            recv(after(left.min(SOON))) -> _ => {}
        }
        if check.interval.is_zero() {
            // It is not known any more.
            failures = reached(service);
            continue;
        }
        if left > SOON {
            continue;
        }
        called = clock::now();
        let asked = threads::survive(threads::GRPC_PROBE, || {
            exchange::ask(address, tls, check.timeout, stopped, |from| last = Some(port.ours(from)))
        });
        if stopped.try_recv().is_err_and(|error| error.is_disconnected()) {
            return;
        }
        let asked = asked.unwrap_or_else(|| Err(io::Error::other("it panicked")));
        failures = note(service, (failures, check.failures), asked);
    }
}

/// It can be reached, as far as is known. Returns the number of failures.
fn reached(service: &Service) -> u32 {
    let port = &service.context().port;
    if port.reach() == Reach::Unreachable {
        port.set_reach(Reach::Serving);
        service.publish();
        log::info!("event=grpc_reachable");
    }
    0
}

/// Records the result of a call after this many failures, of which the second number is too many.
/// Returns the new number of failures.
fn note(service: &Service, (failures, most): (u32, u32), asked: io::Result<()>) -> u32 {
    let port = &service.context().port;
    let Err(error) = asked else { return reached(service) };
    let failures = failures.saturating_add(1);
    if failures >= most && port.reach() != Reach::Unreachable {
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
