//! Where a connector connects to, while a resolver changes its mind.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backend::logins::Logins;
use crate::backend::resolve::LookUp;
use crate::core::allowed_hosts::AllowedHosts;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;

const LIMIT: Duration = Duration::from_secs(60);

/// Lets everybody in, and keeps the addresses.
#[derive(Default)]
struct Open(Mutex<Vec<SocketAddr>>);

impl Door for Open {
    fn enter(&self, address: SocketAddr) -> Result<(), ConnectError> {
        self.0.lock().expect("no panic").push(address);
        Ok(())
    }

    fn record(&self, _: Option<&ConnectError>) {}
}

/// Servers with one port at 127.0.0.1, which is allowed, and at 127.0.0.2, which is not. They
/// hang up.
struct Servers {
    allowed: TcpListener,
    forbidden: TcpListener,
}

impl Servers {
    fn new() -> Servers {
        let pair = || -> io::Result<Servers> {
            let allowed = TcpListener::bind("127.0.0.1:0")?;
            let port = allowed.local_addr()?.port();
            let forbidden = TcpListener::bind(("127.0.0.2", port))?;
            forbidden.set_nonblocking(true)?;
            Ok(Servers { allowed, forbidden })
        };
        // Somebody else may have the port at the other address.
        std::iter::repeat_with(pair)
            .take(100)
            .find_map(Result::ok)
            .expect("a port at both addresses")
    }

    fn port(&self) -> u16 {
        self.allowed.local_addr().expect("an address").port()
    }

    fn assert_forbidden_is_untouched(&self) {
        let error = self.forbidden.accept().expect_err("nobody has come");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    /// A connector to this name that asks this resolver.
    fn connector(&self, name: &str, look_up: LookUp) -> PgConnect {
        let tenant = TenantId::parse("t").expect("a name");
        let caller = CallerId::new("c");
        let text = format!("host={name} port={} user=u password=p sslmode=disable", self.port());
        let dsn = Dsn::parse(&text).expect("a DSN");
        let mut allowed = AllowedHosts::default();
        allowed.add("127.0.0.1").expect("an address");
        let tries = Tries::new(&Logins::default(), &dsn.user, &caller);
        let asker = Asker { tenant, caller };
        let reach = DsnReach::anything();
        let plain = BackendTls::unverified().expect("TLS");
        let pool = TenantPoolConfig::default();
        let hosts = HostResolver::asking(look_up, asker.clone(), Arc::new(allowed));
        let connector = PgConnect::new(dsn, tries, asker, "a".to_owned(), plain, reach, &pool);
        PgConnect { hosts, ..connector }
    }

    /// One attempt, in which the allowed server hangs up on whoever comes; where it led to.
    fn attempt(&self, connector: &PgConnect) -> (ConnectError, Vec<SocketAddr>) {
        let door = Open::default();
        let watch = Arc::<Watch>::default();
        let stop = self.allowed.try_clone().expect("a listener");
        let hung_up = std::thread::scope(|scope| {
            scope.spawn(move || stop.accept().map(drop));
            let failed = connector.connect(&watch, LIMIT, &door).err().expect("no PostgreSQL");
            // Where nobody came, somebody does now.
            drop(std::net::TcpStream::connect(("127.0.0.1", self.port())));
            failed
        });
        (hung_up, door.0.into_inner().expect("no panic"))
    }
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

#[test]
fn what_was_judged_is_connected_to_though_the_name_leads_elsewhere_meanwhile() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // Each answer but the first is another.
    fn look_up(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let asked = ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(vec![at(if asked == 0 { 1 } else { 2 }, port)])
    }
    let servers = Servers::new();
    let connector = servers.connector("changes.test", look_up);
    let (error, led) = servers.attempt(&connector);
    assert!(!matches!(error, ConnectError::Forbidden { .. }), "{error}");
    assert_eq!((led, ASKED.load(Ordering::SeqCst)), (vec![at(1, servers.port())], 1));
    // A later attempt asks again, and judges that answer.
    let (error, led) = servers.attempt(&connector);
    assert!(matches!(error, ConnectError::Forbidden { why: None, .. }), "{error}");
    assert_eq!((led, ASKED.load(Ordering::SeqCst)), (Vec::new(), 2));
    servers.assert_forbidden_is_untouched();
}

#[test]
fn of_two_addresses_the_forbidden_one_is_not_connected_to_though_it_comes_first() {
    let servers = Servers::new();
    let both = |_: &str, port: u16| Ok(vec![at(2, port), at(1, port), at(2, port)]);
    let connector = servers.connector("both.test", both);
    let (error, led) = servers.attempt(&connector);
    assert!(!matches!(error, ConnectError::Forbidden { .. }), "{error}");
    assert_eq!(led, [at(1, servers.port())]);
    servers.assert_forbidden_is_untouched();
}

#[test]
fn a_name_that_is_not_found_is_told_apart_once_its_host_is_known_to_be_allowed() {
    let servers = Servers::new();
    let missing = |_: &str, _: u16| Err(io::Error::other("no such name"));
    let connector = servers.connector("missing.test", missing);
    let (error, _) = servers.attempt(&connector);
    let forbidden = ConnectError::Forbidden { target: String::new(), why: None };
    assert_eq!(error.as_str(), forbidden.as_str());
    assert!(!error.to_string().contains("no such name"), "{error}");
    assert!(error.in_full().contains("no such name"), "{}", error.in_full());
    connector.hosts.lets_in();
    let (error, _) = servers.attempt(&connector);
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}
