//! Counts how often the service waits for PostgreSQL.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use super::{postgres, Tenant};

/// A way to PostgreSQL on which it is counted how often the service begins to speak.
pub struct Turns {
    port: u16,
    turns: Arc<AtomicUsize>,
}

impl Turns {
    /// To the PostgreSQL of the tests.
    pub fn start() -> Turns {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (turns, far) = (Arc::<AtomicUsize>::default(), postgres().port());
        let counted = Arc::clone(&turns);
        #[allow(clippy::disallowed_methods)] // A test's own, ended with the test's process.
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, far)) else { return };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let heard = Arc::new(AtomicBool::new(true));
                let (mut to, mut from) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let hears = Arc::clone(&heard);
                std::thread::spawn(move || {
                    copy(&mut from, &mut to, || hears.store(true, Ordering::SeqCst));
                });
                let counted = Arc::clone(&counted);
                let (mut near, mut far) = (near, far);
                std::thread::spawn(move || {
                    copy(&mut near, &mut far, || {
                        if heard.swap(false, Ordering::SeqCst) {
                            counted.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                });
            }
        });
        Turns { port, turns }
    }

    /// How often it was while this went on.
    pub fn of(&self, act: impl FnOnce()) -> usize {
        let before = self.turns.load(Ordering::SeqCst);
        act();
        self.turns.load(Ordering::SeqCst) - before
    }

    /// The tenant by this way.
    pub fn tenant(&self, tenant: Tenant) -> Tenant {
        let port = format!("port={}", postgres().port());
        assert!(tenant.dsn.contains(&port), "{}", tenant.dsn);
        let dsn = tenant.dsn.replace(&port, &format!("port={}", self.port));
        Tenant { dsn: format!("{dsn} sslmode=disable"), ..tenant }
    }
}

/// Until either side hangs up. What is sent in one write arrives as a single piece, if it is short.
fn copy(from: &mut TcpStream, to: &mut TcpStream, mut seen: impl FnMut()) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        seen();
        if to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
