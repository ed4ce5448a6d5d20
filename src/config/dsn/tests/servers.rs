//! Hosts, addresses and ports.

use super::{error, servers};

#[test]
fn ipv6_addresses_stand_in_brackets() {
    assert_eq!(servers("postgres://u@[::1]:1/d"), "::1//1");
    assert_eq!(servers("postgres://u@[::1],[2001:db8::1]:7"), "::1//5432 2001:db8::1//7");
    assert_eq!(servers("postgres://u@[fe80::1%25eth0]"), "fe80::1%eth0//5432");
    assert_eq!(servers("host=::1 user=u"), "::1//5432");
    assert_eq!(error("postgres://u@[::1"), "host: missing \"]\" after an IPv6 address");
    assert_eq!(error("postgres://u@[]"), "host: empty IPv6 address");
    assert_eq!(error("postgres://u@[::1]x"), "host: unexpected character after \"]\"");
}

#[test]
fn several_hosts_share_one_port_or_have_one_each() {
    assert_eq!(servers("host=a,b user=u"), "a//5432 b//5432");
    assert_eq!(servers("host=a,b user=u port=7"), "a//7 b//7");
    assert_eq!(servers("host=a,b user=u port=7,"), "a//7 b//5432");
    assert_eq!(servers("postgres://u@a:1,b,c:3/d"), "a//1 b//5432 c//3");
    let rule = "port: must be one port or as many as there are hosts";
    assert_eq!(error("host=a,b,c user=u port=1,2"), rule);
    assert_eq!(error("host=a user=u port=1,2"), rule);
    let many = |key: &str, one: &str, count| format!("{key}={} user=u", vec![one; count].join(","));
    assert_eq!(servers(&many("host", "a", 32)).split(' ').count(), 32);
    assert_eq!(error(&many("host", "a", 33)), "host: must have at most 32 elements");
    assert_eq!(error(&many("hostaddr", "::1", 33)), "hostaddr: must have at most 32 elements");
}

#[test]
fn addresses_stand_beside_or_instead_of_names() {
    assert_eq!(servers("hostaddr=10.0.0.1,::1 user=u"), "/10.0.0.1/5432 /::1/5432");
    assert_eq!(servers("host=a,b hostaddr=10.0.0.1, user=u"), "a/10.0.0.1/5432 b//5432");
    assert_eq!(error("hostaddr=db user=u"), "hostaddr: must be an IPv4 or IPv6 address");
    let rule = "host: must have as many elements as hostaddr";
    assert_eq!(error("host=a,b hostaddr=::1 user=u"), rule);
}

#[test]
fn unix_sockets_are_refused() {
    let rule = "host: Unix sockets are not supported, use a TCP host";
    for host in ["host=/tmp user=u", "host=@x user=u", "postgres://u@%2Ftmp/d"] {
        assert_eq!(error(host), rule);
    }
}

#[test]
fn names_are_no_longer_than_the_dns_has_them() {
    let with = |length| format!("host={} user=u", "x".repeat(length));
    assert_eq!(servers(&with(253)).len(), 253 + "//5432".len());
    assert_eq!(error(&with(254)), "host: must be at most 253 bytes long");
}

#[test]
fn ports_are_from_1_to_65535() {
    assert_eq!(servers("host=h user=u port=' 65535 '"), "h//65535");
    for port in ["0", "-1", "65536", "99999999999999999999", "54x", "'5 4'"] {
        let text = format!("host=h user=u port={port}");
        assert_eq!(error(&text), "port: must be an integer from 1 to 65535");
    }
}
