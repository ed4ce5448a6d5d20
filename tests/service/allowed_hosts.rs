//! Where DSNs of clients may lead.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

use connection_pool_manager::proto::connection_pool::ConnectionRequest;

use crate::harness::{code, eventually, refused, tenant, ConfigFile, Service, Tenant};

/// A server that nobody may connect to.
struct Trap(TcpListener);

impl Trap {
    fn at(address: &str) -> Option<Trap> {
        let listener = TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).unwrap();
        Some(Trap(listener))
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.0.accept().is_err(), "somebody has connected");
    }
}

fn service(hosts: &str, further: &str) -> (Service, ConfigFile) {
    let file = ConfigFile::new(&format!("[service]\nallowed_hosts = {hosts}\n{further}"));
    (Service::with(&["--config", &file.path]), file)
}

fn to(name: &str, dsn: &str) -> ConnectionRequest {
    ConnectionRequest {
        tenant_id: name.to_owned(),
        dsn: dsn.to_owned(),
        ..ConnectionRequest::default()
    }
}

/// The port that this tenant's PostgreSQL listens on.
fn port(tenant: &Tenant) -> u16 {
    let port = tenant.dsn.split("port=").nth(1).unwrap().split(' ').next();
    port.unwrap().parse().unwrap()
}

#[test]
fn a_forbidden_address_is_not_connected_to_in_any_spelling() {
    let (service, _file) = service("[\"192.0.2.0/24\", \"db.example\"]", "");
    let (four, six) = (Trap::at("127.0.0.1:0").unwrap(), Trap::at("[::1]:0"));
    let client = service.client();
    let spellings = [
        "host=127.0.0.1",
        "host=127.1",
        "host=2130706433",
        "host=0x7f000001",
        "host=0x7f.1",
        "host=0177.0.0.1",
        "host=017700000001",
        "host=::ffff:127.0.0.1",
        "host=::ffff:7f00:1",
        "host=0:0:0:0:0:ffff:7f00:0001",
        "host=0.0.0.0",
        "host=::",
        "host=localhost",
        "host=LocalHost",
        "host=localhost.",
        "host=ip6-localhost",
        "hostaddr=127.0.0.1",
        "hostaddr=::ffff:127.0.0.1",
        // A name that is allowed beside an address that is not.
        "host=db.example hostaddr=127.0.0.1",
        "host=127.0.0.1,::1 port=PORT,PORT",
    ];
    for (n, host) in spellings.iter().enumerate() {
        let dsn = format!("port=PORT user=u password=p {host}");
        let dsn = dsn.replace("PORT", &four.port().to_string());
        let error = refused(client.acquire_with(&to(&format!("t{n}"), &dsn)));
        // A name or a spelling that a resolver does not know is answered alike.
        let said = (error.code, error.reason.as_str());
        assert_eq!(said, (code::PERMISSION_DENIED, "HOST_NOT_ALLOWED"), "{host}");
    }
    if let Some(six) = &six {
        for host in ["::1", "0:0:0:0:0:0:0:1", "::", "localhost"] {
            let dsn = format!("host={host} port={} user=u password=p", six.port());
            let error = refused(client.acquire_with(&to("six", &dsn)));
            assert_eq!(error.reason, "HOST_NOT_ALLOWED", "{host}: {error}");
        }
        six.assert_untouched();
    }
    four.assert_untouched();
    let socket = refused(client.acquire_with(&to("socket", "host=/tmp user=u")));
    assert_eq!(socket.code, code::INVALID_ARGUMENT);
    // What it leads to is not told.
    let error = refused(client.acquire_with(&to("t", "host=2130706433 user=u")));
    assert!(!error.message.contains("127.0.0.1"), "{error}");
    let series = "connpool_request_errors_total{reason=\"host_not_allowed\"}";
    eventually("it is counted", || service.metric(series).is_some_and(|count| count > 5.0));
}

#[test]
fn a_name_that_is_not_there_and_one_that_is_not_allowed_are_answered_alike() {
    let hosts = "[\"192.0.2.0/24\", \"missing.invalid\"]";
    let (service, _file) = service(hosts, "");
    let client = service.client();
    let answer = |name: &str, host: &str| {
        let error = refused(client.acquire_with(&to(name, &format!("host={host} user=u"))));
        let health = refused(client.health(name)).reason;
        let message = error.message.replace(host, "HOST").replace(name, "NAME");
        (error.code, error.reason, message, health)
    };
    assert_eq!(answer("of-a-host", "localhost"), answer("of-none", "nowhere.invalid"));
    let line = service.log().wait_for("event=connect_failed tenant=of-none ");
    assert!(line.contains("host name lookup"), "{line}");
    let line = service.log().wait_for("event=connect_failed tenant=of-a-host ");
    assert!(!line.contains("host name lookup"), "{line}");
    // The list says of this one that it may be there.
    assert_eq!(answer("listed", "missing.invalid").1, "DATABASE_UNAVAILABLE");
}

#[test]
fn of_a_name_with_two_addresses_the_forbidden_one_is_never_connected_to() {
    let tenant = tenant();
    let found: Vec<SocketAddr> = ("localhost", port(&tenant)).to_socket_addrs().unwrap().collect();
    let (service, _file) = service("[\"127.0.0.1\"]", "");
    // Nobody may be there in IPv6; where that cannot be, nobody is.
    let trap = Trap::at(&format!("[::1]:{}", port(&tenant)));
    let named = tenant.with("host=localhost");
    assert_eq!(service.lease(&named).value("select host(inet_server_addr())"), "127.0.0.1");
    assert!(found.iter().any(|at| at.ip() == IpAddr::from([127, 0, 0, 1])));
    if let Some(trap) = trap {
        trap.assert_untouched();
    }
}

#[test]
fn what_is_listed_works_and_the_operators_own_dsns_are_not_judged() {
    let (named, addressed, own) = (tenant(), tenant(), tenant());
    let (service, _file) = service(
        "[\"LOCALHOST\", \"10.0.0.0/8\"]",
        &format!("allow_client_dsn = true\n{}", own.table("")),
    );
    let client = service.client();
    service.lease(&named.with("host=localhost")).run(&["select 1"]);
    // The name is allowed, and not its address.
    let error = refused(client.acquire_with(&to(&addressed.name, &addressed.dsn)));
    assert_eq!(error.reason, "HOST_NOT_ALLOWED", "{error}");
    assert_eq!(addressed.backends(), 0);
    service.lease(&own.by_name()).run(&["select 1"]);
    // Of several servers those that are allowed are tried.
    let several = addressed.with("host=192.0.2.1,localhost");
    service.lease(&several).run(&["select 1"]);
}
