//! Two doors of the service on one address, which could not both listen.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::contradiction::Contradiction;
use crate::config::ServerConfig;

/// The doors that want an address that another has. With a name in place of an address nobody knows
/// before the start.
pub(super) fn contradictions(config: &ServerConfig) -> Vec<Contradiction> {
    let mut broken = Vec::new();
    let grpc = grpc(config);
    let mut rule = |is_broken: bool, rule: &str, keys: &'static [&'static str]| {
        if is_broken {
            broken.push(Contradiction::new(rule, keys));
        }
    };
    let is_of_grpc = |http: SocketAddr| grpc.is_some_and(|grpc| overlap(grpc, http));
    let http = "http must be another address than that of gRPC";
    rule(is_of_grpc(config.http), http, &["http", "port", "listen"]);
    if let Some(admin) = config.http_admin {
        let other = "http_admin must be another address than that of gRPC";
        rule(is_of_grpc(admin), other, &["http_admin", "port", "listen"]);
        let http = "http_admin must be another address than http";
        rule(overlap(admin, config.http), http, &["http_admin", "http"]);
    }
    broken
}

/// gRPC takes every address of both families for those of one.
fn grpc(config: &ServerConfig) -> Option<SocketAddr> {
    let host = config.listen.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = host.parse().ok()?;
    let every = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    Some(SocketAddr::new(if ip.is_unspecified() { every } else { ip }, config.port))
}

/// Port 0 is any that is free.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || holds(a, b) || holds(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_doors_on_one_address_are_told_and_those_on_others_are_not() {
        for (listen, http, admin, broken) in [
            ("::", "[::]:1", None, 1),
            ("::", "127.0.0.1:1", None, 1),
            ("0.0.0.0", "[::1]:1", None, 1),
            ("127.0.0.1", "0.0.0.0:1", None, 1),
            ("127.0.0.1", "[::]:1", Some("127.0.0.1:1"), 3),
            ("::", "[::]:2", Some("127.0.0.1:2"), 1),
            ("127.0.0.1", "127.0.0.2:1", Some("[::1]:1"), 0),
            ("[::1]", "0.0.0.0:1", None, 0),
            ("::", "[::]:0", Some("[::]:0"), 0),
            ("some.name", "[::]:1", None, 0),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            let config = ServerConfig {
                listen: listen.to_owned(),
                port: 1,
                http: address(http),
                http_admin: admin.map(address),
                ..ServerConfig::default()
            };
            let found = contradictions(&config);
            assert_eq!(found.len(), broken, "{listen} {http} {admin:?}: {found:?}");
        }
    }
}
