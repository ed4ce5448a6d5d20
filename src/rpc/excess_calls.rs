//! Finds connections with more open calls than they are allowed, by gRPC's own counters
//! (channelz).
//!
//! gRPC 1.56 lets a client open calls without limit for as long as it does not
//! acknowledge the SETTINGS that hold the limit, 12 kB each.

use std::net::SocketAddr;

use grpcio::channelz;

use crate::pool::peers::socket_address;
use crate::rpc::server::STREAMS;

/// Twice the limit that the server announces: a client may open calls before it has received
/// the announcement.
const CALLS: u64 = 2 * STREAMS as u64;

/// Connections that channelz returns at once.
const PAGE: usize = 500;

/// The clients' addresses of such connections to the servers of this process.
pub fn connections_with_excess_calls() -> Vec<SocketAddr> {
    let servers = channelz::get_servers(0, |json| fields(json, "serverId"));
    let mut found = Vec::new();
    for server in servers {
        let mut first = 0;
        loop {
            let (sockets, last) = channelz::get_server_sockets(server, first, PAGE, |json| {
                (fields(json, "socketId"), json.contains("\"end\":true"))
            });
            let beyond = |socket: &u64| channelz::get_socket(*socket, |json| beyond(json, CALLS));
            found.extend(sockets.iter().filter_map(beyond));
            match sockets.last() {
                Some(socket) if !last => first = socket + 1,
                _ => break,
            }
        }
    }
    found
}

/// The client's address of a connection with more than `most` open calls.
fn beyond(json: &str, most: u64) -> Option<SocketAddr> {
    let count = |name| fields(json, name).first().copied().unwrap_or(0);
    let ended = count("streamsSucceeded") + count("streamsFailed");
    let open = count("streamsStarted").saturating_sub(ended);
    (open > most).then(|| peer(json)).flatten()
}

/// All numbers under this name, which channelz writes as strings.
fn fields(json: &str, name: &str) -> Vec<u64> {
    let name = format!("\"{name}\":\"");
    let values = json.split(&name).skip(1);
    values.filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
}

/// The address in a socket's name, as `chttp2 ipv4:192.0.2.1:7`.
fn peer(json: &str) -> Option<SocketAddr> {
    let name = json.split("\"name\":\"").nth(1)?.split('"').next()?;
    socket_address(name.rsplit(' ').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_too_many_open_calls_is_named_by_its_client() {
        let json = |name: &str, started: u64| {
            format!(
                "{{\"data\":{{\"messagesReceived\":\"9\",\"streamsFailed\":\"2\",\
                 \"streamsStarted\":\"{started}\",\"streamsSucceeded\":\"3\"}},\
                 \"ref\":{{\"name\":\"chttp2 {name}\",\"socketId\":\"17\"}}}}"
            )
        };
        for (name, address) in [
            ("ipv4:192.0.2.1:7", "192.0.2.1:7"),
            ("ipv6:%5B2001:db8::1%5D:7", "[2001:db8::1]:7"),
            ("ipv6:%5Bfe80::1%25eth0%5D:7", "[fe80::1]:7"),
            ("ipv6:%5B::ffff:192.0.2.1%5D:7", "192.0.2.1:7"),
        ] {
            let found = beyond(&json(name, 16), 10).expect("eleven are open");
            assert_eq!(found.to_string(), address);
            assert_eq!(beyond(&json(name, 15), 10), None);
        }
        assert_eq!(beyond(&json("unix:/x", 16), 10), None);
        assert_eq!(beyond("", 0), None);
        let page = "{\"end\":true,\"socketRef\":[{\"socketId\":\"1\"},{\"socketId\":\"23\"}]}";
        assert_eq!(fields(page, "socketId"), [1, 23]);
    }
}
