//! IPv6 and IPv4: both are served, and a client is the same one however it is seen.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::harness::h2::H2;
use crate::harness::{command, eventually, refusal, tenant, Service};
use connection_pool_manager::client::service::{Client, Security};
use grpcio::EnvBuilder;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Where it serves by default, but on a free port.
const EVERYWHERE: [&str; 3] = ["--insecure", "--http", ":0"];

/// The loopback addresses of this machine.
fn families() -> Vec<IpAddr> {
    [V4, V6].into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok()).collect()
}

fn client(ip: IpAddr, port: u16) -> Client {
    let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
    Client::new(&environment, &SocketAddr::new(ip, port).to_string(), &Security::Insecure)
}

#[test]
fn both_ports_are_there_in_both_families_by_default() {
    let service = Service::with(&EVERYWHERE);
    let tenant = tenant();
    for ip in families() {
        let mut http = TcpStream::connect((ip, service.http_port)).unwrap();
        http.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{ip}: {answer}");
        let granted = client(ip, service.port).acquire(&tenant.name, &tenant.dsn).unwrap();
        let peer = if ip == V4 { "ipv4:127.0.0.1:" } else { "ipv6:%5B::1%5D:" };
        assert!(granted.lease.peer.starts_with(peer), "{}", granted.lease.peer);
    }
    // Its own calls find it as well, and are not counted as a client's.
    eventually("its own are let out", || {
        service.metric("connpool_client_connections") == Some(0.0)
    });
    assert_eq!(service.metric("connpool_grpc_reachable"), Some(1.0));
}

#[test]
fn a_client_of_ipv4_is_one_host_on_a_port_of_both_families() {
    let service =
        Service::with(&[&EVERYWHERE[..], &["--client-connections-per-address", "3"]].concat());
    let connect = || H2::connect(service.port).unwrap();
    let mut all: Vec<H2> = (0..8).map(|_| connect()).collect();
    eventually("three are left", || {
        all.iter_mut().map(|one| usize::from(one.is_open())).sum::<usize>() == 3
    });
    let line = service.log().wait_for("event=connections_closed reason=address ");
    assert!(line.contains(" from=127.0.0.1:"), "{line}");
    // Another address has room of its own.
    for ip in families().into_iter().filter(|ip| *ip == V6) {
        client(ip, service.port).health("").unwrap();
    }
}

#[test]
fn a_port_that_is_taken_in_one_family_is_refused() {
    for taken in families() {
        let taken = TcpListener::bind((taken, 0)).unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let mut program = command();
        program.args(["--insecure", "--http", "127.0.0.1:0", "--port", &port]);
        let said = refusal(program);
        let told = format!("[::]:{port}: Address already in use");
        assert!(said.contains(&told) && said.contains("--listen"), "{said}");
    }
}
